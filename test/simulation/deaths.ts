/** Stories in which the daemon dies at one call after the other: before the world has done what was asked, and after. */
import { CALM, type Faults, STORM } from "./faults.ts";
import { simulate } from "./simulate.ts";

export type Told = { readonly name: string; readonly seed: number; readonly faults: Faults };

export const STORIES: readonly Told[] = [
  { name: "all goes well", seed: 21, faults: CALM },
  {
    name: "no capacity and lost replies",
    seed: 4,
    faults: { ...CALM, noCapacity: 0.5, lostReply: 0.1 },
  },
  {
    name: "machines die, boot silently, and are taken back",
    seed: 16,
    faults: {
      ...CALM,
      death: 0.4,
      silentBoot: 0.2,
      takenBack: 0.2,
      listingLagMs: STORM.listingLagMs,
    },
  },
  { name: "a cancel", seed: 17, faults: { ...CALM, cancel: 0.9 } },
  {
    name: "drops without events, overwritten and broken",
    seed: 22,
    faults: { ...CALM, eventLost: 1, overwrittenDrop: 1, brokenDrop: 0.5 },
  },
];

/** How many calls the story takes when nobody dies. */
export async function countCalls({ seed, faults }: Told): Promise<number> {
  const { calls } = await simulate({ seed, faults });
  return calls;
}

/** Throws where the next daemon does not bring every run to its end. */
export async function dieAt({ seed, faults, name }: Told, call: number): Promise<void> {
  for (const isAfter of [false, true]) {
    try {
      await simulate({ seed, faults, dieAt: { call, isAfter } });
    } catch (cause) {
      const when = isAfter ? "after" : "before";
      const message = `"${name}", dead ${when} call ${call}: ${(cause as Error).message}`;
      throw new Error(message, { cause });
    }
  }
}
