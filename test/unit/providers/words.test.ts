/** Splitting into words: by a table, against a real shell, and for any words at all. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitWords } from "../../../src/providers/words.ts";
import { runs } from "../../support/property-tests.ts";

const wordsOf = (line: string): readonly string[] => {
  const split = splitWords(line);
  if (split.type !== "words") throw new Error(`unbalanced ${split.mark} at ${split.offset}`);
  return split.words;
};

/** Each way to write a word so that a shell reads it back. */
const QUOTINGS: readonly ((word: string) => string)[] = [
  (word) => `'${word.replaceAll("'", `'\\''`)}'`,
  (word) => `"${word.replaceAll(/[$`"\\]/g, "\\$&")}"`,
  (word) =>
    word === "" ? "''" : [...word].map((each) => (each === "\n" ? "'\n'" : `\\${each}`)).join(""),
];

/** Texts rich in what matters to a shell. */
const word = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: fc.constantFrom(..." \t\n'\"\\$`#*?~|&;<>(){}[]!=abü") }),
);

describe("splitting a line into words", () => {
  test.each<[string, readonly string[]]>([
    ["train.py --epochs 3", ["train.py", "--epochs", "3"]],
    ["  train.py\t--a\n  --b ", ["train.py", "--a", "--b"]],
    ["a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]],
    ["--name='it is' x\"y\"z", ["--name=it is", "xyz"]],
    ["'' \"\" ''''", ["", "", ""]],
    ["'a\\b' \"a\\b\" a\\b", ["a\\b", "a\\b", "ab"]],
    ['"\\$ \\` \\" \\\\ \\x"', ['$ ` " \\ \\x']],
    ["a\\\nb \"c\\\nd\" 'e\\\nf'", ["ab", "cd", "e\\\nf"]],
    ["a \\\n  b \\\n", ["a", "b"]],
    ["a # b #c", ["a", "#", "b", "#c"]],
    ["*.csv ~/x $HOME `id` $(id) | > &", ["*.csv", "~/x", "$HOME", "`id`", "$(id)", "|", ">", "&"]],
    ["a\u00a0b\rc\vd", ["a\u00a0b\rc\vd"]],
    ["", []],
    [" \n\t", []],
  ])("%j", (line, words) => {
    expect(wordsOf(line)).toEqual(words);
  });

  test.each([
    ["a 'b", "'", 2],
    ['say "it', '"', 4],
    ['a "b\\"', '"', 2],
    ["a \\", "\\", 2],
    ["'a' 'b' 'c", "'", 8],
  ])("%j leaves a mark open", (line, mark, offset) => {
    expect(splitWords(line)).toEqual({ type: "unbalanced", mark, offset });
  });

  test("gives back any words, in each way of quoting", () => {
    const written = fc.tuple(word, fc.constantFrom(...QUOTINGS));
    const blank = fc.constantFrom(" ", "\t", "\n", "  \n ");
    fc.assert(
      fc.property(fc.array(written), blank, (words, between) => {
        const line = words.map(([each, quoting]) => quoting(each)).join(between);
        expect(wordsOf(line)).toEqual(words.map(([each]) => each));
      }),
      { numRuns: runs(300) },
    );
  });

  test("agrees with bash on quotes, blanks and backslashes in any order", () => {
    const line = fc.string({ unit: fc.constantFrom(..."ab'\"\\ \t\n"), maxLength: 30 });
    fc.assert(
      fc.property(line, (text) => {
        const split = splitWords(text);
        // bash reads a newline between words as the end of the command.
        const joined = split.type === "words" ? inBash(text) : undefined;
        if (split.type === "words" && joined !== undefined) expect(split.words).toEqual(joined);
      }),
      { numRuns: runs(100) },
    );
  });

  test("takes time in proportion to a line without end", () => {
    for (const piece of ['"', "'a", '"\\', "\\", "a'b\"", '"a']) {
      const line = piece.repeat(200_000);
      expect(["words", "unbalanced"]).toContain(splitWords(line).type);
    }
  });
});

describe("what only a shell would act on", () => {
  test.each<[string, readonly string[]]>([
    ["train.py > log.txt 2>&1", [">", "2>&1"]],
    ["a.py && b.py", ["&&"]],
    ["a.py --home $HOME --x ${Y}/z $(id)", ["$HOME", "${Y}", "$(id)"]],
    ['a.py "$HOME" "`id`"', ["$HOME", "`"]],
    ["a.py '>' \">\" '$HOME' \\$HOME \"\\$HOME\"", []],
    ["a.py http://x/?a=1&b=2 5$ a>b", []],
  ])("is told of: %s", (line, expected) => {
    const split = splitWords(line);
    expect(split).toMatchObject({ type: "words", shellOnly: expected });
  });
});

/** The words as bash reads them; undefined where the line is more than one command to it. */
function inBash(text: string): readonly string[] | undefined {
  const script = `set -f; show() { printf '%s\\0' "$@" end; }; eval "show $1"`;
  const isOneLine = !/(^|[^\\])(\\\\)*\n/.test(text);
  if (!isOneLine) return undefined;
  const output = execFileSync("bash", ["-c", script, "bash", text], { encoding: "utf8" });
  return output.split("\0").slice(0, -2);
}
