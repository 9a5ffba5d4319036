/** `npm test` lets the daemon die at some calls of each story; `npm run storms`, and with it `test:all`, at every one. */
import { expect, test } from "vitest";
import { countCalls, dieAt, STORIES } from "./deaths.ts";

const DEATHS = 8;

test.each(STORIES)("$name, whenever the daemon dies", async (story) => {
  const calls = await countCalls(story);
  expect(calls).toBeGreaterThan(50);
  const step = Math.ceil(calls / DEATHS);
  for (let call = 1; call <= calls; call += step) await dieAt(story, call);
});
