/** One turn of each of the daemon's loops. What AWS did not do now is tried again by the next turn; anything else thrown is a bug. */
import { prefix } from "../core/layout.ts";
import { describeError, isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Events, Message, Store } from "../ports.ts";
import type { Actor } from "./acts.ts";
import type { Bell } from "./bell.ts";
import type { CapacityBook } from "./capacity-book.ts";
import type { IntakeQueue } from "./intake-queue.ts";
import { type LeaseKeeper, RENEW_MS } from "./lease.ts";
import type { Meter } from "./meter.ts";
import type { RetentionTurn } from "./retention-turn.ts";
import { type Sweeper, sweep } from "./sweep.ts";
import { type Planner, type Ticked, tick } from "./tick.ts";

export type Turning = {
  readonly store: Store;
  readonly events: Events;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly bell: Bell;
  readonly lease: LeaseKeeper;
  readonly actor: Actor;
  readonly capacity: CapacityBook;
  readonly intakes: IntakeQueue;
  readonly planner: Planner;
  readonly sweeper: Sweeper;
  readonly retain: RetentionTurn;
  /** Messages that the next complete look deals with. */
  readonly heard: Message[];
  /** How often the world is looked at while a run is open, without any event. */
  readonly pollMs: number;
  /** How often drops and instances are listed, without any event. */
  readonly sweepMs: number;
  readonly stop: AbortSignal;
};

/** How long a loop waits after AWS could not be reached. */
const UNAVAILABLE_PAUSE_MS = 2_000;
/** How often a daemon that stands by looks at the lease. */
const STANDBY_LOOK_MS = 3_000;

export async function planTurn(turning: Turning): Promise<void> {
  const { planner, heard, clock, meter, bell, stop } = turning;
  const dealtWith = heard.splice(0);
  let waitMs = 0;
  try {
    const beganAt = clock.now();
    await turning.capacity.refresh();
    const ticked = await tick(planner);
    meter.looked({ ...ticked, tookMs: clock.now() - beganAt });
    waitMs = ticked.hasChanged ? 0 : pauseAfter(ticked, turning);
    // Only now: what a failed look has not dealt with comes again.
    await tidy(dealtWith, turning);
  } catch (error) {
    waitMs = putOff("look", error, turning.log);
    await clock.sleep(waitMs, stop);
  }
  await bell.wait(waitMs, stop);
}

async function tidy(dealtWith: readonly Message[], turning: Turning): Promise<void> {
  const { capacity, events, lease, log } = turning;
  try {
    // Who has lost the lease would write over what its holder knows.
    if (lease.isHeld()) await capacity.save();
    if (dealtWith.length > 0) await events.acknowledge(dealtWith);
  } catch (error) {
    putOff("tidying", error, log);
  }
}

function pauseAfter({ openRuns, nextLookAt }: Ticked, turning: Turning): number {
  const { pollMs, sweepMs, clock } = turning;
  const idleMs = openRuns > 0 ? pollMs : sweepMs;
  if (nextLookAt === undefined) return idleMs;
  return Math.max(100, Math.min(idleMs, nextLookAt - clock.now()));
}

export async function listenTurn(turning: Turning): Promise<void> {
  const { events, heard, intakes, bell, clock, log, stop } = turning;
  try {
    for (const message of await events.receive(stop)) {
      const drops = keysOf(message, prefix.drops);
      if (drops.length === 0) heard.push(message);
      else intakes.take(drops, () => acknowledge(message, turning));
      for (const probe of keysOf(message, prefix.probes)) await turning.store.remove(probe);
    }
    if (heard.length > 0) bell.ring();
  } catch (error) {
    if (!stop.aborted) await clock.sleep(putOff("receive", error, log), stop);
  }
}

const keysOf = (message: Message, start: string): string[] =>
  message.wakes.flatMap((wake) =>
    wake.type === "object" && wake.key.startsWith(start) ? [wake.key] : [],
  );

async function acknowledge(message: Message, { events, log }: Turning): Promise<void> {
  try {
    await events.acknowledge([message]);
  } catch (error) {
    // It comes again, and finds its drop taken in.
    putOff("acknowledge", error, log);
  }
}

export async function sweepTurn(turning: Turning): Promise<void> {
  const { store, intakes, sweeper, retain, clock, log, sweepMs, stop } = turning;
  try {
    const drops = await store.list(prefix.drops);
    intakes.take(drops.map((drop) => drop.key));
    await sweep(sweeper);
    await retain();
  } catch (error) {
    putOff("sweep", error, log);
  }
  await clock.sleep(sweepMs, stop);
}

export async function leaseTurn(turning: Turning): Promise<void> {
  const { lease, actor, capacity, bell, clock, log, meter, stop } = turning;
  const wasHeld = lease.isHeld();
  try {
    const isHeld = await lease.renew();
    if (isHeld !== wasHeld) log.info(isHeld ? "lease taken" : "lease lost", {});
    if (isHeld && !wasHeld) {
      actor.forget();
      capacity.forget();
      bell.ring();
    }
  } catch (error) {
    putOff("lease", error, log);
  }
  meter.leased(lease.isHeld());
  await clock.sleep(lease.isHeld() ? RENEW_MS : STANDBY_LOOK_MS, stop);
}

/** How long to wait before the next turn. Throws what is not an answer of AWS. */
export function putOff(what: string, error: unknown, log: Log): number {
  if (!isCloudError(error)) throw error;
  log.warn(`${what} put off`, { error: describeError(error) });
  return UNAVAILABLE_PAUSE_MS;
}
