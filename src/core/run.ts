/**
 * The record of a run: what we mean to do, and what became of what we did.
 *
 * It holds facts only. States, progress, cost and what to do next are computed from it, so they
 * cannot disagree with it. Times are milliseconds since 1970, by the daemon's clock unless said.
 */
import { z } from "zod";
import { jobSchema } from "./workflow.ts";

const time = z.number().int().nonnegative();

export const offerSchema = z.strictObject({
  instanceType: z.string(),
  zone: z.string(),
  subnetId: z.string(),
  hourlyUsd: z.number().nonnegative(),
  vcpus: z.number().int().positive(),
  memoryMib: z.number().int().positive(),
  gpus: z.number().int().nonnegative(),
});

/** Milliseconds, by the runner's clock. A phase it did not reach is absent. */
export const runnerPhasesSchema = z.object({
  inputs: z.number().nonnegative().optional(),
  setup: z.number().nonnegative().optional(),
  run: z.number().nonnegative().optional(),
  upload: z.number().nonnegative().optional(),
});

/** What one declared artifact came to. */
export const artifactSetSchema = z.object({
  path: z.string(),
  bytes: z.number().int().nonnegative(),
  files: z.number().int().nonnegative(),
});

export const outcomeSchema = z.strictObject({
  type: z.enum(["succeeded", "failed", "timed-out", "cancelled", "lost"]),
  at: time,
  /** One line that a user understands; empty for a success. */
  reason: z.string(),
});
export type Outcome = z.infer<typeof outcomeSchema>;

export const attemptSchema = z.strictObject({
  job: z.string(),
  /** From 1. A refused launch is no attempt: its number is used again. */
  number: z.number().int().positive(),
  offer: offerSchema,
  plannedAt: time,
  /** Of its disk, US dollars; absent where no price was known. */
  diskHourlyUsd: z.number().nonnegative().optional(),
  /** The day of its prices, YYYY-MM-DD, as the catalog had it. */
  pricedOn: z.string().optional(),
  /** The launch and our place in it; the order is `launches/<token>/<index>.json`. */
  launch: z.strictObject({ token: z.string(), index: z.number().int().nonnegative() }),
  /** EC2's definite yes. `already-launched` is one, whose instance is looked up. */
  answer: z.strictObject({ at: time, instanceId: z.string() }).optional(),
  /** The first look that saw the instance running. */
  runningAt: time.optional(),
  /** Since when an answered instance has been absent from every look. */
  missingSince: time.optional(),
  /** The runner holds the claim: seen by its report, or by a void that lost. */
  claimedAt: time.optional(),
  /** The daemon holds the claim: the order will never be carried out. */
  voidedAt: time.optional(),
  started: z.strictObject({ at: time, bootMs: z.number().nonnegative() }).optional(),
  ran: z
    .strictObject({
      at: time,
      exitCode: z.number().int().optional(),
      signal: z.string().optional(),
    })
    .optional(),
  finished: z
    .strictObject({
      at: time,
      phases: runnerPhasesSchema,
      artifacts: z.array(artifactSetSchema),
      /** What the user should know and did not ask for: another Python, an input overwritten. */
      notes: z.array(z.string()),
      logLines: z.number().int().nonnegative(),
    })
    .optional(),
  /** We asked it to end. Gentle first: the stop object; `now` terminates at once. */
  stop: z
    .strictObject({
      at: time,
      reason: z.enum(["cancelled", "deadline", "budget", "silent"]),
      now: z.boolean(),
      /** Of a budget: which, and what was spent. */
      detail: z.string().optional(),
    })
    .optional(),
  /** What became of the work. */
  outcome: outcomeSchema.optional(),
  /** What its machine said at its boot is kept at `console.txt`; 0 bytes are none to be had. */
  console: z.strictObject({ at: time, bytes: z.number().int().nonnegative() }).optional(),
  /** The machine is gone for certain: terminated, its launch refused, or its order voided. */
  goneAt: time.optional(),
});
export type Attempt = z.infer<typeof attemptSchema>;

/** Launches that EC2 turned down, summed up per job, type and zone. */
export const refusalSchema = z.strictObject({
  job: z.string(),
  instanceType: z.string(),
  zone: z.string(),
  kind: z.enum(["no-capacity", "quota", "refused"]),
  code: z.string(),
  message: z.string(),
  /** How many instances the last one asked for: above one, the next asks for half. */
  size: z.number().int().positive(),
  count: z.number().int().positive(),
  firstAt: time,
  lastAt: time,
});
export type Refusal = z.infer<typeof refusalSchema>;

/** A job ended by a decision and not by an attempt: nothing fits, EC2 will never accept it, it waited too long. */
export const verdictSchema = z.strictObject({ job: z.string(), at: time, reason: z.string() });

export const runSchema = z.strictObject({
  format: z.literal(1),
  /** `YYYYMMDD-HHMMSS-xxxxxx`: sorts by time. */
  id: z.string(),
  /** Readable, as "brave-otter-42". */
  name: z.string(),
  createdAt: time,
  /** What was dropped: a second event of the same drop meets the same record. */
  drop: z.strictObject({ key: z.string(), etag: z.string() }),
  bundle: z.strictObject({ key: z.string(), bytes: z.number().int().nonnegative() }),
  /** As asked for; those they depend on are in `jobs`. */
  workflows: z.array(z.string()),
  /** Put on the artifact sets of the requested workflows when the run succeeds. */
  tag: z.string().optional(),
  /** Frozen at intake: editing the bundle never changes a run. */
  jobs: z.array(jobSchema),
  warnings: z.array(z.string()),
  /** Why the drop never became jobs, one line each; then the run has failed. */
  rejected: z.array(z.string()).optional(),
  cancel: z.strictObject({ at: time, now: z.boolean() }).optional(),
  /** Every try of every job, oldest first. */
  attempts: z.array(attemptSchema),
  refusals: z.array(refusalSchema),
  verdicts: z.array(verdictSchema),
  /** Retention has taken, or is taking, all but this record away. */
  pruned: z
    .strictObject({
      at: time,
      objects: z.number().int().nonnegative(),
      bytes: z.number().int().nonnegative(),
    })
    .optional(),
});
export type Run = z.infer<typeof runSchema>;

/** Its machine may still cost money. */
export const isLiving = (attempt: Attempt): boolean => attempt.goneAt === undefined;

/** What became of its work is not known yet. */
export const isOpen = (attempt: Attempt): boolean => attempt.outcome === undefined;

/** Its machine never told that it began: what that said at its boot is all there is to say why. */
export const wantsConsole = (attempt: Attempt): boolean =>
  attempt.goneAt !== undefined &&
  attempt.answer !== undefined &&
  !attempt.started &&
  !attempt.console &&
  (attempt.outcome?.type === "lost" || attempt.outcome?.type === "failed");

export const attemptsOf = (run: Run, job: string): readonly Attempt[] =>
  run.attempts.filter((attempt) => attempt.job === job);

/** The tries of each job, oldest first. */
export function triesByJob(run: Run): ReadonlyMap<string, readonly Attempt[]> {
  const tries = new Map<string, Attempt[]>(run.jobs.map((job) => [job.name, []]));
  for (const attempt of run.attempts) tries.get(attempt.job)?.push(attempt);
  return tries;
}
