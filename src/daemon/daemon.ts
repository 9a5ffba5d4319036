/**
 * The daemon: takes in drops, turns the loop, sweeps. Events only wake it and say where to look; a
 * periodic look and sweep find what an event failed to tell.
 */
import { restsOffer } from "../core/capacity.ts";
import type { LaunchSettings } from "../core/launches.ts";
import type { Limits } from "../core/limits.ts";
import type { Log } from "../log.ts";
import type { Clock, Cloud, Events, Message, Store, Uploads } from "../ports.ts";
import type { Provider } from "../providers/provider.ts";
import { createActor } from "./acts.ts";
import { type Bell, createBell } from "./bell.ts";
import { openCapacityBook } from "./capacity-book.ts";
import { keepScript, publishLimits } from "./installation.ts";
import { createIntakeQueue } from "./intake-queue.ts";
import { type Holder, keepLease } from "./lease.ts";
import { type Loop, type Meter, NO_METER } from "./meter.ts";
import { createPulse } from "./pulse.ts";
import { createRetentionTurn } from "./retention-turn.ts";
import { createStatusWriter } from "./status.ts";
import { beginLeftovers } from "./sweep-leftovers.ts";
import { leaseTurn, listenTurn, planTurn, putOff, sweepTurn, type Turning } from "./turns.ts";

export type DaemonOptions = Pick<Turning, "pollMs" | "sweepMs"> & {
  readonly cloud: Cloud;
  readonly store: Store;
  readonly events: Events;
  /** Where they are not given, uploads that broke off stay. */
  readonly uploads?: Uploads;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter?: Meter;
  readonly limits: Limits;
  /** Those that the operator has added to the built-in ones. */
  readonly providers: readonly Provider[];
  /** How long after its end a run is kept; undefined: for ever. */
  readonly retentionMs: number | undefined;
  readonly settings: Omit<LaunchSettings, "scriptSha256">;
  /** The constant part of the user-data. */
  readonly script: { readonly script: string; readonly sha256: string };
  readonly holder: Holder;
  /** True only when a lease's holder certainly runs no more. */
  readonly isDead: (holder: Holder) => boolean;
  /** Fresh random text of a..z and 2..7, 20 characters. */
  readonly newToken: () => string;
  /** Called once, when drops are taken. */
  readonly onReady: () => void;
};

/** How often a loop that may not act looks whether it may. */
const STANDBY_TURN_MS = 1_000;
/** How long a stopping daemon waits for calls under way. */
const STOP_MS = 5_000;

/**
 * Runs until the signal aborts; jobs then go on, and the next daemon takes them up. Rejects with
 * UserError or CloudError when it cannot begin, and with anything else that is a bug.
 */
export async function runDaemon(options: DaemonOptions, signal: AbortSignal): Promise<void> {
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const onBug = (error: unknown) => failure.abort(error);
  const { turning, onIdle } = await setUp(options, { stop, onBug });

  const { lease, clock, log } = turning;
  await lease.renew();
  if (!lease.isHeld()) log.warn("another daemon plans; standing by", { host: lease.seen()?.host });
  let standing: Promise<void> | undefined;
  /** All loops wait for one timer. */
  const standBy = (): Promise<void> => {
    standing ??= clock.sleep(STANDBY_TURN_MS, stop).finally(() => {
      standing = undefined;
    });
    return standing;
  };
  const repeat = async (loop: Loop, turn: (turning: Turning) => Promise<void>) => {
    while (!stop.aborted) {
      if (loop === "lease" || lease.isHeld()) await turn(turning);
      else await standBy();
      turning.meter.turned(loop, clock.now());
    }
  };
  const announce = async () => {
    while (!stop.aborted && !lease.isHeld()) await standBy();
    if (stop.aborted) return;
    try {
      await publishLimits(options.store, options.limits);
    } catch (error) {
      putOff("limits publish", error, log);
    }
    options.onReady();
  };
  const loops = [
    repeat("lease", leaseTurn),
    repeat("look", planTurn),
    repeat("listen", listenTurn),
    repeat("sweep", sweepTurn),
    announce(),
  ];
  await Promise.all(loops.map((loop) => loop.catch(onBug)));
  const idle = new AbortController();
  await Promise.race([onIdle(), clock.sleep(STOP_MS, idle.signal)]);
  idle.abort();
  try {
    await lease.release();
  } catch (error) {
    putOff("lease release", error, log);
  }
  if (failure.signal.aborted) throw failure.signal.reason;
}

async function setUp(
  options: DaemonOptions,
  { stop, onBug }: { stop: AbortSignal; onBug: (error: unknown) => void },
): Promise<{ readonly turning: Turning; readonly onIdle: () => Promise<unknown> }> {
  const { store, clock, script, meter = NO_METER } = options;
  const bell: Bell = createBell(clock.sleep);
  await keepScript(store, script);
  const lease = keepLease(store, options.holder, { now: clock.now, isDead: options.isDead });
  const capacity = await openCapacityBook(store);
  const actor = createActor({
    ...options,
    meter,
    mayAct: lease.isHeld,
    onNews: bell.ring,
    onBug,
    onRefusal: (launch, answer) => {
      if (restsOffer(answer)) capacity.rest(launch.input, answer);
    },
  });
  const planner = {
    ...options,
    settings: { ...options.settings, scriptSha256: script.sha256 },
    actor,
    status: createStatusWriter(store),
    pulse: createPulse(store, options.settings.every.heartbeatMs),
    capacity: capacity.current,
    told: new Set<string>(),
    looks: { since: new Map<string, number>(), lastAt: 0, saved: [] },
    mayPlan: lease.isHeld,
  };
  const intakes = createIntakeQueue(options, { onTaken: bell.ring, onBug, stop });
  const { installation } = options.settings;
  const sweeper = {
    ...options,
    installation,
    missingLaunches: new Map<string, number>(),
    leftovers: beginLeftovers(clock.now()),
    told: new Set<string>(),
  };
  const heard: Message[] = [];
  meter.watch("intake", intakes.depth);
  meter.watch("events", () => heard.length);
  const turning = {
    ...options,
    meter,
    actor,
    bell,
    lease,
    capacity,
    intakes,
    planner,
    sweeper,
    retain: createRetentionTurn(options),
    heard,
    stop,
  };
  return { turning, onIdle: () => Promise.all([actor.onIdle(), intakes.onIdle()]) };
}
