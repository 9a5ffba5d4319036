/** What an attempt has cost: its machine by the second from running, its disk by the second from EC2's yes, a minute of each at least. */
import type { Attempt, Run } from "./run.ts";

/** EC2 bills each instance for a minute at least, and EBS each volume. */
export const BILLED_MS_MIN = 60_000;
const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** EBS counts a month as thirty days in its examples of prorating. */
export const MONTH_HOURS = 30 * 24;

/** US dollars until `at`, or until its machine was gone. Nothing before EC2 said yes; pending costs its disk alone. */
export const costUsd = (attempt: Attempt, at: number): number =>
  costUntil(attempt, attempt.goneAt ?? at);

function costUntil(attempt: Attempt, until: number): number {
  const { offer, answer, runningAt, started, diskHourlyUsd = 0 } = attempt;
  const machine = billedMs(runningAt ?? started?.at, until) * offer.hourlyUsd;
  return (machine + billedMs(answer?.at, until) * diskHourlyUsd) / HOUR_MS;
}

const billedMs = (begin: number | undefined, until: number): number =>
  begin === undefined || until < begin ? 0 : Math.max(BILLED_MS_MIN, until - begin);

/** When the day of `at` began, in UTC. */
export const dayOf = (at: number): number => Math.floor(at / DAY_MS) * DAY_MS;

/** What a run has cost in the day of `at`, until then. What is billed for a minute at once falls on the day it began. */
export function costOfDay(run: Run, at: number): number {
  const day = dayOf(at);
  return run.attempts.reduce((sum, attempt) => {
    const until = Math.min(at, attempt.goneAt ?? at);
    // To the last millisecond of the day before: what begins with the day is of the day.
    const before = costUntil(attempt, Math.min(day - 1, until));
    return sum + costUntil(attempt, until) - before;
  }, 0);
}

export const costOfRun = (run: Run, at: number): number =>
  run.attempts.reduce((sum, attempt) => sum + costUsd(attempt, at), 0);

/** The least that an attempt costs once it is launched. */
export const leastUsd = ({ offer, diskHourlyUsd = 0 }: Pick<Attempt, "offer" | "diskHourlyUsd">) =>
  ((offer.hourlyUsd + diskHourlyUsd) * BILLED_MS_MIN) / HOUR_MS;
