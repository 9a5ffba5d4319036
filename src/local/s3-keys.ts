/** Object keys in S3's order, which is that of their UTF-8 bytes and not JavaScript's. */
import { OrderedMap, type OrderedMapIterator } from "@js-sdsl/ordered-map";

export type SortedKeys = {
  readonly size: number;
  /** The first key that is not before `key`. */
  from(key: string): string | undefined;
  after(key: string): string | undefined;
  /** The first key behind all that begin with `prefix`. */
  behind(prefix: string): string | undefined;
  add(key: string): void;
  remove(key: string): void;
};

/** Of all that begin with a prefix, the last ones go on with it. */
const LAST_CHARACTER = "\u{10ffff}";

export function makeSortedKeys(): SortedKeys {
  const keys = new OrderedMap<string, true>([], compareUtf8);
  const after = (key: string): string | undefined => keyAt(keys.upperBound(key));
  return {
    get size() {
      return keys.size();
    },
    from: (key) => keyAt(keys.lowerBound(key)),
    after,
    behind(prefix) {
      let key = after(prefix + LAST_CHARACTER);
      while (key?.startsWith(prefix)) key = after(key);
      return key;
    },
    add: (key) => void keys.setElement(key, true),
    remove: (key) => void keys.eraseElementByKey(key),
  };
}

const keyAt = (place: OrderedMapIterator<string, true>): string | undefined =>
  place.isAccessible() ? place.pointer[0] : undefined;

/** Code units compare as code points do, but for surrogates, which stand for points above all of U+E000 to U+FFFF. */
export function compareUtf8(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let index = 0; index < length; index += 1) {
    const [a, b] = [one.charCodeAt(index), other.charCodeAt(index)];
    if (a !== b) return rank(a) - rank(b);
  }
  return one.length - other.length;
}

const rank = (unit: number): number =>
  unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
