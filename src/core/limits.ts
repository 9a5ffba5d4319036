/** Ceilings: what an operator allows Errand to rent at once, and how long things may take. */
import { type Instance, isAlive, orderKey, orderOf } from "./observation.ts";
import { type Attempt, isLiving } from "./run.ts";

export type Limits = {
  readonly instancesMax: number;
  readonly hourlyUsdMax: number;
  /** The longest a job may ask to run. */
  readonly maxDurationMs: number;
  /** How long a job may wait for capacity or quota before it fails. */
  readonly maxWaitMs: number;
  readonly jobsMax: number;
  readonly offerBandPercent: number;
};

export const DEFAULT_LIMITS: Limits = {
  instancesMax: 20,
  hourlyUsdMax: 20,
  maxDurationMs: 24 * 60 * 60_000,
  maxWaitMs: 24 * 60 * 60_000,
  jobsMax: 1_000,
  offerBandPercent: 2,
};

/** How much more may be rented before a ceiling is reached. */
export type Room = { readonly instances: number; readonly hourlyUsd: number };

/** What is left of `room` once `attempts` have machines. */
export function roomAfter(room: Room, attempts: readonly Attempt[]): Room {
  return {
    instances: room.instances - attempts.length,
    hourlyUsd: attempts.reduce((left, attempt) => left - attempt.offer.hourlyUsd, room.hourlyUsd),
  };
}

/** What the ceilings leave: attempts whose machine may live count, and living machines that belong to none of them. */
export function roomLeft(
  limits: Limits,
  attempts: readonly Attempt[],
  instances: readonly Instance[],
): Room {
  const living = attempts.filter(isLiving);
  const known = new Set(living.map(orderOf));
  const strays = instances.filter(
    (each) => isAlive(each) && !known.has(orderKey(each.token, each.index)),
  );
  const room = { instances: limits.instancesMax, hourlyUsd: limits.hourlyUsdMax };
  const left = roomAfter(room, living);
  return { ...left, instances: left.instances - strays.length };
}
