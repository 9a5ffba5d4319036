import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareUtf8, makeSortedKeys, type SortedKeys } from "../../../src/local/s3-keys.ts";

const text = fc.string({
  unit: fc.constantFrom("a", "b", "/", "é", "\ud7ff", "\ue000", "～", "😀", "𝄞", "\u{10ffff}"),
});
const compareBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

function listAll(keys: SortedKeys): string[] {
  const all: string[] = [];
  for (let key = keys.from(""); key !== undefined; key = keys.after(key)) all.push(key);
  return all;
}

describe("keys", () => {
  it("compare as their UTF-8 bytes do", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(compareBytes(a, b));
      }),
    );
  });

  it("stay sorted and unique whatever is added and removed", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), text)), text, (changes, prefix) => {
        const model = new Set<string>();
        const keys = makeSortedKeys();
        for (const [isAdded, key] of changes) {
          model[isAdded ? "add" : "delete"](key);
          keys[isAdded ? "add" : "remove"](key);
        }
        const sorted = [...model].sort(compareBytes);
        expect(listAll(keys)).toEqual(sorted);
        expect(keys.size).toBe(sorted.length);
        expect(keys.from(prefix)).toBe(sorted.find((key) => compareBytes(key, prefix) >= 0));
        const isBehind = (key: string) => compareBytes(key, prefix) > 0 && !key.startsWith(prefix);
        expect(keys.behind(prefix)).toBe(sorted.find(isBehind));
      }),
    );
  });
});
