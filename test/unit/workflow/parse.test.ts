/** YAML that is meant to do harm, and what its values keep of how they were written. */
import { expect, test } from "vitest";
import { renderProblem } from "../../../src/providers/problem.ts";
import type { Value } from "../../../src/providers/value.ts";
import { parseFiles } from "../../../src/workflow/files.ts";
import { parseYaml } from "../../../src/workflow/parse.ts";
import { collectProblems } from "../../../src/workflow/problems.ts";

function parse(source: string): { value: Value | null | undefined; told: readonly string[] } {
  const problems = collectProblems();
  const value = parseYaml("f.yaml", source, problems.report);
  return { value, told: problems.list().map(renderProblem) };
}

test.each([
  ["brackets", "[".repeat(500_000)],
  ["maps in brackets", '{"a":'.repeat(100_000)],
  ["dashes", "- ".repeat(200_000)],
  ["keys", "a: ".repeat(100_000)],
  ["question marks", "? ".repeat(200_000)],
  ["indented keys", Array.from({ length: 400 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
])("nesting by %s is refused before it fills the stack", (_, source) => {
  const { value, told } = parse(source);
  expect(value).toBeUndefined();
  expect(told[0]).toMatch(/is nested more than 50 levels deep|is not YAML/);
});

test("a tower of aliases is refused when it passes the number of values", () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const items = Array.from({ length: 10 }, () => (level === 0 ? "lol" : `*l${level - 1}`));
    return `l${level}: &l${level} [${items.join(", ")}]`;
  });
  expect(parse(levels.join("\n")).told).toEqual([
    expect.stringContaining("holds too many values, aliases followed; use fewer aliases"),
  ]);
});

test("a file of over 1 MiB is refused unread", () => {
  expect(parse(`a: ${"x".repeat(1_048_576)}`).told).toEqual([
    "f.yaml:1:1: is larger than 1 MiB; move data out of it",
  ]);
});

test("a megabyte of keys is refused by their number", () => {
  const keys = Array.from({ length: 90_000 }, (_, index) => `k${index}: 1`).join("\n");
  expect(parse(keys).told).toEqual([expect.stringMatching(/holds too many values/)]);
});

test("many files come to no more than one may hold, and it is told once, at its place", () => {
  const problems = collectProblems();
  const text = `jobs:\n${"- 1\n".repeat(15_000)}`;
  const files = ["a", "b", "c", "d", "e"].map((name) => `.dstack/providers/${name}.yaml`);
  parseFiles(new Map(files.map((file) => [file, text])), problems.report, () => undefined);
  const told = problems.list().map(renderProblem);
  expect(told.filter((line) => line.includes("too many values"))).toEqual([
    expect.stringMatching(/^\.dstack\/providers\/c\.yaml:\d+:[1-4]: holds too many values; /),
  ]);
});

test("a large text is read", () => {
  const text = "word ".repeat(100_000);
  expect(parse(`a: "${text}"`).told).toEqual([]);
});

test.each(["a: \u0000", "\u0007", "a: \u007f"])("control characters are refused: %j", (source) => {
  expect(parse(source).told).toEqual([
    "f.yaml:1:1: is not text: it holds control characters; write it as UTF-8 text",
  ]);
});

test.each(["", "# nothing\n", "---\n", "\n\n", "~"])(
  "a file without content is null: %j",
  (source) => {
    expect(parse(source)).toEqual({ value: null, told: [] });
  },
);

test("values have the place where they are written, in lines that end either way", () => {
  const { value } = parse("a: 1\r\nb:\r\n  - name: x\r\n    y: ü\n");
  expect(value).toMatchObject({
    type: "map",
    entries: [
      { key: "a", place: { line: 1, column: 1, path: "a" } },
      {
        key: "b",
        value: {
          items: [
            {
              entries: [
                { value: { place: { line: 3, column: 11, path: "b[x].name" } } },
                { value: { value: "ü", place: { line: 4, column: 8, path: "b[x].y" } } },
              ],
            },
          ],
        },
      },
    ],
  });
});

test.each([
  ["0x10", 16],
  ["1e3", 1_000],
  ["1.10", 1.1],
  ["010", 10],
  [".5", 0.5],
  ["True", true],
  ["yes", "yes"],
  ["2026-11-23", "2026-11-23"],
  ["1_000", "1_000"],
  ["12:30:00", "12:30:00"],
])("%s is read as YAML 1.2 has it and keeps its source", (source, value) => {
  expect(parse(source).value).toMatchObject({ value, source });
});
