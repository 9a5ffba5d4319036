/** One life of the daemon: every call of its takes time, may fail, may be the last, and does nothing once it is dead. */
import { restsOffer } from "../../src/core/capacity.ts";
import type { Limits } from "../../src/core/limits.ts";
import { runSchema } from "../../src/core/run.ts";
import { createActor } from "../../src/daemon/acts.ts";
import { type CapacityBook, openCapacityBook } from "../../src/daemon/capacity-book.ts";
import { createStatusWriter } from "../../src/daemon/status.ts";
import type { Sweeper } from "../../src/daemon/sweep.ts";
import type { Planner } from "../../src/daemon/tick.ts";
import { CloudError } from "../../src/errors.ts";
import type { Cloud, Store } from "../../src/ports.ts";
import { makeSettings } from "../support/make.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

export class Crash extends Error {}

export type Life = {
  readonly planner: Planner;
  readonly sweeper: Sweeper;
  readonly capacity: CapacityBook;
  /** What broke the rules, in acts that nobody awaits. */
  readonly bugs: unknown[];
};

export async function beginLife(world: World, random: Random, limits: Limits): Promise<Life> {
  const fate = { isDead: false };
  const store = frail<Store>(world.bucket, world, { random, fate });
  const cloud = frail<Cloud>(world, world, { random, fate });
  const bugs: unknown[] = [];
  const quiet = () => {};
  // Whatever is logged as an error is one here, but for the alarm that asks an operator to look.
  const fail = (message: string, fields = {}) => {
    if (message !== "orphans held") bugs.push(new Error(JSON.stringify({ message, ...fields })));
  };
  const log = { debug: quiet, info: quiet, warn: quiet, error: fail };
  const clock = { now: world.now, sleep: async () => {} };
  const capacity = await openCapacityBook(world.bucket);
  const actor = createActor({
    cloud,
    store,
    clock,
    log,
    mayAct: () => true,
    onNews: () => {},
    onBug: (error) => {
      if (!(error instanceof Crash)) bugs.push(error);
    },
    onRefusal: (launch, answer) => {
      if (restsOffer(answer)) capacity.rest(launch.input, answer);
    },
  });
  const planner: Planner = {
    cloud,
    store,
    clock,
    log,
    limits,
    settings: makeSettings(),
    actor,
    status: createStatusWriter(store),
    capacity: capacity.current,
    newToken: () => `t${random.between(0, 2 ** 31)}${random.between(0, 2 ** 31)}`,
    told: new Set(),
    mayPlan: () => true,
  };
  const sweeper = { cloud, store, clock, log, installation: "inst", missingLaunches: new Map() };
  return { planner, sweeper, capacity, bugs };
}

/** The same port, with the faults of the world. A lost reply is of a call that was carried out. */
function frail<Port extends object>(
  port: Port,
  world: World,
  { random, fate }: { random: Random; fate: { isDead: boolean } },
): Port {
  const call = async (method: () => Promise<unknown>): Promise<unknown> => {
    await Promise.resolve();
    if (fate.isDead) throw new Crash("dead");
    world.advance(random.between(0, 400));
    fate.isDead = random.chance(world.faults.crash);
    if (fate.isDead) throw new Crash("the daemon died");
    if (random.chance(world.faults.unavailable)) throw new CloudError("unavailable", "503");
    const result = await method();
    if (random.chance(world.faults.lostReply)) {
      throw new CloudError("unavailable", "the reply was lost");
    }
    return result;
  };
  return new Proxy(port, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
      return (...args: unknown[]) =>
        call(async () => {
          const result = await method.apply(target, args);
          if (name === "put") checkPut(world, args);
          return result;
        });
    },
  });
}

function checkPut(world: World, [key, body]: readonly unknown[]): void {
  if (!String(key).startsWith("records/")) return;
  world.checkRecord(runSchema.parse(JSON.parse(String(body))));
}
