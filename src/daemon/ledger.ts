/**
 * What runs that are closed have cost today: `spent/<day>/<run>.<millionths of a dollar>`, empty objects, so
 * that a listing is all it takes. Written before a run's open marker goes; a run that is open speaks for itself.
 */
import { costOfDay } from "../core/cost.ts";
import { prefix } from "../core/layout.ts";
import type { Run } from "../core/run.ts";
import type { Store } from "../ports.ts";

const dayName = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** Again for the same run on the same day is the same object: what it has cost is settled. */
export async function noteSpent(store: Store, run: Run, at: number): Promise<void> {
  const millionths = Math.round(costOfDay(run, at) * 1e6);
  if (millionths > 0) await store.put(`${prefix.spent}${dayName(at)}/${run.id}.${millionths}`, "");
}

/** What all runs have cost in the day of `at`, those that are open by their records. */
export async function readSpent(store: Store, open: readonly Run[], at: number): Promise<number> {
  const folder = `${prefix.spent}${dayName(at)}/`;
  const isOpen = new Set(open.map(({ id }) => id));
  const closed = (await store.list(folder)).map(({ key }) => key.slice(folder.length).split("."));
  const closedUsd = closed
    .filter(([run = ""]) => !isOpen.has(run))
    .reduce((sum, [, millionths]) => sum + Number(millionths) / 1e6, 0);
  return open.reduce((sum, run) => sum + costOfDay(run, at), closedUsd);
}
