/**
 * The first half of a step: what the look says about attempts that are under way.
 *
 * An attempt ends twice. `outcome` is what became of the work; `goneAt` is when its machine was gone
 * for certain. Before an attempt that has not started gets an outcome, its claim is decided: either
 * the runner holds it and its report counts, or the daemon does and the work will never be done.
 */
import { overspent } from "./budget.ts";
import {
  type Answer,
  type Instance,
  isAlive,
  type Look,
  orderKey,
  orderOf,
  type Report,
} from "./observation.ts";
import { type Attempt, isOpen, type Outcome, type Refusal, type Run } from "./run.ts";
import type { Job } from "./workflow.ts";

/** EC2 may not list a new instance for a while; absent this long from every look, it is gone. */
export const ABSENT_MS = 2 * 60_000;
/** What an instance that EC2 does not list may take to end after TerminateInstances. */
export const TERMINATE_MS = 60_000;
/** The machine gives itself 15 minutes to claim its order; after this much it never will. */
export const BOOT_MS = 17 * 60_000;
/** A launch without a definite answer is not repeated after this: EC2 forgets client tokens some time. */
export const ANSWER_MS = 60 * 60_000;
/** What preparing and the last upload may take on top of max_duration; the order carries the same. */
export const SETUP_MS = 30 * 60_000;
export const UPLOAD_MS = 60 * 60_000;
/** From SIGTERM to SIGKILL. */
export const GRACE_MS = 30_000;
/** A machine that was asked to end, or is past its deadline, is not waited for any longer than this. */
export const PATIENCE_MS = 10 * 60_000;
/** A machine that gave signs of life, and has given none for this long, hangs or has lost its network. */
export const SILENT_MS = 15 * 60_000;

/** The run with all that the look says of its attempts; the same object when that is nothing new. */
export function settle(run: Run, look: Look, facts: Facts): Run {
  let current = withCancel(run, look);
  const jobs = new Map(run.jobs.map((job) => [job.name, job]));
  const attempts: Attempt[] = [];
  for (const attempt of current.attempts) {
    const job = jobs.get(attempt.job);
    if (!job) throw new Error(`run ${run.id} has an attempt of unknown job "${attempt.job}"`);
    const refusal = refusalOf(attempt, look);
    if (refusal && isOpen(attempt)) current = withRefusal(current, attempt, refusal);
    else attempts.push(settleAttempt(attempt, { job, run: current, look, facts }));
  }
  const isSame =
    attempts.length === current.attempts.length &&
    attempts.every((attempt, index) => attempt === current.attempts[index]);
  return isSame ? current : { ...current, attempts };
}

/** The look, indexed. */
export type Facts = {
  /** By `orderKey`, and by id: somebody may have taken the tags away. */
  readonly instances: ReadonlyMap<string, Instance>;
  /** By `orderKey`. */
  readonly reports: ReadonlyMap<string, readonly Report[]>;
};

type Scene = {
  readonly job: Job;
  readonly run: Run;
  readonly look: Look;
  readonly facts: Facts;
};

export function factsOf(look: Look): Facts {
  const reports = new Map<string, Report[]>();
  for (const report of look.reports) {
    const key = orderKey(report.token, report.index);
    reports.set(key, [...(reports.get(key) ?? []), report]);
  }
  const instances = new Map<string, Instance>();
  for (const instance of look.instances) {
    instances.set(orderKey(instance.token, instance.index), instance);
    instances.set(instance.id, instance);
  }
  return { instances, reports };
}

/** The instance of an attempt, as EC2 lists it. */
export const instanceOf = (attempt: Attempt, { instances }: Facts): Instance | undefined =>
  instances.get(orderOf(attempt)) ?? (attempt.answer && instances.get(attempt.answer.instanceId));

function withCancel(run: Run, look: Look): Run {
  if (!look.cancel) return run;
  if (run.cancel && (run.cancel.now || !look.cancel.now)) return run;
  return { ...run, cancel: { at: run.cancel?.at ?? look.at, now: look.cancel.now } };
}

type Refused = Extract<Answer, { type: "refused" }>;

function refusalOf(attempt: Attempt, look: Look): Refused | undefined {
  const answer = attempt.answer ? undefined : look.answers.get(attempt.launch.token);
  return answer?.type === "refused" ? answer : undefined;
}

/** A refused launch is no attempt: it leaves a refusal behind and its number free. */
function withRefusal(run: Run, attempt: Attempt, answer: Refused): Run {
  const { instanceType, zone } = attempt.offer;
  const isSamePool = (each: Refusal) =>
    each.job === attempt.job && each.instanceType === instanceType && each.zone === zone;
  const earlier = run.refusals.find(isSamePool);
  const refusal: Refusal = {
    job: attempt.job,
    instanceType,
    zone,
    kind: answer.kind,
    code: answer.code,
    message: answer.message,
    size: answer.size,
    count: (earlier?.count ?? 0) + 1,
    firstAt: earlier?.firstAt ?? answer.at,
    lastAt: answer.at,
  };
  const refusals = [...run.refusals.filter((each) => !isSamePool(each)), refusal];
  if (answer.kind !== "refused") return { ...run, refusals };
  const reason = `EC2 will not launch ${instanceType} in ${zone}: ${answer.message}`;
  return {
    ...run,
    refusals,
    verdicts: [...run.verdicts, { job: attempt.job, at: answer.at, reason }],
  };
}

function settleAttempt(attempt: Attempt, scene: Scene): Attempt {
  if (attempt.goneAt !== undefined && !isOpen(attempt)) return withConsole(attempt, scene.look);
  const informed = withStop(withReports(withWorld(attempt, scene), scene), scene);
  const outcome = isOpen(informed) ? judge(informed, scene) : undefined;
  const judged = outcome ? { ...informed, outcome } : informed;
  return isGone(judged, scene) ? { ...judged, goneAt: scene.look.at } : judged;
}

function withConsole(attempt: Attempt, { consoles }: Look): Attempt {
  const kept = attempt.console ? undefined : consoles?.get(orderOf(attempt));
  return kept ? { ...attempt, console: kept } : attempt;
}

/** What EC2 and the claim say. */
function withWorld(attempt: Attempt, { look, facts }: Scene): Attempt {
  const place = orderOf(attempt);
  const instance = instanceOf(attempt, facts);
  const next = withClaim(withAnswer(attempt, instance, look), look.claims.get(place), look.at);
  if (!next.answer) return next;
  if (!instance) return next.missingSince === undefined ? { ...next, missingSince: look.at } : next;
  const { missingSince, ...seen } = next;
  const isNew = instance.state === "running" && seen.runningAt === undefined;
  if (isNew) return { ...seen, runningAt: look.at };
  return missingSince === undefined ? next : seen;
}

function withAnswer(attempt: Attempt, instance: Instance | undefined, look: Look): Attempt {
  if (attempt.answer) return attempt;
  const answer = look.answers.get(attempt.launch.token);
  const answeredId =
    answer?.type === "launched" ? answer.instanceIds[attempt.launch.index] : undefined;
  // A listed instance with our token is a definite answer too: the reply to the call was lost.
  const instanceId = instance?.id ?? answeredId;
  if (instanceId === undefined) return attempt;
  return { ...attempt, answer: { at: answer?.at ?? look.at, instanceId } };
}

function withClaim(attempt: Attempt, claim: "voided" | "claimed" | undefined, at: number): Attempt {
  if (!claim || attempt.claimedAt !== undefined || attempt.voidedAt !== undefined) return attempt;
  return claim === "voided" ? { ...attempt, voidedAt: at } : { ...attempt, claimedAt: at };
}

/** What the runner says. A report is a fact about work done, and outranks every other sign. */
function withReports(attempt: Attempt, { look, facts }: Scene): Attempt {
  const place = orderOf(attempt);
  const reports = facts.reports.get(place) ?? [];
  return reports.reduce((current, report) => withReport(current, report, look.at), attempt);
}

function withReport(attempt: Attempt, report: Report, at: number): Attempt {
  // It tells of its machine too, which the reply to the launch may not have.
  const answer = attempt.answer ?? { at, instanceId: report.instanceId };
  const claimed = { ...attempt, answer, claimedAt: attempt.claimedAt ?? at };
  switch (report.stage) {
    case "started":
      return attempt.started ? attempt : { ...claimed, started: { at, bootMs: report.bootMs } };
    case "ran":
      return attempt.ran ? attempt : { ...claimed, ran: { at, ...exitOf(report) } };
    case "finished":
      if (attempt.finished || !isOpen(attempt)) return attempt;
      return {
        ...claimed,
        ran: attempt.ran ?? { at, ...exitOf(report) },
        finished: {
          at,
          phases: report.phases,
          artifacts: report.artifacts,
          notes: report.notes,
          logLines: report.logLines,
        },
        outcome: { ...endingOfReport(attempt, report), at },
      };
  }
}

/** The runner knows that it was asked to stop, and not why. */
function endingOfReport(
  { stop }: Attempt,
  { outcome, reason }: Extract<Report, { stage: "finished" }>,
): Ending {
  if (outcome !== "cancelled" || stop?.reason !== "budget") return { type: outcome, reason };
  return { type: "failed", reason: `stopped: ${stop.detail ?? "a budget is spent"}` };
}

const exitOf = (report: {
  exitCode?: number | undefined;
  signal?: string | undefined;
}): { exitCode?: number; signal?: string } => ({
  ...(report.exitCode === undefined ? {} : { exitCode: report.exitCode }),
  ...(report.signal === undefined ? {} : { signal: report.signal }),
});

function withStop(attempt: Attempt, { run, job, look }: Scene): Attempt {
  if (!isOpen(attempt)) return attempt;
  if (run.cancel && (!attempt.stop || (run.cancel.now && !attempt.stop.now))) {
    const at = attempt.stop?.at ?? look.at;
    return { ...attempt, stop: { at, reason: "cancelled", now: run.cancel.now } };
  }
  const { limits, at, todayUsd = 0 } = look;
  const detail = overspent(run, { limits, spending: { todayUsd }, at });
  if (!attempt.stop && detail !== undefined) {
    return { ...attempt, stop: { at, reason: "budget", now: false, detail } };
  }
  const quietSince = look.quietSince?.get(orderOf(attempt));
  if (!attempt.stop && quietSince !== undefined && at - quietSince > SILENT_MS) {
    return { ...attempt, stop: { at, reason: "silent", now: true } };
  }
  if (attempt.stop || !isOverdue(attempt, job, look.at)) return attempt;
  return { ...attempt, stop: { at: look.at, reason: "deadline", now: true } };
}

/** Past all that its order allows. The machine powers itself off before this; it must be stuck. */
export function isOverdue(attempt: Attempt, job: Job, at: number): boolean {
  if (attempt.claimedAt === undefined) return false;
  const allowedMs = SETUP_MS + job.resources.maxDurationMs + UPLOAD_MS + PATIENCE_MS;
  return at - attempt.claimedAt > allowedMs;
}

/** What becomes of an open attempt; undefined while it goes on, or while its claim is undecided. */
function judge(attempt: Attempt, scene: Scene): Outcome | undefined {
  const ending = endingOf(attempt, scene);
  if (!ending) return undefined;
  const isDecided = attempt.claimedAt !== undefined || attempt.voidedAt !== undefined;
  return isDecided ? { ...ending, at: scene.look.at } : undefined;
}

/** True of an attempt that should end but may yet start: the daemon must take its claim first. */
export function wantsVoid(attempt: Attempt, run: Run, look: Look, facts: Facts): boolean {
  if (!isOpen(attempt) || attempt.claimedAt !== undefined || attempt.voidedAt !== undefined) {
    return false;
  }
  const job = run.jobs.find((each) => each.name === attempt.job);
  return job !== undefined && endingOf(attempt, { job, run, look, facts }) !== undefined;
}

type Ending = Omit<Outcome, "at">;

function endingOf(attempt: Attempt, { job, look, facts }: Scene): Ending | undefined {
  const instance = instanceOf(attempt, facts);
  if (attempt.stop) return endingByStop(attempt, instance, job, look.at);
  if (instance?.state === "stopped") {
    return { type: "cancelled", reason: `somebody stopped its instance ${instance.id}` };
  }
  if (instance && !isAlive(instance)) {
    return isOverdue(attempt, job, look.at)
      ? { type: "timed-out", reason: "ended without a report, long after its max_duration" }
      : endingByDeath(attempt, instance);
  }
  if (isAbsent(attempt, look)) {
    return { type: "lost", reason: "EC2 no longer knows its instance" };
  }
  if (attempt.claimedAt !== undefined) return undefined;
  return endingBeforeStart(attempt, look.at);
}

function endingByStop(
  attempt: Attempt,
  instance: Instance | undefined,
  job: Job,
  at: number,
): Ending | undefined {
  const stop = attempt.stop;
  if (!stop) return undefined;
  const isDead = instance !== undefined && !isAlive(instance);
  const isUnstarted = attempt.claimedAt === undefined;
  const isPatienceOver = at - stop.at > GRACE_MS + PATIENCE_MS;
  if (!stop.now && !isDead && !isUnstarted && !isPatienceOver) return undefined;
  if (stop.reason === "deadline") {
    const minutes = Math.round(job.resources.maxDurationMs / 60_000);
    return {
      type: "timed-out",
      reason: `still busy long after its max_duration of ${minutes} min`,
    };
  }
  if (stop.reason === "budget") {
    return { type: "failed", reason: `stopped: ${stop.detail ?? "a budget is spent"}` };
  }
  if (stop.reason === "silent") {
    const minutes = Math.round(SILENT_MS / 60_000);
    return { type: "lost", reason: `no sign of life from its machine for ${minutes} minutes` };
  }
  if (isUnstarted) return { type: "cancelled", reason: "cancelled before it began" };
  const isWhole = !stop.now && !isPatienceOver;
  return {
    type: "cancelled",
    reason: isWhole ? "cancelled" : "cancelled; what was not yet synced is gone",
  };
}

function endingByDeath(attempt: Attempt, instance: Instance): Ending {
  const reason = instance.stateReason;
  if (reason.startsWith("Client.UserInitiatedShutdown")) {
    return { type: "cancelled", reason: `somebody terminated its instance ${instance.id}` };
  }
  if (reason.startsWith("Client.InstanceInitiatedShutdown")) {
    return { type: "lost", reason: "its machine powered off without a report" };
  }
  // A launch that EC2 accepted and then took back for something of ours: a volume limit, a key.
  if (reason.startsWith("Client.") && !attempt.started) {
    return { type: "failed", reason: `EC2 ended its instance before it began: ${reason}` };
  }
  return { type: "lost", reason: `its instance was lost${reason ? `: ${reason}` : ""}` };
}

function endingBeforeStart(attempt: Attempt, at: number): Ending | undefined {
  if (attempt.answer && at - attempt.answer.at > BOOT_MS) {
    const minutes = Math.round(BOOT_MS / 60_000);
    return { type: "lost", reason: `no sign of life from its machine within ${minutes} minutes` };
  }
  if (!attempt.answer && at - attempt.plannedAt > ANSWER_MS) {
    return { type: "lost", reason: "EC2 gave no definite answer to its launch for an hour" };
  }
  return undefined;
}

function isGone(attempt: Attempt, { look, facts }: Scene): boolean {
  if (!attempt.outcome) return false;
  const instance = instanceOf(attempt, facts);
  if (instance) return !isAlive(instance);
  // A voided order does no work whenever its machine comes; one that does comes to power off.
  if (attempt.voidedAt !== undefined) return true;
  if (refusalOf(attempt, look)) return true;
  // Absent is believed only some time after it was asked to terminate, listed or not.
  const isTold = unlistedMs(attempt.outcome.at, look) >= TERMINATE_MS;
  return isAbsent(attempt, look) && isTold;
}

/** Absent from every look for so long that EC2 knows it no more. */
const isAbsent = ({ missingSince }: Attempt, look: Look): boolean =>
  missingSince !== undefined && unlistedMs(missingSince, look) > ABSENT_MS;

/**
 * How long we have looked since then, until EC2 was asked for the list. A clock that was set, or a host that stood still,
 * makes no time go by in which we looked.
 */
const unlistedMs = (since: number, { at, listedAt = at, watchedSince = 0 }: Look): number =>
  listedAt - Math.max(since, watchedSince);
