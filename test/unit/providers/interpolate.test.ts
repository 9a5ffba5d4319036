/** References in texts, for any text. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interpolate, parseTemplate, type Scope } from "../../../src/providers/interpolate.ts";
import { textScalar, type Value } from "../../../src/providers/value.ts";
import { runs } from "../../support/property-tests.ts";

const PLACE = { file: "f.yaml", line: 1, column: 1, path: "x" };
const number: Value = { type: "scalar", value: 1.1, source: "1.10", place: PLACE };

const scopeOf = (values: Readonly<Record<string, Value>>): Scope => ({
  find: (name) => (Object.hasOwn(values, name) ? values[name] : undefined),
  names: Object.keys(values),
  owner: "the test",
  budget: { characters: 1_000_000 },
});

function fill(text: string, values: Readonly<Record<string, Value>>) {
  const told: string[] = [];
  const value = interpolate(textScalar(text, PLACE), scopeOf(values), (_, message) => {
    told.push(message);
    return undefined;
  });
  return { value, told };
}

/** A text as it must be written to come out as it is. */
const escaped = (plain: string): string => plain.replaceAll("${{", () => "$${{");
const text = fc.string({ unit: fc.constantFrom(..."${} ab\n") });

describe("filling references in", () => {
  test("an escaped text comes out as it was, whatever it holds", () => {
    fc.assert(
      fc.property(text, (plain) => {
        expect(fill(escaped(plain), {}).value).toMatchObject({ value: plain });
      }),
      { numRuns: runs(400) },
    );
  });

  test("references between any texts are replaced, and nothing else", () => {
    fc.assert(
      fc.property(text, text, text, (before, value, after) => {
        // A text that ends with a dollar would escape the reference.
        fc.pre(!before.endsWith("$"));
        const filled = fill(`${escaped(before)}\${{ a }}${escaped(after)}`, {
          a: textScalar(value, PLACE),
        });
        expect(filled.value).toMatchObject({ value: `${before}${value}${after}` });
      }),
      { numRuns: runs(300) },
    );
  });

  test("a reference alone keeps type and source, with or without blanks in its braces", () => {
    for (const written of ["${{a}}", "${{ a }}", "${{\ta\n}}"]) {
      expect(fill(written, { a: number }).value).toEqual(number);
    }
    expect(fill(" ${{ a }}", { a: number }).value).toMatchObject({ value: " 1.10" });
  });

  test("names have letters, digits, dashes, underscores and dots", () => {
    const values = { "batch-size_2": number, "run.id": number };
    expect(fill("${{ batch-size_2 }}${{ run.id }}", values).value).toMatchObject({
      value: "1.101.10",
    });
  });

  test("names of what every object has are not known", () => {
    expect(fill("${{ constructor }}", {}).told).toEqual([
      'the test knows no variable "constructor"',
    ]);
  });

  test("a list cannot stand inside a text, and stands alone as it is", () => {
    const list: Value = { type: "list", items: [number], place: PLACE };
    expect(fill("${{ a }}", { a: list }).value).toEqual(list);
    expect(fill("x${{ a }}", { a: list })).toEqual({
      value: { type: "unknown", place: PLACE },
      told: ["a list cannot stand inside a text"],
    });
  });

  test("a text of many openings takes time in proportion", () => {
    expect(parseTemplate("${{".repeat(200_000))).toHaveLength(1);
    expect(parseTemplate("$${{".repeat(200_000))).toHaveLength(200_000);
  });
});
