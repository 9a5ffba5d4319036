/** Object keys in S3's order, which is that of their UTF-8 bytes and not JavaScript's. */

export type SortedKeys = {
  readonly size: number;
  at(index: number): string | undefined;
  /** The first index whose key is not before `key`; the number of keys when there is none. */
  indexFrom(key: string): number;
  /** The first index behind all keys that begin with `prefix`. */
  indexBehind(prefix: string): number;
  add(key: string): void;
  remove(key: string): void;
};

export function makeSortedKeys(): SortedKeys {
  const keys: string[] = [];
  const indexFrom = (key: string): number =>
    findIndex(keys, (other) => compareUtf8(other, key) >= 0);
  return {
    get size() {
      return keys.length;
    },
    at: (index) => keys[index],
    indexFrom,
    indexBehind: (prefix) =>
      findIndex(keys, (key) => compareUtf8(key, prefix) > 0 && !key.startsWith(prefix)),
    add(key) {
      const last = keys.at(-1);
      if (last === undefined || compareUtf8(last, key) < 0) {
        keys.push(key);
        return;
      }
      const index = indexFrom(key);
      if (keys[index] !== key) keys.splice(index, 0, key);
    },
    remove(key) {
      const index = indexFrom(key);
      if (keys[index] === key) keys.splice(index, 1);
    },
  };
}

/** The first index where `isBehind` holds; it must hold for all after it. */
function findIndex(keys: readonly string[], isBehind: (key: string) => boolean): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(keys[middle] ?? "")) high = middle;
    else low = middle + 1;
  }
  return low;
}

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
