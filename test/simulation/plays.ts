/** What can be played, by its kind and a number: a storm from a seed, the race of retention from a seed, a death at a call of a story. */
import { countCalls, dieAt, STORIES } from "./deaths.ts";
import { raceRetention } from "./retention.ts";
import { simulate } from "./simulate.ts";

/** Each with how many numbers it has; a storm has as many as one likes. */
export async function listPlays(storms: number): Promise<ReadonlyMap<string, number>> {
  const plays = new Map([
    ["storm", storms],
    ["retention", Math.min(RACES, storms)],
  ]);
  for (const story of STORIES) plays.set(story.name, await countCalls(story));
  return plays;
}

/** Calls of a race are few: more seeds than this find nothing new. */
const RACES = 3_000;

/** Throws when a rule is broken, and says of which kind and number it was. */
export async function play(kind: string, number: number): Promise<void> {
  if (kind === "storm") await simulate({ seed: number });
  else if (kind === "retention") await race(number);
  else {
    const story = STORIES.find(({ name }) => name === kind);
    if (!story) throw new Error(`there is no story "${kind}"`);
    await dieAt(story, number);
  }
}

async function race(seed: number): Promise<void> {
  try {
    await raceRetention(seed);
  } catch (cause) {
    throw new Error(`retention, seed ${seed}: ${(cause as Error).message}`, { cause });
  }
}
