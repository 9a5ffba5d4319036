/** Ceilings: what an operator allows Errand to rent at once, and how long things may take. */
import { pendingUsd } from "./budget.ts";
import { type Instance, isAlive, orderKey, orderOf } from "./observation.ts";
import type { Catalog } from "./offers.ts";
import { type Quotas, type VcpusInUse, withVcpus } from "./quotas.ts";
import { type Attempt, isLiving } from "./run.ts";

export type Limits = {
  readonly instancesMax: number;
  readonly hourlyUsdMax: number;
  /** The account's vCPU quotas, as far as they are known. */
  readonly vcpusMax?: Quotas | undefined;
  /** What a run may cost in all; undefined for no budget. */
  readonly runUsdMax?: number | undefined;
  /** What all runs may cost in a day (UTC). */
  readonly dayUsdMax?: number | undefined;
  /** The longest a job may ask to run. */
  readonly maxDurationMs: number;
  /** How long a job may wait for capacity or quota before it fails. */
  readonly maxWaitMs: number;
  readonly jobsMax: number;
  readonly offerBandPercent: number;
  /** Names of roles that jobs may have; undefined where nobody knows. */
  readonly jobRoles?: readonly string[] | undefined;
};

export const DEFAULT_LIMITS: Limits = {
  instancesMax: 20,
  hourlyUsdMax: 20,
  maxDurationMs: 24 * 60 * 60_000,
  maxWaitMs: 24 * 60 * 60_000,
  jobsMax: 1_000,
  offerBandPercent: 2,
};

/** What the operator says of a quota goes before what the account says. */
export const withQuotas = (limits: Limits, quotas: Quotas): Limits => ({
  ...limits,
  vcpusMax: { ...quotas, ...limits.vcpusMax },
});

/** How much more may be rented before a ceiling is reached. */
export type Room = {
  readonly instances: number;
  readonly hourlyUsd: number;
  /** Of the day's budget, beside the first minute of all that is under way; undefined where there is none. */
  readonly dayUsd?: number | undefined;
  /** vCPUs that count against quotas already. */
  readonly vcpusInUse?: VcpusInUse;
};

/** What is left of `room` once `attempts` have machines. */
export function roomAfter(room: Room, attempts: readonly Attempt[]): Room {
  return {
    instances: room.instances - attempts.length,
    hourlyUsd: attempts.reduce((left, attempt) => left - attempt.offer.hourlyUsd, room.hourlyUsd),
    vcpusInUse: withVcpus(
      room.vcpusInUse ?? {},
      attempts.map(({ offer }) => offer),
    ),
    dayUsd: room.dayUsd === undefined ? undefined : room.dayUsd - pendingUsd(attempts),
  };
}

type Known = {
  /** What all runs have cost today. */
  readonly todayUsd?: number;
  /** Types of the catalog, for the price and the vCPUs of machines that no attempt knows. */
  readonly types?: Catalog["types"];
};

/** What the ceilings leave: attempts whose machine may live count, and living machines that belong to none of them. */
export function roomLeft(
  limits: Limits,
  attempts: readonly Attempt[],
  instances: readonly Instance[],
  { todayUsd = 0, types = [] }: Known = {},
): Room {
  const living = attempts.filter(isLiving);
  const known = new Set(living.map(orderOf));
  const strays = instances.filter(
    (each) => isAlive(each) && !known.has(orderKey(each.token, each.index)),
  );
  const { instancesMax, hourlyUsdMax, dayUsdMax } = limits;
  const dayUsd = dayUsdMax === undefined ? undefined : dayUsdMax - todayUsd;
  const room = { instances: instancesMax, hourlyUsd: hourlyUsdMax, dayUsd };
  const typeOf = new Map(types.map((type) => [type.name, type]));
  const strayVcpus = strays.flatMap(({ instanceType, state }) =>
    // EC2 counts what runs or is about to.
    state === "running" || state === "pending"
      ? [{ instanceType, vcpus: typeOf.get(instanceType)?.vcpus ?? 0 }]
      : [],
  );
  const left = roomAfter({ ...room, vcpusInUse: withVcpus({}, strayVcpus) }, living);
  const strayUsd = strays.map(({ instanceType }) => typeOf.get(instanceType)?.hourlyUsd ?? 0);
  return {
    ...left,
    instances: left.instances - strays.length,
    hourlyUsd: strayUsd.reduce((sum, usd) => sum - usd, left.hourlyUsd),
  };
}
