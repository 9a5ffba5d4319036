/** The derived view of each open run, for people and commands: written when it changes, and once more when the run is finished. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import type { HoldNow } from "../core/plan.ts";
import type { Run } from "../core/run.ts";
import { type Hold, type RunView, viewRun } from "../core/view.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

export type StatusWriter = {
  /** Writes the view if it differs from what this process wrote last. */
  readonly write: (run: Run, holds: readonly HoldNow[], at: number) => Promise<void>;
  /** The run is finished and will not be written again. */
  readonly forget: (run: string) => void;
};

export function createStatusWriter(store: Store): StatusWriter {
  const written = new Map<string, { readonly body: string; readonly holds: readonly Hold[] }>();

  async function write(run: Run, holds: readonly HoldNow[], at: number): Promise<void> {
    const before = written.get(run.id) ?? { body: "", holds: await holdsBefore(store, run.id) };
    const dated = holds.map((hold) => dateHold(hold, before.holds, at));
    const view = viewRun(run, { at, holds: dated });
    // Cost runs on with the clock; it is not worth a write of its own.
    const body = JSON.stringify({ ...view, costUsd: 0, jobs: view.jobs.map(withoutCost) });
    if (body === before.body) return;
    await store.put(key.status(run.id), JSON.stringify({ format: 1, ...view }), {
      contentType: "application/json",
    });
    written.set(run.id, { body, holds: dated });
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

/** After a restart, what the daemon before this one wrote. */
async function holdsBefore(store: Store, run: string): Promise<readonly Hold[]> {
  const view = await readDocument(store, key.status(run), holdsSchema);
  return view.type === "found" ? view.content.jobs.flatMap((job) => job.holds) : [];
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
