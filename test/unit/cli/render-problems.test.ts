/** Problems under the line they stand in. */
import { expect, test } from "vitest";
import { createPalette } from "../../../src/cli/palette.ts";
import { problemJson, renderProblems } from "../../../src/cli/render-problems.ts";

const at = (line: number, column: number) => ({
  ...{ file: "f.yaml", line, column, path: "a.b" },
  ...{ message: "is wrong", hint: "mend it" },
});

function render(text: string, line: number, column: number): readonly string[] {
  const palette = createPalette(false);
  const texts = new Map([["f.yaml", text]]);
  return renderProblems([at(line, column)], { texts, palette, paint: (shown) => shown }).slice(1);
}

test("a caret stands under the place, whatever the line ends with", () => {
  expect(render("x: 1\r\na: b: c\r\n", 2, 4)).toEqual(["    2 | a: b: c", "      |    ^"]);
});

test("a caret stands under the place behind tabs, wide characters and control characters", () => {
  expect(render("\tü日\u001b[2Jx: 1", 1, 8)).toEqual(["    1 |  ü日x: 1", "      |     ^"]);
});

test("of a long line what is around the place is shown", () => {
  const [line = "", caret = ""] = render(`${"a".repeat(500)}B${"c".repeat(500)}`, 1, 501);
  expect(line.length).toBeLessThan(120);
  expect(line[caret.indexOf("^")]).toBe("B");
});

test("what stands in no file, or behind its end, has no line to show", () => {
  expect(render("x: 1", 0, 0)).toEqual([]);
  expect(render("x: 1", 9, 1)).toEqual([]);
  expect(problemJson(at(0, 0))).toMatchObject({ line: null, column: null, path: "a.b" });
  expect(problemJson(at(3, 4))).toEqual(at(3, 4));
});
