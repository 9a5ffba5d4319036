/** Plays storms. `SEED=7` replays one seed; `SEEDS=20000` plays more. */
import { simulate } from "./simulate.ts";

const SEEDS_DEFAULT = 100;

/** Every second seed: two files share them, and so both cores work. */
export async function playStorms(parity: 0 | 1): Promise<void> {
  const chosen = process.env.SEED ? Number(process.env.SEED) : undefined;
  const last = chosen ?? Number(process.env.SEEDS ?? SEEDS_DEFAULT);
  for (let seed = chosen ?? 1; seed <= last; seed++) {
    if (seed % 2 === parity) await simulate({ seed });
  }
}
