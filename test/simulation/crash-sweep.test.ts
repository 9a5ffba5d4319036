/**
 * One death at each call of a story in turn: before the world has done what was asked, and after. The next
 * daemon must bring every run to its end from whatever that left. `STORIES=all` does so at
 * every call of all stories, which takes many minutes; else it is at some calls of the first.
 */
import { expect, test } from "vitest";
import { CALM, type Faults, STORM } from "./faults.ts";
import { simulate } from "./simulate.ts";

type Told = { readonly name: string; readonly seed: number; readonly faults: Faults };

const STORIES: readonly Told[] = [
  { name: "all goes well", seed: 3, faults: CALM },
  {
    name: "no capacity and lost replies",
    seed: 5,
    faults: { ...CALM, noCapacity: 0.5, lostReply: 0.1 },
  },
  {
    name: "machines die, boot silently, and are taken back",
    seed: 8,
    faults: {
      ...CALM,
      death: 0.4,
      silentBoot: 0.2,
      takenBack: 0.2,
      listingLagMs: STORM.listingLagMs,
    },
  },
  { name: "a cancel", seed: 11, faults: { ...CALM, cancel: 1 } },
  {
    name: "drops without events, overwritten and broken",
    seed: 14,
    faults: { ...CALM, eventLost: 1, overwrittenDrop: 1, brokenDrop: 0.5 },
  },
];

const isWhole = process.env.STORIES === "all";
const told = isWhole ? STORIES : STORIES.slice(0, 1);
const DEATHS = 40;

test.each(told)("$name, whenever the daemon dies", async ({ seed, faults }) => {
  const { calls } = await simulate({ seed, faults });
  expect(calls).toBeGreaterThan(50);
  const step = isWhole ? 1 : Math.ceil(calls / DEATHS);
  for (let call = 1; call <= calls; call += step) {
    for (const isAfter of [false, true]) await simulate({ seed, faults, dieAt: { call, isAfter } });
  }
});
