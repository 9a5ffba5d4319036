/**
 * Signs of life: the heartbeats of machines that have been at work for some time. A machine that hangs, or has lost its
 * network, ends nothing by itself before its deadline, which may be a day away.
 */
import PQueue from "p-queue";
import { key } from "../core/layout.ts";
import { orderOf } from "../core/observation.ts";
import { type Attempt, isOpen, type Run } from "../core/run.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";

export type Pulse = {
  /** Since when nothing has come of those that gave signs of life before, by `orderKey`; times are ours. */
  readonly feel: (open: readonly Run[], at: number) => Promise<ReadonlyMap<string, number>>;
};

/** Most jobs are over by then, and cost no look. */
const FIRST_LOOK_MS = 5 * 60_000;
/** How often each is looked at. */
const LOOK_MS = 60_000;
/** So many heartbeats may be missing. */
const BEATS_MISSING_MAX = 20;
const LOOKS_AT_ONCE = 16;

type Felt = {
  readonly lookedAt: number;
  /** What the heartbeat was then, and when it was first seen so. A daemon that begins anew gives each its time again. */
  readonly etag: string;
  readonly since: number;
};

export function createPulse(store: Store, heartbeatMs: number): Pulse {
  let felt: ReadonlyMap<string, Felt> = new Map();
  return {
    feel: async (open, at) => {
      const queue = new PQueue({ concurrency: LOOKS_AT_ONCE });
      const watched = open.flatMap(({ id, attempts }) =>
        attempts.filter((each) => isAtWork(each, at)).map((attempt) => ({ run: id, attempt })),
      );
      const looks = watched.map(({ run, attempt }) =>
        queue.add(async () => {
          const order = orderOf(attempt);
          return [order, await look(store, { run, attempt, before: felt.get(order), at })] as const;
        }),
      );
      const found = await Promise.all(looks);
      felt = new Map(found.flatMap(([order, each]) => (each ? [[order, each] as const] : [])));
      const quiet = [...felt].filter(
        ([, { since }]) => at - since > BEATS_MISSING_MAX * heartbeatMs,
      );
      return new Map(quiet.map(([order, { since }]) => [order, since]));
    },
  };
}

const isAtWork = (attempt: Attempt, at: number): boolean =>
  isOpen(attempt) && attempt.started !== undefined && at - attempt.started.at > FIRST_LOOK_MS;

/** Undefined for a machine that has given no sign yet. What cannot be read now is as it was. */
async function look(
  store: Store,
  {
    run,
    attempt,
    before,
    at,
  }: { run: string; attempt: Attempt; before: Felt | undefined; at: number },
): Promise<Felt | undefined> {
  if (before && at - before.lookedAt < LOOK_MS) return before;
  try {
    const beat = await store.findInfo(key.heartbeat(run, attempt.job, attempt.number));
    if (!beat) return before;
    const since = before?.etag === beat.etag ? before.since : at;
    return { lookedAt: at, etag: beat.etag, since };
  } catch (error) {
    if (!isCloudError(error)) throw error;
    // Where S3 does not answer us, it may not take their heartbeats either.
    return before && { ...before, lookedAt: at, since: at };
  }
}
