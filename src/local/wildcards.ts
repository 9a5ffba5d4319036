/** `*` stands for any text and `?` for any character, as in AWS's filters; a backslash takes the meaning from either. */

type Token = { readonly text: string; readonly isWild: boolean };

/** Matched by hand: a regular expression made of a caller's stars could take for ever. */
export function matchesWildcard(value: string, pattern: string): boolean {
  const tokens = [...tokenize(pattern)];
  let [at, position, star, mark] = [0, 0, -1, 0];
  while (at < value.length) {
    const token = tokens[position];
    if (token && isStar(token)) {
      star = position++;
      mark = at;
    } else if (token && standsFor(token, value[at])) {
      at++;
      position++;
    } else if (star >= 0) {
      position = star + 1;
      at = ++mark;
    } else return false;
  }
  return tokens.slice(position).every(isStar);
}

const isStar = ({ text, isWild }: Token): boolean => isWild && text === "*";

const standsFor = ({ text, isWild }: Token, character: string | undefined): boolean =>
  isWild || text === character;

function* tokenize(pattern: string): Iterable<Token> {
  for (let at = 0; at < pattern.length; at += 1) {
    const isEscape = pattern[at] === "\\" && at + 1 < pattern.length;
    if (isEscape) at += 1;
    const text = pattern[at] ?? "";
    yield { text, isWild: !isEscape && (text === "*" || text === "?") };
  }
}
