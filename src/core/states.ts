/** States of attempts, jobs and runs: computed from the record, never stored. docs/workflows.md lists them. */
import { type Attempt, isLiving, isOpen, type Run, triesByJob } from "./run.ts";
import type { AttemptState, JobState, RunState } from "./view.ts";
import type { Job } from "./workflow.ts";

export function attemptState(attempt: Attempt): AttemptState {
  if (attempt.outcome) return attempt.outcome.type;
  if (attempt.ran) return "uploading";
  if (attempt.started) return "running";
  return attempt.answer ? "booting" : "launching";
}

/** The state of every job, by name. One pass however the jobs depend on each other. */
export function jobStates(run: Run): ReadonlyMap<string, JobState> {
  const jobs = new Map(run.jobs.map((job) => [job.name, job]));
  const tries = triesByJob(run);
  const ended = new Set(run.verdicts.map((verdict) => verdict.job));
  const states = new Map<string, JobState>();

  const stateOf = (name: string): JobState => {
    const known = states.get(name);
    if (known) return known;
    const job = jobs.get(name);
    if (!job) throw new Error(`run ${run.id} has no job "${name}"`);
    const state = decide(job);
    states.set(name, state);
    return state;
  };
  const decide = (job: Job): JobState => {
    if (ended.has(job.name)) return "failed";
    const state = stateOfTries(run, job, tries.get(job.name) ?? []);
    if (state) return state;
    if (run.cancel) return "cancelled";
    return job.needs.some((need) => isDeadEnd(stateOf(need))) ? "skipped" : "waiting";
  };

  for (const job of run.jobs) stateOf(job.name);
  return states;
}

/** Undefined where the tries so far do not decide: there are none, or another may follow. */
function stateOfTries(run: Run, job: Job, tries: readonly Attempt[]): JobState | undefined {
  const last = tries.at(-1);
  if (!last) return undefined;
  const state = attemptState(last);
  switch (state) {
    case "launching":
    case "booting":
      return "starting";
    case "failed":
    case "lost":
      if (!mayRetry(job, tries)) return "failed";
      if (run.cancel) return "cancelled";
      return state === "lost" ? "lost" : "waiting";
    default:
      return state;
  }
}

/** Another attempt is allowed after these. */
function mayRetry(job: Job, tries: readonly Attempt[]): boolean {
  const count = (type: "lost" | "failed") =>
    tries.filter((attempt) => attempt.outcome?.type === type).length;
  return count("lost") <= job.resources.retry.lost && count("failed") <= job.resources.retry.failed;
}

/** Nothing more will come of it, and it did not succeed. */
export const isDeadEnd = (state: JobState): boolean =>
  state === "failed" || state === "timed-out" || state === "cancelled" || state === "skipped";

/** Everything is decided, and nothing of it costs money any more. */
export function isFinished(run: Run): boolean {
  if (run.rejected) return true;
  if (run.attempts.some(isLiving)) return false;
  return [...jobStates(run).values()].every((state) => state === "succeeded" || isDeadEnd(state));
}

export function runState(run: Run): RunState {
  if (run.rejected) return "failed";
  const states = [...jobStates(run).values()];
  if (!isFinished(run)) {
    const hasBegun = run.attempts.length > 0 || states.some((state) => state !== "waiting");
    return hasBegun ? "running" : "queued";
  }
  if (states.includes("cancelled")) return "cancelled";
  return states.every((state) => state === "succeeded") ? "succeeded" : "failed";
}

/** When the last thing about it was decided; undefined while it goes on. */
export function finishedAt(run: Run): number | undefined {
  if (!isFinished(run)) return undefined;
  return Math.max(
    run.createdAt,
    run.cancel?.at ?? 0,
    ...run.attempts.map((attempt) => Math.max(attempt.goneAt ?? 0, attempt.outcome?.at ?? 0)),
    ...run.verdicts.map((verdict) => verdict.at),
  );
}

/** One line that says why a job is where it is; empty while all is well. */
export function jobReason(run: Run, job: Job, states: ReadonlyMap<string, JobState>): string {
  const verdict = run.verdicts.find((each) => each.job === job.name);
  if (verdict) return verdict.reason;
  const state = states.get(job.name);
  if (state === "skipped") {
    const dead = job.needs.filter((need) => isDeadEnd(states.get(need) ?? "waiting"));
    return dead.map((need) => `${need} ${wordOf(states.get(need))}`).join(", ");
  }
  const last = run.attempts.findLast((attempt) => attempt.job === job.name);
  if (!last && state === "cancelled") return "cancelled before it began";
  if (last?.stop && isOpen(last)) return `asked to stop: ${last.stop.reason}`;
  return last && !isOpen(last) ? (last.outcome?.reason ?? "") : "";
}

const wordOf = (state: JobState | undefined): string =>
  state === "cancelled" || state === "skipped" ? `was ${state}` : (state ?? "");
