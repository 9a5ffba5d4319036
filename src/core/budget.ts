/**
 * Budgets: what a run may cost, and what all runs may cost in a day (UTC). A budget that is used up stops
 * what goes on, gently, as a cancel does; one that another machine would overdraw holds it back. So more than a budget
 * is spent only while jobs that were told to stop bring their artifacts home.
 */
import { costOfRun, DAY_MS, dayOf, leastUsd } from "./cost.ts";
import type { Limits } from "./limits.ts";
import { type Attempt, isLiving, type Run } from "./run.ts";

export type Spending = {
  /** What all runs have cost today. */
  readonly todayUsd: number;
};

/** The reason why everything of the run has to stop now; undefined while there is money left. */
export function overspent(
  run: Run,
  { limits, spending, at }: { limits: Limits; spending: Spending; at: number },
): string | undefined {
  const { runUsdMax, dayUsdMax } = limits;
  const spentUsd = runUsdMax === undefined ? 0 : costOfRun(run, at);
  if (runUsdMax !== undefined && spentUsd >= runUsdMax) {
    return `the run has cost $${spentUsd.toFixed(2)}, and its budget (runUsdMax) is $${runUsdMax}`;
  }
  if (dayUsdMax !== undefined && spending.todayUsd >= dayUsdMax) {
    return `all runs have cost $${spending.todayUsd.toFixed(2)} today, and the budget of a day (dayUsdMax) is $${dayUsdMax}`;
  }
  return undefined;
}

export type Room = { readonly dayUsd?: number | undefined };

export type Affordable =
  | { readonly type: "yes" }
  | { readonly type: "later"; readonly detail: string; readonly nextLookAt?: number }
  /** Waiting mends nothing. */
  | { readonly type: "never"; readonly reason: string };

/** Whether another attempt may begin: its first minute has to be within what is left, beside that of those under way. */
export function affordable(
  next: Pick<Attempt, "offer" | "diskHourlyUsd">,
  run: Run,
  { limits, room, at }: { limits: Limits; room: Room; at: number },
): Affordable {
  const { runUsdMax, dayUsdMax } = limits;
  const nextUsd = leastUsd(next);
  if (runUsdMax !== undefined && committedUsd(run, at) + nextUsd > runUsdMax) {
    const told = `the run's budget (runUsdMax) of $${runUsdMax}, of which $${costOfRun(run, at).toFixed(2)} are spent`;
    // What is under way may yet turn out to cost less: a launch that is refused costs nothing.
    return run.attempts.some(isLiving)
      ? { type: "later", detail: `another machine may exceed ${told}` }
      : {
          type: "never",
          reason: `another machine would exceed ${told}; raise it, or ask for less`,
        };
  }
  if (dayUsdMax === undefined) return { type: "yes" };
  if (nextUsd > dayUsdMax) {
    return {
      type: "never",
      reason: `a minute of ${next.offer.instanceType} exceeds the budget of a day (dayUsdMax) of $${dayUsdMax}`,
    };
  }
  if (nextUsd <= (room.dayUsd ?? dayUsdMax)) return { type: "yes" };
  const detail = `another machine would exceed the budget of a day (dayUsdMax) of $${dayUsdMax}; it goes on at midnight UTC`;
  return { type: "later", detail, nextLookAt: dayOf(at) + DAY_MS };
}

/** What it has cost, and the first minute of those that are not billed yet. */
export const committedUsd = (run: Run, at: number): number =>
  costOfRun(run, at) + pendingUsd(run.attempts);

/** The first minute of attempts that may be billed for it and are not yet. */
export const pendingUsd = (attempts: readonly Attempt[]): number =>
  attempts
    .filter((attempt) => isLiving(attempt) && !(attempt.runningAt ?? attempt.started))
    .reduce((sum, attempt) => sum + leastUsd(attempt), 0);
