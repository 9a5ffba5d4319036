/** Splitting a command line into words as a POSIX shell does, and nothing else that a shell does. */

export type Split =
  | {
      readonly type: "words";
      readonly words: readonly string[];
      /** What a shell would act on and we do not, as it is written: `>`, `&&`, `$HOME`. */
      readonly shellOnly: readonly string[];
    }
  /** A quote, or a backslash at the end, that nothing follows; `offset` counts characters from 0. */
  | { readonly type: "unbalanced"; readonly mark: string; readonly offset: number };

/** One piece at a time: blanks, 'single', "double", an escape, plain characters, or a mark left open. Linear in time. */
const PIECE = /([ \t\n]+)|'([^']*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|\\(.)|([^ \t\n'"\\]+)|(['"\\])/gsy;
const EXPANSION = /\$(?:\w+|\{[^}]*\}?|\([^)]*\)?)|`/;
const OPERATORS = new Set(["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>", "<<"]);

/**
 * Blanks divide words; single quotes keep everything; double quotes keep everything but `\` before
 * `$`, a backquote, `"`, `\` and a newline; `\` outside quotes keeps the next character. No
 * expansion, no operators, no comments.
 */
export function splitWords(line: string): Split {
  const words: string[] = [];
  const shellOnly: string[] = [];
  let word: { text: string; isBare: boolean } | undefined;
  const end = () => {
    if (word?.isBare && OPERATORS.has(word.text)) shellOnly.push(word.text);
    if (word) words.push(word.text);
    word = undefined;
  };

  for (const match of line.matchAll(PIECE)) {
    const [, blank, , , escaped, plain, open] = match;
    if (open !== undefined) return { type: "unbalanced", mark: open, offset: match.index };
    if (blank !== undefined) end();
    // A backslash before a newline joins the lines, and begins no word.
    if (blank !== undefined || escaped === "\n") continue;
    shellOnly.push(...expansionsOf(match));
    word = { text: `${word?.text ?? ""}${textOf(match)}`, isBare: plain !== undefined && !word };
  }
  end();
  return { type: "words", words, shellOnly };
}

/** What a piece adds to its word. */
function textOf([, , single, double, escaped, plain]: RegExpMatchArray): string {
  return single ?? plain ?? unescapeDouble(double) ?? escaped ?? "";
}

/** The first `$` or backquote that a shell would act on: not in single quotes, not after a backslash. */
function expansionsOf([piece, , , double, , plain]: RegExpMatchArray): readonly string[] {
  if (plain === undefined && double === undefined) return [];
  const expansion = EXPANSION.exec(piece);
  return expansion && piece[expansion.index - 1] !== "\\" ? [expansion[0]] : [];
}

const unescapeDouble = (text: string | undefined): string | undefined =>
  text?.replace(/\\([$`"\\\n])/g, (_, kept: string) => (kept === "\n" ? "" : kept));
