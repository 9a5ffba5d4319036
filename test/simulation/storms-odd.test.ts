import { expect, test } from "vitest";
import { simulate } from "./simulate.ts";
import { playStorms } from "./storms.ts";

test("every run survives the storm, ends, and leaves nothing running: odd seeds", () =>
  playStorms(1));

test("the same seed gives the same story", async () => {
  const [first, second] = [await simulate({ seed: 42 }), await simulate({ seed: 42 })];
  expect(second.story).toEqual(first.story);
});
