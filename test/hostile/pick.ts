/** Choices of a seeded generator. */
import type { Random } from "../simulation/random.ts";

export function pick<Value>(random: Random, values: readonly [Value, ...Value[]]): Value;
export function pick<Value>(random: Random, values: readonly Value[]): Value | undefined;
export function pick<Value>(random: Random, values: readonly Value[]): Value | undefined {
  return values[random.between(0, values.length - 1)];
}

const CHUNKS = [0, 1, 7, 32, 127, 128, 255];

/** The same bytes with some flipped, taken out, doubled, cut off, or put in. */
export function damage(bytes: Buffer, random: Random): Buffer {
  if (bytes.length === 0) return bytes;
  const at = random.between(0, bytes.length - 1);
  const count = Math.min(bytes.length - at, 1 << random.between(0, 9));
  switch (random.between(0, 5)) {
    case 0: {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << random.between(0, 7));
      return changed;
    }
    case 1: {
      const changed = Buffer.from(bytes);
      changed.fill(pick(random, CHUNKS) ?? 0, at, at + count);
      return changed;
    }
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at + count), bytes.subarray(at)]);
    default: {
      const noise = Buffer.from(Array.from({ length: count }, () => random.between(0, 255)));
      return Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]);
    }
  }
}
