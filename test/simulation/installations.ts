/** What differs between installations: what the operator allows, what the account allows, and the time of day. */
import { DAY_MS, dayOf } from "../../src/core/cost.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { Catalog } from "../../src/core/offers.ts";
import type { Quotas } from "../../src/core/quotas.ts";
import { HOUR, MINUTE, makeCatalog, makeType } from "../support/make.ts";
import type { Random } from "./random.ts";

export type Installation = {
  readonly startMs: number;
  readonly limits: Limits;
  /** What EC2 enforces; what Errand knows of it is in its limits. */
  readonly quotas: Quotas;
  /** How long EC2 counts the vCPUs of a machine that has ended. */
  readonly quotaReleaseMs: number;
};

export const INSTALLATION: Installation = {
  startMs: Date.UTC(2026, 10, 23, 21, 15, 30),
  limits: { ...DEFAULT_LIMITS, instancesMax: 4, hourlyUsdMax: 0.6, maxWaitMs: 6 * HOUR },
  quotas: {},
  quotaReleaseMs: 0,
};

export function drawInstallation(random: Random): Installation {
  const hasDayBudget = random.chance(0.15);
  const quotas = random.chance(0.25) ? { standard: random.between(4, 8), x: 4 } : {};
  const limits = {
    ...INSTALLATION.limits,
    instancesMax: random.chance(0.6) ? 4 : random.between(1, 3),
    hourlyUsdMax: random.chance(0.7) ? 0.6 : 0.45,
    vcpusMax: random.chance(0.7) ? quotas : undefined,
    runUsdMax: random.chance(0.2) ? drawRunUsdMax(random) : undefined,
    dayUsdMax: hasDayBudget ? random.between(10, 100) / 1_000 : undefined,
  };
  const { startMs } = INSTALLATION;
  return {
    limits,
    quotas,
    quotaReleaseMs: random.between(0, 10 * MINUTE),
    // The day ends soon where it has a budget: waiting for its end is dull.
    startMs: hasDayBudget ? dayOf(startMs) + DAY_MS - random.between(5, 40) * MINUTE : startMs,
  };
}

/** Of some runs the whole of them, of some the first minutes of a few machines. */
const drawRunUsdMax = (random: Random): number =>
  random.between(4, random.chance(0.4) ? 10 : 60) / 1_000;

/** Two sizes of one family, the same size of another, and one of another quota; disks cost money. */
export const CATALOG: Catalog = makeCatalog({
  types: [
    makeType(),
    makeType({ name: "m7i.xlarge", vcpus: 4, memoryMib: 16_384, hourlyUsd: 0.2 }),
    makeType({ name: "r7i.large", memoryMib: 16_384, hourlyUsd: 0.13 }),
    makeType({ name: "x2iedn.xlarge", vcpus: 4, memoryMib: 131_072, hourlyUsd: 0.4 }),
  ],
  diskGibMonthUsd: 0.08,
});
