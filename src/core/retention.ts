/** Retention: which runs are old enough to go, and what keeps one all the same. Pure. */
import { type Attempt, attemptsOf, type Run } from "./run.ts";
import { finishedAt } from "./states.ts";
import type { Job } from "./workflow.ts";

/** An artifact set: what one attempt brought back. */
export type SetRef = { readonly job: string; readonly attempt: number };

/** Finished before `before`, and not pruned already. */
export function isDue(run: Run, before: number): boolean {
  const at = finishedAt(run);
  return at !== undefined && at < before && run.pruned === undefined;
}

/** Runs whose artifacts a job starts with: those that its tags named at submit. */
export const sourcesOf = (jobs: readonly Pick<Job, "inputs">[]): readonly string[] => [
  ...new Set(
    jobs.flatMap(({ inputs }) =>
      inputs.flatMap((input) => (input.type === "set" ? input.run : [])),
    ),
  ),
];

export type TaggableSets =
  | { readonly type: "whole"; readonly sets: readonly SetRef[] }
  /** Jobs of the workflow without a finished successful set. */
  | { readonly type: "unfinished"; readonly jobs: readonly string[] };

/** What a tag on a workflow of this run would stand for; undefined when the run has no such workflow. */
export function taggableSets(run: Run, workflow: string): TaggableSets | undefined {
  const jobs = run.jobs.filter((job) => job.workflow === workflow);
  if (jobs.length === 0) return undefined;
  const found = jobs.map((job) => ({
    job: job.name,
    done: attemptsOf(run, job.name).find(isDone),
  }));
  const missing = found.filter(({ done }) => !done).map(({ job }) => job);
  if (missing.length > 0) return { type: "unfinished", jobs: missing };
  const sets = found.flatMap(({ job, done }) => (done ? [{ job, attempt: done.number }] : []));
  return { type: "whole", sets };
}

const isDone = (attempt: Attempt): boolean => attempt.outcome?.type === "succeeded";
