import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareUtf8, makeSortedKeys } from "../../../src/local/s3-keys.ts";

const text = fc.string({
  unit: fc.constantFrom("a", "b", "/", "é", "\ud7ff", "\ue000", "～", "😀", "𝄞"),
});
const compareBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

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
        expect(Array.from({ length: keys.size }, (_, index) => keys.at(index))).toEqual(sorted);
        const from = sorted.filter((key) => compareBytes(key, prefix) < 0).length;
        expect(keys.indexFrom(prefix)).toBe(from);
        const within = sorted.filter((key) => key.startsWith(prefix)).length;
        expect(keys.indexBehind(prefix)).toBe(from + within);
      }),
    );
  });
});
