/** What people and programs see of a run: `status/<run>.json`, `errand runs --json` and `errand show --json`. */
import { costUsd, DAY_MS } from "./cost.ts";
import { type Attempt, type Refusal, type Run, triesByJob } from "./run.ts";
import { attemptState, finishedAt, jobReason, jobStates, runState } from "./states.ts";
import type { Job } from "./workflow.ts";

export type RunState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

export type JobState =
  | "waiting"
  | "starting"
  | "running"
  | "uploading"
  | "succeeded"
  | "failed"
  | "timed-out"
  | "cancelled"
  | "skipped"
  | "lost";

export type AttemptState =
  | "launching"
  | "booting"
  | "running"
  | "uploading"
  | "succeeded"
  | "failed"
  | "timed-out"
  | "cancelled"
  | "lost";

/** One line of `errand runs --json`. Times are ISO 8601 in UTC, null when not reached. */
export type RunSummary = {
  readonly id: string;
  readonly name: string;
  readonly state: RunState;
  readonly workflows: readonly string[];
  readonly createdAt: string;
  readonly finishedAt: string | null;
  readonly costUsd: number;
};

/** `errand show --json`. */
export type RunView = RunSummary & {
  /** Since when retention has taken its bundle, logs and artifacts away; null while they are there. */
  readonly prunedAt: string | null;
  /** Why the drop never became jobs, one line each; empty otherwise. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly jobs: readonly JobView[];
};

export type JobView = {
  readonly name: string;
  readonly workflow: string;
  readonly state: JobState;
  /** One line; empty while all is well. */
  readonly reason: string;
  readonly holds: readonly Hold[];
  /** Names of jobs. */
  readonly dependsOn: readonly string[];
  readonly attempts: readonly AttemptView[];
  /** What EC2 had no room for, summed up by type and zone, the latest last. */
  readonly refusals: readonly RefusalView[];
  /** Of the last attempt that brought any. */
  readonly artifacts: readonly ArtifactView[];
  /** What the user should know, such as another Python used. */
  readonly notes: readonly string[];
};

/** Why nothing is done for a job that could still run. */
export type Hold = {
  readonly job: string;
  readonly reason:
    | "needs"
    | "backing-off"
    | "no-capacity"
    | "quota"
    | "ceiling"
    | "budget"
    | "no-offer"
    | "standby";
  readonly detail: string;
  /** ISO 8601. */
  readonly since: string;
  readonly nextLookAt: string | null;
};

/** Launches that EC2 turned down; times are ISO 8601. */
export type RefusalView = {
  readonly instanceType: string;
  readonly zone: string;
  readonly kind: "no-capacity" | "quota" | "refused";
  /** AWS's own. */
  readonly code: string;
  readonly message: string;
  readonly count: number;
  readonly firstAt: string;
  readonly lastAt: string;
};

export type AttemptView = {
  readonly number: number;
  readonly instanceId: string | null;
  readonly instanceType: string;
  readonly zone: string;
  readonly hourlyUsd: number;
  readonly costUsd: number;
  /** The day of these prices, YYYY-MM-DD, where it was gone when the attempt was planned; null otherwise. */
  readonly pricedOn: string | null;
  readonly state: AttemptState;
  readonly exitCode: number | null;
  readonly reason: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** Bytes of what its machine said at its boot, kept where the job never began; null otherwise. */
  readonly consoleBytes: number | null;
  /** Milliseconds; null where not reached. */
  readonly phases: Phases;
};

export type Phases = {
  readonly [Phase in
    | "queued"
    | "api"
    | "pending"
    | "boot"
    | "inputs"
    | "setup"
    | "run"
    | "upload"
    | "terminate"]: number | null;
};

export type ArtifactView = {
  readonly path: string;
  readonly bytes: number;
  readonly files: number;
};

export type ViewOptions = {
  /** Now, in milliseconds: what is under way has cost until here. */
  readonly at: number;
  readonly holds: readonly Hold[];
};

/** The view of a record. Pure: the same record, time and holds give the same view. */
export function viewRun(run: Run, { at, holds }: ViewOptions): RunView {
  const states = jobStates(run);
  const tries = triesByJob(run);
  return {
    ...summarizeRun(run, at),
    prunedAt: run.pruned ? isoOf(run.pruned.at) : null,
    problems: run.rejected ?? [],
    warnings: run.warnings,
    jobs: run.jobs.map((job) => viewJob(job, { run, at, states, holds, tries })),
  };
}

export function summarizeRun(run: Run, at: number): RunSummary {
  const finished = finishedAt(run);
  return {
    id: run.id,
    name: run.name,
    state: runState(run),
    workflows: run.workflows,
    createdAt: isoOf(run.createdAt),
    finishedAt: finished === undefined ? null : isoOf(finished),
    costUsd: roundUsd(run.attempts.reduce((sum, attempt) => sum + costUsd(attempt, at), 0)),
  };
}

type Context = ViewOptions & {
  readonly run: Run;
  readonly states: ReadonlyMap<string, JobState>;
  readonly tries: ReadonlyMap<string, readonly Attempt[]>;
};

function viewJob(job: Job, context: Context): JobView {
  const { run, states, holds } = context;
  const tries = context.tries.get(job.name) ?? [];
  const brought = tries.findLast((attempt) => attempt.finished)?.finished;
  return {
    name: job.name,
    workflow: job.workflow,
    state: states.get(job.name) ?? "waiting",
    reason: jobReason(run, job, states),
    holds: holds.filter((hold) => hold.job === job.name),
    dependsOn: job.needs,
    attempts: tries.map((attempt) => viewAttempt(job, attempt, context)),
    refusals: run.refusals
      .filter((refusal) => refusal.job === job.name)
      .toSorted((a, b) => a.lastAt - b.lastAt)
      .map(viewRefusal),
    artifacts: brought?.artifacts ?? [],
    notes: brought?.notes ?? [],
  };
}

const viewRefusal = ({ job: _, size: __, firstAt, lastAt, ...refusal }: Refusal): RefusalView => ({
  ...refusal,
  firstAt: isoOf(firstAt),
  lastAt: isoOf(lastAt),
});

function viewAttempt(job: Job, attempt: Attempt, context: Context): AttemptView {
  const { offer, outcome, ran, started } = attempt;
  return {
    number: attempt.number,
    instanceId: attempt.answer?.instanceId ?? null,
    instanceType: offer.instanceType,
    zone: offer.zone,
    hourlyUsd: offer.hourlyUsd,
    costUsd: roundUsd(costUsd(attempt, context.at)),
    pricedOn: oldPricesOf(attempt),
    state: attemptState(attempt),
    exitCode: ran?.exitCode ?? null,
    reason: outcome?.reason ?? "",
    startedAt: started ? isoOf(started.at) : null,
    endedAt: outcome ? isoOf(outcome.at) : null,
    consoleBytes: attempt.console?.bytes ?? null,
    phases: phasesOf(job, attempt, context),
  };
}

/** Of the day before they are no older than the reading of them, twice a day, makes them. */
const oldPricesOf = ({ pricedOn, plannedAt }: Attempt): string | null =>
  pricedOn !== undefined && pricedOn < isoOf(plannedAt - DAY_MS).slice(0, 10) ? pricedOn : null;

/** From the daemon's clock, but for what only the runner can time: boot, inputs, setup, run, upload. */
function phasesOf(job: Job, attempt: Attempt, context: Context): Phases {
  const { plannedAt, answer, started, finished, outcome, goneAt } = attempt;
  const boot = started?.bootMs ?? null;
  const sinceAnswer = answer && started ? started.at - answer.at : null;
  return {
    queued: plannedAt - readyAt(job, attempt, context),
    api: answer ? answer.at - plannedAt : null,
    pending: sinceAnswer === null || boot === null ? null : Math.max(0, sinceAnswer - boot),
    boot,
    inputs: finished?.phases.inputs ?? null,
    setup: finished?.phases.setup ?? null,
    run: finished?.phases.run ?? null,
    upload: finished?.phases.upload ?? null,
    terminate: outcome && goneAt !== undefined ? goneAt - outcome.at : null,
  };
}

/** When all that an attempt waits for was there: its run, the jobs it needs, the end of the try before. */
function readyAt(job: Job, attempt: Attempt, { run, tries }: Context): number {
  const endOf = (need: string) => tries.get(need)?.at(-1)?.outcome?.at ?? 0;
  const before = tries.get(job.name)?.find((each) => each.number === attempt.number - 1);
  const neededAt = job.needs.reduce((latest, need) => Math.max(latest, endOf(need)), 0);
  return Math.max(run.createdAt, neededAt, before?.goneAt ?? 0);
}

const roundUsd = (usd: number): number => Math.round(usd * 1e6) / 1e6;

/** Pure, although it says Date: it formats the time it is given. */
// biome-ignore lint/style/noRestrictedGlobals: no clock is read here.
const isoOf = (at: number): string => new Date(at).toISOString();
