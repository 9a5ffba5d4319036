import { expect, test } from "vitest";
import { raceRetention } from "./retention.ts";

const chosen = process.env.SEED ? Number(process.env.SEED) : undefined;
const first = chosen ?? 1;
/** These calls are few: more seeds than this find nothing new. */
const SEEDS_MAX = 3_000;
const count = chosen === undefined ? Math.min(SEEDS_MAX, Number(process.env.SEEDS ?? 300)) : 1;

test("retention takes away nothing that a tag or an open run needs, in whatever order calls are answered and whoever dies", async () => {
  const seen = new Set<string>();
  for (let seed = first; seed < first + count; seed += 1) {
    try {
      for (const each of await raceRetention(seed)) seen.add(each);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  if (count < 100) return;
  expect([...seen].sort()).toEqual(["crash", "drop rejected", "kept", "pruned", "tag refused"]);
});
