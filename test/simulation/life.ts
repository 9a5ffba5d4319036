/** One life of the daemon, from its start to its death: the production daemon on ports that take time, fail, and may be the last it calls. */

import { isDeepStrictEqual } from "node:util";
import { key, prefix } from "../../src/core/layout.ts";
import { runDaemon } from "../../src/daemon/daemon.ts";
import { CloudError, isCloudError } from "../../src/errors.ts";
import type { Clock } from "../../src/ports.ts";
import { makeSettings } from "../support/make.ts";
import { Flag } from "./timeline.ts";
import type { World } from "./world.ts";

export type Life = {
  readonly name: string;
  /** Asks it to end well, as systemd does. */
  readonly stop: () => void;
  /** Resolves when it has died, or ended. */
  readonly ended: Promise<void>;
};

export type LifeOptions = {
  readonly name: string;
  /** Dies at this call of its life, counted from 1; before the world has done it, or after. */
  readonly dieAt?: { readonly call: number; readonly isAfter: boolean };
  /** Whether a lease's holder is known to be dead: only of daemons of the same host. */
  readonly isDead: (name: string) => boolean;
};

type Fate = {
  isDead: boolean;
  calls: number;
  pausedUntil: number;
  skewMs: number;
  die: () => void;
};

const WRITES = new Set(["put", "copy", "remove", "launch", "terminate"]);
/** After these an archive may be read. */
const READS = new Set(["open", "copy"]);
/** S3 and EC2 give a request up that has not come in whole by then. */
const LATE_MS_MAX = 60_000;
/** Looks this far apart are a gap to the daemon, whose clock may have been set. */
const GAP_MS_MAX = 90_000;

/** What is said as an error without being one: an operator is asked to look. */
const ALARMS = ["orphans held", "record unreadable"];
const SCRIPT = { script: "#!/bin/bash\n", sha256: "0".repeat(64) };
const PACE = { pollMs: 30_000, sweepMs: 60_000 };

export function beginLife(world: World, options: LifeOptions): Life {
  const { timeline, random } = world;
  const { name } = options;
  const { limits } = world;
  const stop = new AbortController();
  let tellDeath = (): void => {};
  const death = new Promise<void>((resolve) => {
    tellDeath = resolve;
  });
  const fate: Fate = {
    isDead: false,
    calls: 0,
    pausedUntil: 0,
    skewMs: 0,
    die: () => {
      fate.isDead = true;
      world.note(`${name} died`);
      tellDeath();
    },
  };
  const port = <Port extends object>(target: Port): Port => frail(target, world, fate, options);
  const quiet = () => {};
  const error = (message: string, fields = {}) => {
    if (!ALARMS.includes(message))
      world.bugs.push(new Error(JSON.stringify({ message, ...fields })));
  };
  const clock: Clock = {
    now: () => timeline.now() + fate.skewMs,
    sleep: async (ms, signal) => {
      await timeline.sleep(ms, flagOf(signal));
      await awake(world, fate);
    },
  };
  world.note(`${name} began`);
  const whole = runDaemon(
    {
      ...PACE,
      cloud: port(world),
      store: port(world.bucket),
      events: port(world.mailbox),
      clock,
      log: { debug: quiet, info: quiet, warn: quiet, error },
      providers: [],
      limits,
      retentionMs: undefined,
      settings: makeSettings(),
      script: SCRIPT,
      holder: { holder: name, host: name, pid: 1 },
      isDead: ({ holder }) => options.isDead(holder),
      newToken: () => `t${random.between(0, 2 ** 31)}${random.between(0, 2 ** 31)}`,
      onReady: quiet,
    },
    stop.signal,
  ).catch((reason: unknown) => {
    // AWS did not answer at its start: systemd starts it again.
    if (!isCloudError(reason)) world.bugs.push(reason);
  });
  return { name, stop: () => stop.abort(), ended: Promise.race([death, whole]) };
}

/** The same port, with the faults of the world. Once dead, no call does anything, and none comes back. */
function frail<Port extends object>(
  port: Port,
  world: World,
  fate: Fate,
  { name, dieAt }: LifeOptions,
): Port {
  const { random, timeline } = world;

  async function call(method: () => Promise<unknown>, kind: CallKind) {
    const { mayRace, isWrite, savedKey } = kind;
    await timeline.sleep(random.between(5, 400));
    await awake(world, fate);
    fate.calls += 1;
    world.calls += 1;
    const death = drawDeath();
    if (death === "before") await die();
    refuse(mayRace);
    if (savedKey !== undefined) world.watch.saving(name, savedKey);
    if (isWrite && random.chance(world.faults.late)) arriveLate(method, kind);
    const result = await method();
    if (death === "after") await die();
    stumble();
    await awake(world, fate);
    const isLost = random.chance(world.faults.lostReply);
    if (isLost) throw new CloudError("unavailable", "the reply was lost");
    return result;
  }

  /** Whether this is its last call, and whether the world hears of it. */
  function drawDeath(): "before" | "after" | undefined {
    const isLast = dieAt ? dieAt.call === fate.calls : random.chance(world.faults.crash);
    const isAfter = dieAt ? dieAt.isAfter : random.chance(0.5);
    if (!isLast) return undefined;
    return isAfter ? "after" : "before";
  }

  /** Whoever sent it has given it up by then, and its answer goes nowhere. */
  function arriveLate(method: () => Promise<unknown>, { savedKey, isRests }: CallKind): never {
    world.everLateSave ||= savedKey !== undefined;
    world.everLateRests ||= isRests;
    timeline.at(timeline.now() + random.between(100, LATE_MS_MAX), () => {
      method().catch((error: unknown) => {
        if (!isCloudError(error)) world.bugs.push(error);
      });
    });
    throw new CloudError("unavailable", "timed out");
  }

  /** Nothing is done. */
  function refuse(mayRace: boolean): void {
    if (random.chance(world.faults.unavailable)) throw new CloudError("unavailable", "503");
    if (mayRace && random.chance(world.faults.race)) throw new CloudError("conflict", "409");
  }

  /** What befalls the daemon's own host. */
  function stumble(): void {
    if (random.chance(world.faults.pause)) pause();
    if (random.chance(world.faults.clockJump)) jump();
  }

  function die(): Promise<never> {
    fate.die();
    world.onDeath();
    return never();
  }
  function pause(): void {
    world.everPaused = true;
    const isShort = random.chance(0.5);
    const lastsMs = isShort ? random.between(10_000, 60_000) : random.between(60_000, 600_000);
    fate.pausedUntil = timeline.now() + lastsMs;
    world.awakeAt = Math.max(world.awakeAt, fate.pausedUntil);
    world.note(`${name} stands still`);
  }
  function jump(): void {
    world.everSkewed = true;
    const before = fate.skewMs;
    fate.skewMs = random.between(-600_000, 600_000);
    const aheadMs = fate.skewMs - before;
    world.everNudged ||= aheadMs > 0 && aheadMs <= GAP_MS_MAX;
    world.note(`${name} has its clock off by ${Math.round(fate.skewMs / 1000)} s`);
  }

  return new Proxy(port, {
    get(target, property) {
      const method = Reflect.get(target, property) as (...args: unknown[]) => Promise<unknown>;
      const isWrite = WRITES.has(String(property));
      return (...args: unknown[]) => {
        // One that creates a record is of an intake, which may outlast a lease.
        const isSave =
          property === "put" &&
          String(args[0]).startsWith(prefix.records) &&
          !isDeepStrictEqual(args[2], { condition: { ifAbsent: true } });
        const answer = call(() => method.apply(target, args), {
          mayRace: isConditional(args),
          isWrite,
          isRests: args[0] === key.capacity,
          savedKey: isSave ? String(args[0]) : undefined,
        });
        return READS.has(String(property)) ? answer.finally(timeline.reading) : answer;
      };
    },
  });
}

type CallKind = {
  readonly mayRace: boolean;
  readonly isWrite: boolean;
  /** Of the rests of offers. */
  readonly isRests: boolean;
  /** Of the record that it saves. */
  readonly savedKey: string | undefined;
};

const isConditional = ([, , options]: readonly unknown[]): boolean =>
  typeof options === "object" && options !== null && "condition" in options;

/** Listening to a signal of the platform costs ten times as much as a sleep: it is done once for each. */
function flagOf(signal: AbortSignal): Flag {
  const known = flags.get(signal);
  if (known) return known;
  const flag = new Flag();
  if (signal.aborted) flag.raise();
  else signal.addEventListener("abort", flag.raise);
  flags.set(signal, flag);
  return flag;
}
const flags = new WeakMap<AbortSignal, Flag>();

async function awake(world: World, fate: Fate): Promise<void> {
  while (fate.pausedUntil > world.timeline.now()) {
    await world.timeline.sleep(fate.pausedUntil - world.timeline.now());
  }
  if (fate.isDead) await never();
}

const never = (): Promise<never> => new Promise(() => {});
