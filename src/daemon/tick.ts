/**
 * One turn of the loop: look at the world, decide, write the decision down, act on it.
 *
 * Three orders carry the proof that work is done once and nothing is left running; each is said
 * below where it happens.
 */
import type { Capacity } from "../core/capacity.ts";
import {
  type Batches,
  type LaunchSettings,
  type Member,
  makeLaunch,
  makeOrder,
} from "../core/launches.ts";
import { key } from "../core/layout.ts";
import { type Limits, roomLeft, withQuotas } from "../core/limits.ts";
import { type Instance, isAlive, type Look, orderOf, type Report } from "../core/observation.ts";
import type { Catalog } from "../core/offers.ts";
import { isLiving, type Run, wantsConsole } from "../core/run.ts";
import { isFinished, runState } from "../core/states.ts";
import { type Step, step } from "../core/step.ts";
import type { Hold } from "../core/view.ts";
import { CloudError, describeError, isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Cloud, Store } from "../ports.ts";
import type { Actor } from "./acts.ts";
import { type Inbox, readInbox, removeAbsorbed } from "./inbox.ts";
import { noteSpent, readSpent } from "./ledger.ts";
import type { Looked } from "./meter.ts";
import type { Pulse } from "./pulse.ts";
import { type OpenRuns, readOpenRuns, type SavedRun, saveRun } from "./records.ts";
import type { StatusWriter } from "./status.ts";
import { tagRun } from "./tags.ts";

export type Planner = {
  readonly cloud: Cloud;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly settings: LaunchSettings;
  readonly actor: Actor;
  readonly status: StatusWriter;
  readonly pulse: Pulse;
  readonly capacity: () => Capacity;
  /** A fresh random launch token, well under 64 characters. */
  readonly newToken: () => string;
  /** Records that were told of as unreadable. */
  readonly told: Set<string>;
  /** The looks so far, and how often there is one. */
  readonly looks: Looks;
  readonly pollMs: number;
  /** True while this daemon may plan: between the look and the save it may have lost its lease. */
  readonly mayPlan: () => boolean;
};

/** Begins as `{ since: new Map(), lastAt: 0, saved: [] }`. */
export type Looks = {
  /** Of each run, the first of those that follow each other without a gap and could read its record. */
  since: ReadonlyMap<string, number>;
  lastAt: number;
  /** The records that the last one read. */
  saved: readonly SavedRun[];
};

export type Ticked = {
  /** Something was written down: look again at once, until nothing is. */
  readonly hasChanged: boolean;
  /** When a hold is worth another look. */
  readonly nextLookAt: number | undefined;
} & Omit<Looked, "tookMs">;

type World = OpenRuns & {
  readonly at: number;
  readonly listedAt: number;
  readonly instances: readonly Instance[];
  readonly inbox: Inbox;
  readonly catalog: Catalog | undefined;
  /** With the quotas that the account has now. */
  readonly limits: Limits;
  readonly quietSince: ReadonlyMap<string, number>;
  /** What all runs have cost today, where a budget asks. */
  readonly todayUsd: number;
};

type Decided = {
  readonly before: SavedRun;
  readonly next: Step;
  /** The same run without anything new begun. */
  readonly settled: () => Step;
};

export async function tick(planner: Planner): Promise<Ticked> {
  const world = await look(planner);
  tellUnreadable(planner, world);
  const decided = decide(planner, world);
  const written = await writeLaunches(planner, world, decided);
  const kept = planner.mayPlan() ? await save(planner, world, written) : [];
  act(planner, world, { written, kept });
  await Promise.all(kept.map((each) => tell(planner, world, each)));
  const waits = kept.flatMap(({ next }) => next.holds.flatMap((hold) => hold.nextLookAt ?? []));
  return {
    hasChanged: kept.some(({ before, next }) => next.run !== before.run),
    ...survey(world, kept),
    nextLookAt: waits.length > 0 ? waits.reduce((a, b) => Math.min(a, b)) : undefined,
  };
}

function survey(world: World, kept: readonly Decided[]): Omit<Looked, "tookMs"> {
  const holds: Partial<Record<Hold["reason"], number>> = {};
  for (const { reason } of kept.flatMap(({ next }) => next.holds)) {
    holds[reason] = (holds[reason] ?? 0) + 1;
  }
  const living = runsNow(world, kept).flatMap(({ attempts }) => attempts.filter(isLiving));
  return {
    openRuns: world.saved.length,
    holds,
    instances: world.instances.filter(isAlive).length,
    hourlyUsd: living.reduce((sum, { offer }) => sum + offer.hourlyUsd, 0),
  };
}

async function look(planner: Planner): Promise<World> {
  const { cloud, store, clock } = planner;
  const listedAt = clock.now();
  // First order: instances before records, and never from a cache. A record is saved before its
  // instances are launched, so an instance whose record cannot be found is an orphan, not early.
  const instances = await cloud.listInstances();
  const runs = await readOpenRuns(store, planner.looks.saved);
  planner.looks.saved = runs.saved;
  // Second order: reports after instances. A runner has reported, or given up, before it powers
  // off, so an instance seen dead has no report still to come.
  const inbox = await readInbox(store);
  const open = runs.saved.map(({ run }) => run);
  const quietSince = await planner.pulse.feel(open, clock.now());
  const catalog = await readCatalog(planner, open);
  const limits = withQuotas(planner.limits, await cloud.readQuotas());
  const at = clock.now();
  checkFresh(at - listedAt);
  noteLook(planner, open, at);
  const hasBudget = planner.limits.dayUsdMax !== undefined;
  const todayUsd = hasBudget ? await readSpent(store, open, at) : 0;
  return { ...runs, at, listedAt, instances, inbox, catalog, limits, quietSince, todayUsd };
}

/** Looks this far apart are no watching, nor are those between which the clock was set back. */
const GAP_MS_MAX = 90_000;

function noteLook({ looks, pollMs }: Planner, open: readonly Run[], at: number): void {
  const gapMs = at - looks.lastAt;
  const isGap = gapMs < 0 || gapMs > Math.max(GAP_MS_MAX, 2 * pollMs);
  const before = isGap ? new Map<string, number>() : looks.since;
  looks.since = new Map(open.map(({ id }) => [id, before.get(id) ?? at]));
  looks.lastAt = at;
}

/** What was read longer ago than this may be over: the host stood still, or its clock was set. */
const LOOK_MS_MAX = 60_000;

function checkFresh(tookMs: number): void {
  if (Math.abs(tookMs) <= LOOK_MS_MAX) return;
  const seconds = Math.round(tookMs / 1000);
  throw new CloudError("unavailable", `looking at the world took ${seconds} s; it is another now`);
}

/** Once each: its run stands still until somebody mends it, and its machines are bounded by themselves alone. */
function tellUnreadable({ told, log }: Planner, { unreadable }: World): void {
  for (const run of unreadable) {
    if (told.has(run)) continue;
    told.add(run);
    const hint = "damaged, or written by another version; its run stands still until it is mended";
    log.error("record unreadable", { key: key.record(run), hint });
  }
}

/** What is under way must not wait for what only new attempts need. */
async function readCatalog(
  { cloud, log }: Planner,
  open: readonly Run[],
): Promise<Catalog | undefined> {
  const named = open.flatMap(({ jobs }) => jobs.flatMap(({ resources }) => resources.image ?? []));
  try {
    return await cloud.readCatalog([...new Set(named)]);
  } catch (error) {
    if (!isCloudError(error)) throw error;
    log.warn("catalog not read", { error: describeError(error) });
    return undefined;
  }
}

/** Serial, so that each run is decided knowing what the runs before it take of the ceilings. */
function decide(planner: Planner, world: World): Decided[] {
  const { actor, log } = planner;
  const { limits } = world;
  const attempts = world.saved.flatMap(({ run }) => run.attempts);
  const { todayUsd } = world;
  let room = roomLeft(limits, attempts, world.instances, {
    todayUsd,
    types: world.catalog?.types ?? [],
  });
  let batches: Batches = {
    tokens: Array.from({ length: Math.max(0, room.instances) }, planner.newToken),
    open: [],
  };
  const decided: Decided[] = [];
  for (const before of world.saved) {
    const { run } = before;
    const seen: Look = {
      at: world.at,
      watchedSince: planner.looks.since.get(run.id) ?? world.at,
      listedAt: world.listedAt,
      instances: world.instances,
      reports: reportsOf(world.inbox, run.id).map(({ content }) => content),
      cancel: world.inbox.cancels.get(run.id)?.content,
      answers: actor.answers,
      claims: actor.claims,
      consoles: actor.consoles,
      quietSince: world.quietSince,
      catalog: world.catalog,
      capacity: planner.capacity(),
      limits,
      todayUsd,
      room,
      batches,
    };
    try {
      const next = step(run, seen);
      ({ room, batches } = next);
      decided.push({ before, next, settled: () => step(run, { ...seen, catalog: undefined }) });
    } catch (error) {
      // A run that cannot be decided does not stop the others; it is a bug, and its machines stay bounded.
      log.error("run not decided", { run: run.id, error: describeError(error) });
    }
  }
  return decided;
}

const reportsOf = (inbox: Inbox, run: string) =>
  inbox.reports.filter(({ content }) => content.run === run);

/** Launches and orders before the records that name them. A run whose launch could not be written is settled alone. */
async function writeLaunches(
  planner: Planner,
  world: World,
  decided: readonly Decided[],
): Promise<Decided[]> {
  const { store, settings, log } = planner;
  const failed = new Set<string>();
  const { catalog, at } = world;
  // Without a catalog nothing was planned.
  if (!catalog) return [...decided];
  await Promise.all(
    [...membersByToken(decided)].map(async ([token, members]) => {
      try {
        const launch = makeLaunch(token, members, { catalog, settings, at });
        const create = { condition: { ifAbsent: true } } as const;
        await Promise.all([
          store.put(key.launch(token), JSON.stringify(launch), create),
          ...members.map((member, index) => {
            const order = makeOrder(member, settings);
            return store.put(key.order(token, index), JSON.stringify(order), create);
          }),
        ]);
      } catch (error) {
        if (!isCloudError(error)) throw error;
        log.warn("launch put off", { token, error: describeError(error) });
        failed.add(token);
      }
    }),
  );
  return decided.map((each) => {
    const hasFailed = newAttempts(each).some(({ launch }) => failed.has(launch.token));
    return hasFailed ? { ...each, next: each.settled() } : each;
  });
}

/** In the order of their indexes: runs are decided in order, and indexes are given in that order. */
function membersByToken(decided: readonly Decided[]): ReadonlyMap<string, readonly Member[]> {
  const members = new Map<string, Member[]>();
  for (const each of decided) {
    for (const attempt of newAttempts(each)) {
      const { token } = attempt.launch;
      members.set(token, [...(members.get(token) ?? []), { run: each.next.run, attempt }]);
    }
  }
  return members;
}

function newAttempts({ before, next }: Decided) {
  const known = new Set(before.run.attempts.map(orderOf));
  return next.run.attempts.filter((attempt) => !known.has(orderOf(attempt)));
}

/** Third order: a choice is saved before it is acted on. Returns what is now written down. */
async function save(
  planner: Planner,
  world: World,
  decided: readonly Decided[],
): Promise<Decided[]> {
  const { store, log } = planner;
  const kept = await Promise.all(
    decided.map(async (each): Promise<Decided | undefined> => {
      const { before, next } = each;
      try {
        if (next.run !== before.run) await saveRun(store, next.run, before.etag);
        // Absorbed, saved, then deleted: a crash before this absorbs them again, to no effect.
        const reports = reportsOf(world.inbox, next.run.id);
        await removeAbsorbed(store, next.run.id, { inbox: world.inbox, reports });
        for (const { content } of reports) logReport(log, content);
        return each;
      } catch (error) {
        if (!isCloudError(error)) throw error;
        log.warn("run put off", { run: next.run.id, error: describeError(error) });
        return undefined;
      }
    }),
  );
  return kept.filter((each) => each !== undefined);
}

const logReport = (log: Log, { run, job, attempt, stage, at }: Report): void =>
  log.info("report absorbed", { run, job, attempt, stage, reportedAt: at });

function act(
  { actor }: Planner,
  world: World,
  { written, kept }: { written: readonly Decided[]; kept: readonly Decided[] },
): void {
  const runs = runsNow(world, kept);
  const recorded = new Set(runs.flatMap((run) => run.attempts.map(orderOf)));
  // A run whose save has failed may hold orders of a launch all the same: nobody knows until the
  // next look, and a launch waits for it.
  const uncertain = new Set(
    written
      .filter((each) => !kept.includes(each))
      .flatMap((each) => newAttempts(each).map(({ launch }) => launch.token)),
  );
  const effects = kept
    .flatMap(({ next }) => next.effects)
    .filter((effect) => effect.type !== "launch" || !uncertain.has(effect.token));
  actor.begin(effects, (order) => recorded.has(order));
  forgetRecorded(actor, runs);
}

/** Every open run as it is written down now. */
function runsNow(world: World, kept: readonly Decided[]): readonly Run[] {
  const saved = new Map(kept.map(({ next }) => [next.run.id, next.run]));
  return world.saved.map(({ run }) => saved.get(run.id) ?? run);
}

/** An answer is kept until no attempt waits for it. */
function forgetRecorded(actor: Actor, runs: readonly Run[]): void {
  const living = runs.flatMap((run) => run.attempts.filter(isLiving));
  const unanswered = new Set(
    living.filter((attempt) => !attempt.answer).map((attempt) => attempt.launch.token),
  );
  const undecided = new Set(
    living
      .filter((attempt) => attempt.claimedAt === undefined && attempt.voidedAt === undefined)
      .map(orderOf),
  );
  for (const token of actor.answers.keys()) {
    if (!unanswered.has(token)) actor.answers.delete(token);
  }
  for (const order of actor.claims.keys()) {
    if (!undecided.has(order)) actor.claims.delete(order);
  }
  const untold = new Set(runs.flatMap((run) => run.attempts.filter(wantsConsole).map(orderOf)));
  for (const order of actor.consoles.keys()) {
    if (!untold.has(order)) actor.consoles.delete(order);
  }
}

/** What people see, and the end of a run. */
async function tell(planner: Planner, world: World, { next }: Decided): Promise<void> {
  const { store, status, log } = planner;
  const { run, holds } = next;
  if (!planner.mayPlan()) return;
  try {
    await status.write(run, holds, world.at);
    if (!isFinished(run)) return;
    if (runState(run) === "succeeded") await tagRun(store, run, planner.clock);
    // Why it failed is worth a minute more; a tag waits for no explanation.
    else if (run.attempts.some(wantsConsole)) return;
    if (planner.limits.dayUsdMax !== undefined) await noteSpent(store, run, world.at);
    // Last of all: until the marker is gone, a crash has all of this done again.
    await store.remove(key.open(run.id));
    status.forget(run.id);
    log.info("run finished", { run: run.id, name: run.name, state: runState(run) });
  } catch (error) {
    if (!isCloudError(error)) throw error;
    log.warn("status put off", { run: run.id, error: describeError(error) });
  }
}
