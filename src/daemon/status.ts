/** The derived view of each open run, for people and commands: written when it changes, and once more when the run is finished. */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { key } from "../core/layout.ts";
import type { HoldNow } from "../core/plan.ts";
import type { Run } from "../core/run.ts";
import { type Hold, type RunView, viewRun } from "../core/view.ts";
import { CloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";
import { readRun } from "./records.ts";

export type StatusWriter = {
  /** Writes the view if it differs from what this process wrote last. */
  readonly write: (run: Run, holds: readonly HoldNow[], at: number) => Promise<void>;
  /** The run is finished and will not be written again. */
  readonly forget: (run: string) => void;
};

export function createStatusWriter(store: Store): StatusWriter {
  const written = new Map<string, Written>();

  async function write(run: Run, holds: readonly HoldNow[], at: number): Promise<void> {
    const before = written.get(run.id) ?? (await readBefore(store, run));
    if (before.run === run && isDeepStrictEqual(before.told, holds)) return;
    const dated = holds.map((hold) => dateHold(hold, before.holds, at));
    const view = viewRun(run, { at, holds: dated });
    // Cost runs on with the clock; it is not worth a write of its own.
    const body = JSON.stringify({ ...view, costUsd: 0, jobs: view.jobs.map(withoutCost) });
    if (body === before.body) {
      written.set(run.id, { ...before, run, told: holds });
      return;
    }
    // What is not told now is read anew: a daemon that lost its lease must not write over the last word of another.
    written.delete(run.id);
    const condition =
      before.etag === undefined ? { ifAbsent: true as const } : { ifEtag: before.etag };
    const etag = await store.put(key.status(run.id), JSON.stringify({ format: 1, ...view }), {
      contentType: "application/json",
      condition,
    });
    written.set(run.id, { run, told: holds, body, holds: dated, etag });
  }

  return { write, forget: (run) => written.delete(run) };
}

const withoutCost = (job: RunView["jobs"][number]) => ({
  ...job,
  attempts: job.attempts.map((attempt) => ({ ...attempt, costUsd: 0 })),
});

/** A hold goes on since it was first seen with this reason. */
function dateHold(hold: HoldNow, before: readonly Hold[], at: number): Hold {
  const same = before.find((each) => each.job === hold.job && each.reason === hold.reason);
  const { nextLookAt } = hold;
  return {
    job: hold.job,
    reason: hold.reason,
    detail: hold.detail,
    since: same?.since ?? new Date(at).toISOString(),
    nextLookAt:
      nextLookAt === undefined || !Number.isFinite(nextLookAt)
        ? null
        : new Date(nextLookAt).toISOString(),
  };
}

type Written = {
  /** The record and the holds that it tells of; undefined when they are not known. */
  readonly run?: Run;
  readonly told?: readonly HoldNow[];
  /** Empty when it is not known. */
  readonly body: string;
  readonly holds: readonly Hold[];
  /** Undefined when there is none. */
  readonly etag: string | undefined;
};

/**
 * What stands there, at first or after a write that went wrong. Then the record must still be the one that is told of: it
 * changes before its status does, so whoever has told something newer is noticed here, or by the write's condition.
 */
async function readBefore(store: Store, run: Run): Promise<Written> {
  const view = await readDocument(store, key.status(run.id), holdsSchema);
  const saved = await readRun(store, run.id);
  if (saved === undefined || saved === "unreadable" || !isDeepStrictEqual(saved.run, run)) {
    throw new CloudError("conflict", `telling of ${run.id}: its record is another by now`);
  }
  if (view.type === "absent") return { body: "", holds: [], etag: undefined };
  const holds = view.type === "found" ? view.content.jobs.flatMap((job) => job.holds) : [];
  return { body: "", holds, etag: view.etag };
}

/** As much of a view as is used again. */
const holdsSchema = z.object({
  jobs: z.array(
    z.object({
      holds: z.array(
        z.object({
          job: z.string(),
          reason: z.custom<Hold["reason"]>((value) => typeof value === "string"),
          detail: z.string(),
          since: z.string(),
          nextLookAt: z.string().nullable(),
        }),
      ),
    }),
  ),
});
