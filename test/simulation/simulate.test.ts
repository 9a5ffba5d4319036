/** `SEED=7` replays one seed; `SEEDS=20000` plays more. */
import { expect, test } from "vitest";
import { simulate } from "./simulate.ts";

const seeds = process.env.SEED
  ? [Number(process.env.SEED)]
  : Array.from({ length: Number(process.env.SEEDS ?? 300) }, (_, index) => index + 1);

test("every run survives the storm, ends, and leaves nothing running", async () => {
  for (const seed of seeds) await simulate(seed);
});

test("the same seed gives the same story", async () => {
  expect((await simulate(42)).story).toEqual((await simulate(42)).story);
});
