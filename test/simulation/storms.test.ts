/** `SEED=7` replays one seed; `npm run storms` plays many more than these. */
import { expect, test } from "vitest";
import { simulate } from "./simulate.ts";

const SEEDS = 200;
const chosen = process.env.SEED ? Number(process.env.SEED) : undefined;

test("every run survives the storm, ends, and leaves nothing running", async () => {
  for (let seed = chosen ?? 1; seed <= (chosen ?? SEEDS); seed++) await simulate({ seed });
});

test.each([42, 43, 44])("seed %i gives the same story whenever it is played", async (seed) => {
  const [first, second] = [await simulate({ seed }), await simulate({ seed })];
  expect(second.story).toEqual(first.story);
});
