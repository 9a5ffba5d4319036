/** Retention in the daemon: a bounded pass in a sweep, hourly while there is nothing to do. */
import type { Log } from "../log.ts";
import { type Pruner, prune } from "./prune.ts";

/** As much as a sweep may do besides: the rest is left for the next one. */
const RUNS_MAX = 20;
const OBJECTS_MAX = 5_000;
const IDLE_MS = 60 * 60_000;

export type RetentionTurn = () => Promise<void>;

/** `retentionMs` undefined: nothing is ever pruned. */
export function createRetentionTurn(
  pruner: Pruner & { readonly log: Log; readonly retentionMs: number | undefined },
): RetentionTurn {
  const { log, clock, retentionMs } = pruner;
  const told = new Set<string>();
  let nextAt = 0;
  const tellOnce = (message: string, keys: readonly string[], hint: string) => {
    const news = keys.filter((each) => !told.has(each));
    for (const each of news) told.add(each);
    if (news.length > 0) log.error(message, { keys: news, hint });
  };
  return async () => {
    if (retentionMs === undefined || clock.now() < nextAt) return;
    const before = clock.now() - retentionMs;
    const done = await prune(pruner, { before, runsMax: RUNS_MAX, objectsMax: OBJECTS_MAX });
    tellOnce("retention held", done.blockedBy, "nothing is pruned until these can be read");
    tellOnce("record unreadable", done.unreadable, "retention leaves its run alone");
    if (done.pruned.length > 0) {
      log.info("runs pruned", {
        runs: done.pruned.map(({ run }) => run),
        objects: done.pruned.reduce((sum, { objects }) => sum + objects, 0),
        bytes: done.pruned.reduce((sum, { bytes }) => sum + bytes, 0),
      });
    }
    if (!done.hasMore) nextAt = clock.now() + Math.min(IDLE_MS, retentionMs);
  };
}
