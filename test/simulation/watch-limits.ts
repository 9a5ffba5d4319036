/**
 * What an operator allows, checked as each record is written: ceilings, quotas, budgets, and offers that rest. With an
 * arithmetic of its own: that of Errand is what is judged.
 */
import assert from "node:assert/strict";
import { key } from "../../src/core/layout.ts";
import { type Attempt, isLiving, type Run } from "../../src/core/run.ts";
import { CATALOG } from "./installations.ts";
import type { Machine } from "./machines.ts";
import type { World } from "./world.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A look is given up when it takes longer: what was listed that long before it was decided on is in it. */
const LOOK_MS_MAX = MINUTE;
/** Sums of prices, and seconds between two readings of one look. */
const RUN_SLACK_USD = 1e-6;
const DAY_SLACK_USD = 0.002;
const STOP_SLACK_USD = 0.02;

type Rest = { readonly until: number; readonly writtenAt: number };

export class LimitsWatch {
  readonly #world: World;
  readonly #runs: () => readonly Run[];
  /** By type and zone. */
  readonly #rests = new Map<string, Rest>();

  constructor(world: World, runs: () => readonly Run[]) {
    this.#world = world;
    this.#runs = runs;
  }

  recordWritten(run: Run, before: Run | undefined): void {
    const known = new Set(before?.attempts.map(placeOf));
    const opened = run.attempts.filter((attempt) => !known.has(placeOf(attempt)));
    this.#checkStops(run, before);
    if (opened.length === 0) return;
    for (const attempt of opened) this.#checkRest(attempt);
    this.#checkRunBudget(run, opened);
    // A save that arrives late arrives after another plan was made.
    if (this.#world.everLateSave) return;
    this.#checkCeilings(opened[0]?.plannedAt ?? 0);
    if (!this.#world.bucket.hadDamage) this.#checkDayBudget(opened);
  }

  /** An offer that is written down as at rest is left alone, whoever plans. */
  capacityWritten(body: string): void {
    const { rests } = JSON.parse(body) as { rests: Record<string, { until: number }> };
    const writtenAt = this.#world.timeline.now();
    for (const [offer, { until }] of Object.entries(rests)) {
      const known = this.#rests.get(offer);
      if (known?.until !== until) this.#rests.set(offer, { until, writtenAt });
    }
  }

  #checkRest({ job, offer, plannedAt }: Attempt): void {
    const rest = this.#rests.get(`${offer.instanceType}/${offer.zone}`);
    // A daemon whose clock was ahead has forgotten rests that were over by it, and a write that came late those that are newer.
    if (!rest || this.#world.everSkewed || this.#world.everLateRests) return;
    // One look's time: what was written since is news.
    const isKnown = this.#world.timeline.now() - rest.writtenAt > 2 * MINUTE;
    const isOver = plannedAt >= rest.until;
    assert(
      isOver || !isKnown,
      `${job} was given ${offer.instanceType}, which is at rest there until ${rest.until}`,
    );
  }

  #checkCeilings(plannedAt: number): void {
    const { instancesMax, hourlyUsdMax, vcpusMax = {} } = this.#world.limits;
    const { bucket } = this.#world;
    // Of a record that nobody can read Errand knows what EC2 lists.
    const known = this.#runs().filter(({ id }) => !bucket.wasDamaged(key.record(id)));
    const living = known.flatMap((run) => run.attempts.filter(isLiving));
    const strays = this.#strays(living, plannedAt);
    const told = `${living.length} attempts, and ${strays.length} machines of none`;
    assert(living.length + strays.length <= instancesMax, `${told}, live at once`);
    const hourlyUsd =
      living.reduce((sum, { offer }) => sum + offer.hourlyUsd, 0) +
      strays.reduce((sum, { launch }) => sum + priceOf(launch.input.instanceType), 0);
    assert(hourlyUsd <= hourlyUsdMax + 1e-9, `${told}, cost $${hourlyUsd} an hour`);
    for (const [group, letter] of [
      ["standard", /^[mr]/],
      ["x", /^x/],
    ] as const) {
      const vcpus = living
        .filter(({ offer }) => letter.test(offer.instanceType))
        .reduce((sum, { offer }) => sum + offer.vcpus, 0);
      assert(vcpus <= (vcpusMax[group] ?? 1e9), `${vcpus} vCPUs of ${group} at once`);
    }
  }

  /** Machines that the look must have seen, and that no living attempt speaks for. */
  #strays(living: readonly Attempt[], plannedAt: number): readonly Machine[] {
    // A clock that was set does not say when the look was.
    if (this.#world.everSkewed) return [];
    const places = new Set(living.map(placeOf));
    const seenBy = plannedAt - LOOK_MS_MAX;
    return this.#world
      .living()
      .filter(
        ({ visibleAt, hiddenUntil, launch, index }) =>
          Math.max(visibleAt, hiddenUntil) < seenBy && !places.has(`${launch.token}.${index}`),
      );
  }

  /** What is spent, and a minute of all that is under way, is within the budget when something new begins. */
  #checkRunBudget({ id, attempts }: Run, opened: readonly Attempt[]): void {
    const { runUsdMax } = this.#world.limits;
    if (runUsdMax === undefined) return;
    const at = opened[0]?.plannedAt ?? 0;
    const usd = attempts.reduce((sum, each) => sum + costOf(each, at) + pendingOf(each), 0);
    assert(usd <= runUsdMax + RUN_SLACK_USD, `${id} began what costs $${usd} of $${runUsdMax}`);
  }

  #checkDayBudget(opened: readonly Attempt[]): void {
    const { dayUsdMax } = this.#world.limits;
    // A clock that was set puts into one day what another has cost.
    if (dayUsdMax === undefined || this.#world.everSkewed) return;
    const usd = this.#todayUsd(opened[0]?.plannedAt ?? 0, pendingOf);
    assert(usd <= dayUsdMax + DAY_SLACK_USD, `began what costs $${usd} of $${dayUsdMax} today`);
  }

  /** What goes on although a budget is spent has been asked to stop, by the look after the one that saw it. */
  #checkStops(run: Run, before: Run | undefined): void {
    const { runUsdMax = 1e9, dayUsdMax = 1e9 } = this.#world.limits;
    // A clock that was set says of no record how old it is.
    if (this.#world.everSkewed) return;
    const isGoingOn = run.attempts.some((attempt) => !attempt.outcome && !attempt.stop);
    if (!isGoingOn || !before) return;
    const at = lastMoment(run);
    const usd = before.attempts.reduce((sum, each) => sum + costOf(each, at), 0);
    assert(usd <= runUsdMax + RUN_SLACK_USD, `${run.id} has cost $${usd}, and goes on`);
    if (this.#world.bucket.hadDamage || dayUsdMax === 1e9) return;
    const todayUsd = this.#todayUsd(at, () => 0);
    assert(todayUsd <= dayUsdMax + STOP_SLACK_USD, `$${todayUsd} today, and ${run.id} goes on`);
  }

  #todayUsd(at: number, more: (attempt: Attempt) => number): number {
    const day = Math.floor(at / DAY) * DAY;
    return this.#runs()
      .flatMap((run) => run.attempts)
      .reduce((sum, each) => {
        const before = costOf(each, Math.min(day - 1, each.goneAt ?? at));
        return sum + costOf(each, at) - before + more(each);
      }, 0);
  }
}

/** By the second, a minute at least: the machine from running, its disk from EC2's yes. */
function costOf(
  { offer, runningAt, started, answer, goneAt, diskHourlyUsd = 0 }: Attempt,
  at: number,
) {
  const until = Math.min(at, goneAt ?? at);
  const billed = (from: number | undefined): number =>
    from === undefined || from > until ? 0 : Math.max(MINUTE, until - from) / HOUR;
  return billed(runningAt ?? started?.at) * offer.hourlyUsd + billed(answer?.at) * diskHourlyUsd;
}

function pendingOf({ offer, runningAt, started, goneAt, diskHourlyUsd = 0 }: Attempt): number {
  if (goneAt !== undefined || runningAt !== undefined || started) return 0;
  return (offer.hourlyUsd + diskHourlyUsd) / 60;
}

/** The record was written no earlier. */
const lastMoment = ({ createdAt, attempts }: Run): number =>
  Math.max(
    createdAt,
    ...attempts.flatMap(({ plannedAt, runningAt, started, outcome, goneAt }) => [
      plannedAt,
      runningAt ?? 0,
      started?.at ?? 0,
      outcome?.at ?? 0,
      goneAt ?? 0,
    ]),
  );

const priceOf = (instanceType: string): number =>
  CATALOG.types.find(({ name }) => name === instanceType)?.hourlyUsd ?? 0;

const placeOf = ({ launch }: Attempt): string => `${launch.token}.${launch.index}`;
