/**
 * Stories to read: one line for each event, in the words of the design. What changes in them is seen in review;
 * `npx vitest run --project simulation -u transcripts` writes them anew.
 */
import { expect, test } from "vitest";
import { CALM, type Faults } from "./faults.ts";
import { INSTALLATION, type Installation } from "./installations.ts";
import { type Story, simulate } from "./simulate.ts";

const LIMITED: Installation = {
  ...INSTALLATION,
  limits: { ...INSTALLATION.limits, runUsdMax: 0.012 },
};

const STORIES: Readonly<Record<string, Story>> = {
  "all-goes-well": { seed: 16, faults: CALM },
  "no-capacity": { seed: 23, faults: calmBut({ noCapacity: 0.6 }) },
  "lost-machines-are-tried-elsewhere": { seed: 1, faults: calmBut({ death: 0.6 }) },
  "the-daemon-dies-while-it-launches": {
    seed: 4,
    faults: CALM,
    dieAt: { call: 96, isAfter: true },
  },
  "a-cancel": { seed: 85, faults: calmBut({ cancel: 0.9 }) },
  "a-budget-is-spent": { seed: 23, faults: CALM, installation: LIMITED },
};

function calmBut(over: Partial<Faults>): Faults {
  return { ...CALM, ...over };
}

test.each(Object.entries(STORIES))("%s", async (name, story) => {
  const world = await simulate(story);
  await expect(`${world.story.join("\n")}\n`).toMatchFileSnapshot(`transcripts/${name}.txt`);
});
