/** The second half of a step: which jobs get an attempt now, and why the others do not. */
import { affordable, overspent } from "./budget.ts";
import { CAPACITY_REST_MS, type Capacity, restOf, restsOffer } from "./capacity.ts";
import { DAY_MS, dayOf, MONTH_HOURS } from "./cost.ts";
import {
  type Batches,
  diskGibOf,
  findImage,
  joinBatch,
  LAUNCH_SIZE_MAX,
  type Shape,
  shapeOf,
} from "./launches.ts";
import { type Limits, type Room, roomAfter } from "./limits.ts";
import { describeNearMisses } from "./near-misses.ts";
import type { Look } from "./observation.ts";
import {
  type Catalog,
  type Choice,
  type ChooseOptions,
  chooseOffers,
  type Offer,
} from "./offers.ts";
import { describeExcess, exceedsQuota, quotaHold } from "./quotas.ts";
import { type Attempt, attemptsOf, isLiving, type Refusal, type Run } from "./run.ts";
import { jobStates } from "./states.ts";
import type { Hold, JobState } from "./view.ts";
import type { Job, Resources } from "./workflow.ts";

/** Each further try of a job waits this much longer, up to ten times it. */
export const RETRY_PAUSE_MS = 10_000;
/** How long a job waits after EC2 said that a quota is full. */
export const QUOTA_REST_MS = 60_000;

/** A hold as this look sees it; since when is known to whoever saw the earlier looks. */
export type HoldNow = Pick<Hold, "job" | "reason" | "detail"> & { readonly nextLookAt?: number };

export type Plan = {
  readonly run: Run;
  readonly holds: readonly HoldNow[];
  /** What this run left of the look's room and added to its batches, for the runs after it. */
  readonly room: Room;
  readonly batches: Batches;
};

export function plan(run: Run, look: Look): Plan {
  if (run.cancel) return { run, holds: [], room: look.room, batches: look.batches };
  const states = jobStates(run);
  const choose = rememberChoices(look.limits);
  const opened: Attempt[] = [];
  const holds: HoldNow[] = [];
  const verdicts: Verdict[] = [];
  let { room, batches } = look;
  for (const job of run.jobs) {
    if (!isWaiting(states.get(job.name))) continue;
    const sofar = opened.length > 0 ? { ...run, attempts: [...run.attempts, ...opened] } : run;
    const next = nextAttempt(sofar, job, { states, choose, look: { ...look, room, batches } });
    if (next.type === "hold") holds.push({ job: job.name, ...next.hold });
    else if (next.type === "verdict") verdicts.push(verdictOf(job, next.reason, look));
    else {
      opened.push(next.attempt);
      room = roomAfter(room, [next.attempt]);
      batches = joinBatch(batches, next.shape).batches;
    }
  }
  if (opened.length + verdicts.length === 0) return { run, holds, room, batches };
  const planned = {
    ...run,
    attempts: [...run.attempts, ...opened],
    verdicts: [...run.verdicts, ...verdicts],
  };
  return { run: planned, holds, room, batches };
}

type Verdict = Run["verdicts"][number];

const isWaiting = (state: JobState | undefined): boolean => state === "waiting" || state === "lost";

const verdictOf = (job: Job, reason: string, look: Look): Verdict => ({
  job: job.name,
  at: look.at,
  reason,
});

type Next =
  | { readonly type: "attempt"; readonly attempt: Attempt; readonly shape: Shape }
  | { readonly type: "hold"; readonly hold: Omit<HoldNow, "job"> }
  | { readonly type: "verdict"; readonly reason: string };

function nextAttempt(
  run: Run,
  job: Job,
  { states, choose, look }: { states: ReadonlyMap<string, JobState>; choose: Choose; look: Look },
): Next {
  const unmet = job.needs.filter((need) => states.get(need) !== "succeeded");
  if (unmet.length > 0) {
    return { type: "hold", hold: { reason: "needs", detail: `waits for ${unmet.join(", ")}` } };
  }
  const tries = attemptsOf(run, job.name);
  const pause = pauseOf(tries, look.at);
  if (pause) return { type: "hold", hold: pause };

  if (!look.catalog) {
    const detail = "instance types and subnets could not be read yet";
    return { type: "hold", hold: { reason: "no-offer", detail } };
  }
  const spent = budgetGone(run, look);
  if (spent) return spent;
  const choice = choose(job.resources, look.catalog);
  const impossible = impossibility(job, choice, { catalog: look.catalog, limits: look.limits });
  if (impossible) return { type: "verdict", reason: impossible };

  // What the ceiling forbids for ever is no alternative to wait for.
  const quotas = look.limits.vcpusMax ?? {};
  const offers = choice.offers.filter(
    (offer) => offer.hourlyUsd <= look.limits.hourlyUsdMax && !exceedsQuota(offer, quotas),
  );
  const refusals = run.refusals.filter((refusal) => refusal.job === job.name);
  const usable = usableOffer(offers, tries, { refusals, look });
  if (!usable.offer) return waitForCapacity(refusals, usable.until, look);
  return open(job, usable.offer, { run, number: tries.length + 1, refusals, look });
}

/** The budget of a run that is used up stays so; that of a day comes back. */
function budgetGone(run: Run, look: Look): Next | undefined {
  const { limits, at, todayUsd = 0 } = look;
  const ofRun = overspent(run, {
    limits: { ...limits, dayUsdMax: undefined },
    spending: { todayUsd },
    at,
  });
  if (ofRun !== undefined) return { type: "verdict", reason: `${ofRun}; raise it to run the rest` };
  const ofDay = overspent(run, { limits, spending: { todayUsd }, at });
  if (ofDay === undefined) return undefined;
  const nextLookAt = dayOf(at) + DAY_MS;
  return { type: "hold", hold: { reason: "budget", detail: ofDay, nextLookAt } };
}

type Choose = (resources: Resources, catalog: Catalog) => Choice;

/** Jobs that ask for the same share one choice. */
function rememberChoices(options: ChooseOptions): Choose {
  const choices = new Map<string, Choice>();
  return (resources, catalog) => {
    const asked = JSON.stringify(resources);
    const choice = choices.get(asked) ?? chooseOffers(resources, catalog, options);
    choices.set(asked, choice);
    return choice;
  };
}

function pauseOf(tries: readonly Attempt[], at: number): Omit<HoldNow, "job"> | undefined {
  const last = tries.at(-1);
  if (!last) return undefined;
  if (isLiving(last)) {
    return { reason: "backing-off", detail: "its last machine is not gone yet" };
  }
  const resumesAt = (last.goneAt ?? 0) + RETRY_PAUSE_MS * Math.min(tries.length, 10);
  if (resumesAt <= at) return undefined;
  const detail = `try ${tries.length + 1} after ${last.outcome?.reason ?? "the last one"}`;
  return { reason: "backing-off", detail, nextLookAt: resumesAt };
}

/** What no waiting can mend, with the cure; undefined when there is something to wait for. */
function impossibility(
  job: Job,
  choice: Choice,
  { catalog, limits }: { catalog: Catalog; limits: Limits },
): string | undefined {
  const [best] = choice.offers;
  if (job.role !== undefined && !limits.jobRoles?.includes(job.role)) {
    return `the role "${job.role}" is not, or no more, one of the operator's jobRoles`;
  }
  if (!best) return describeNearMisses(choice);
  if (!findImage(job, best, catalog)) return describeNoImage(job, best, catalog);
  if (limits.instancesMax < 1) {
    return "instancesMax is 0; raise it in the configuration to let any job run";
  }
  const quotas = limits.vcpusMax ?? {};
  const within = choice.offers.filter((offer) => !exceedsQuota(offer, quotas));
  if (within.length === 0) {
    const most =
      "ask AWS for more (Service Quotas), raise vcpusMax in the configuration, or ask for less";
    return `${describeExcess(best, quotas)}; ${most}`;
  }
  const lowestUsd = Math.min(...within.map((offer) => offer.hourlyUsd));
  if (lowestUsd <= limits.hourlyUsdMax) return undefined;
  const price = `$${lowestUsd.toFixed(2)} an hour`;
  return `the cheapest fitting type costs ${price}, above hourlyUsdMax of $${limits.hourlyUsdMax}; raise hourlyUsdMax in the configuration, or ask for less`;
}

function describeNoImage({ resources }: Job, { gpus }: Offer, catalog: Catalog): string {
  const { image, arch } = resources;
  if (image === undefined) {
    const kind = `${arch}${gpus > 0 ? " with GPUs" : ""}`;
    return `no image for ${kind} is configured; set it under images`;
  }
  const named = catalog.images.find((each) => each.namedAs === image);
  return named
    ? `the image ${image} is for ${named.arch}, and the job asks for ${arch}; set resources.arch`
    : `there is no image ${image} in ${catalog.region} that this account may use; look at resources.image`;
}

type Usable = { readonly offer?: Offer; readonly until: number };

/** The first offer that is not at rest; after a lost machine, another zone is tried before the same. */
function usableOffer(
  offers: readonly Offer[],
  tries: readonly Attempt[],
  { refusals, look }: { refusals: readonly Refusal[]; look: Look },
): Usable {
  let until = Number.POSITIVE_INFINITY;
  const awake = offers.filter((offer) => {
    const restUntil = restUntilOf(offer, { refusals, capacity: look.capacity, at: look.at });
    if (restUntil !== undefined) until = Math.min(until, restUntil);
    return restUntil === undefined;
  });
  const first = awake[0];
  const last = tries.at(-1);
  const elsewhere =
    first && last?.outcome?.type === "lost"
      ? awake.find(
          (offer) => offer.instanceType === first.instanceType && offer.zone !== last.offer.zone,
        )
      : undefined;
  const offer = elsewhere ?? first;
  return offer ? { offer, until } : { until };
}

function restUntilOf(
  offer: Offer,
  { refusals, capacity, at }: { refusals: readonly Refusal[]; capacity: Capacity; at: number },
): number | undefined {
  const rest = restOf(capacity, offer, at);
  if (rest) return rest.until;
  // A quota is of the account: another zone will not help, and a dearer type would be a surprise.
  const quota = refusals.find((each) => each.kind === "quota" && each.size === 1);
  if (quota && quota.lastAt + QUOTA_REST_MS > at) return quota.lastAt + QUOTA_REST_MS;
  const refusal = refusals.find(
    (each) => each.instanceType === offer.instanceType && each.zone === offer.zone,
  );
  if (!refusal || !restsOffer(refusal)) return undefined;
  return refusal.lastAt + CAPACITY_REST_MS > at ? refusal.lastAt + CAPACITY_REST_MS : undefined;
}

function waitForCapacity(refusals: readonly Refusal[], until: number, look: Look): Next {
  const last = refusals.toSorted((a, b) => b.lastAt - a.lastAt)[0];
  const waitingSince = Math.min(look.at, ...refusals.map((refusal) => refusal.firstAt));
  const answers = refusals.reduce((sum, refusal) => sum + refusal.count, 0);
  const told = last
    ? `${last.instanceType} in ${last.zone}: ${last.code || last.message} (${answers} refusals so far)`
    : "every fitting type and zone was refused a moment ago";
  if (look.at - waitingSince > look.limits.maxWaitMs) {
    const hours = Math.round(look.limits.maxWaitMs / 360_000) / 10;
    return { type: "verdict", reason: `no instance to be had for ${hours} hours; last ${told}` };
  }
  const reason = last?.kind === "quota" ? "quota" : "no-capacity";
  return { type: "hold", hold: { reason, detail: told, nextLookAt: until } };
}

function diskHourlyUsdOf(job: Job, offer: Offer, catalog: Catalog | undefined): number {
  if (!catalog) return 0;
  const diskGib = diskGibOf(job, findImage(job, offer, catalog));
  return (diskGib * (catalog.diskGibMonthUsd ?? 0)) / MONTH_HOURS;
}

function open(
  job: Job,
  offer: Offer,
  {
    run,
    number,
    refusals,
    look,
  }: { run: Run; number: number; refusals: readonly Refusal[]; look: Look },
): Next {
  const { room, limits, at } = look;
  if (room.instances < 1) {
    const detail = `instancesMax of ${limits.instancesMax} is reached`;
    return { type: "hold", hold: { reason: "ceiling", detail } };
  }
  // Sums of prices are not exact: the last cent of a ceiling may be used.
  if (room.hourlyUsd + 1e-9 < offer.hourlyUsd) {
    const detail = `${offer.instanceType} at $${offer.hourlyUsd} an hour would exceed hourlyUsdMax of $${limits.hourlyUsdMax}`;
    return { type: "hold", hold: { reason: "ceiling", detail } };
  }
  const quota = quotaHold(offer, limits.vcpusMax ?? {}, room.vcpusInUse ?? {});
  // As when EC2 says it: another zone does not help, and a dearer type would be a surprise.
  if (quota !== undefined) return { type: "hold", hold: { reason: "quota", detail: quota } };
  const diskHourlyUsd = diskHourlyUsdOf(job, offer, look.catalog);
  const money = affordable({ offer, diskHourlyUsd }, run, look);
  if (money.type === "never") return { type: "verdict", reason: money.reason };
  if (money.type === "later") {
    const { type: _, ...hold } = money;
    return { type: "hold", hold: { reason: "budget", ...hold } };
  }
  const shape = shapeOf(job, offer, sizeMaxOf(offer, refusals));
  const { launch } = joinBatch(look.batches, shape);
  const attempt = {
    ...{ job: job.name, number, offer, plannedAt: at, diskHourlyUsd, launch },
    ...(look.catalog && { pricedOn: look.catalog.pricedOn }),
  };
  return { type: "attempt", attempt, shape };
}

/** A launch of many that found no capacity, or no room in a quota, is tried again with half as many. */
function sizeMaxOf(offer: Offer, refusals: readonly Refusal[]): number {
  const refusal = refusals.find(
    (each) => each.instanceType === offer.instanceType && each.zone === offer.zone,
  );
  return refusal ? Math.max(1, Math.floor(refusal.size / 2)) : LAUNCH_SIZE_MAX;
}
