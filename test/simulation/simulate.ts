/**
 * Whole installations against an imagined AWS, each from a seed: first a storm in which everything goes
 * wrong, with what must never happen checked as it happens; then calm, in which every run must end.
 */
import assert from "node:assert/strict";
import { key, prefix } from "../../src/core/layout.ts";
import type { Run } from "../../src/core/run.ts";
import { isFinished, runState } from "../../src/core/states.ts";
import { HOUR, MINUTE } from "../support/make.ts";
import { BROKEN_BUNDLES, BUNDLES } from "./bundles.ts";
import { CALM, drawStorm, type Faults } from "./faults.ts";
import { drawInstallation, INSTALLATION, type Installation } from "./installations.ts";
import { beginLife, type Life, type LifeOptions } from "./life.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

const STORM_MS = 30 * MINUTE;
const CALM_MS_MAX = 24 * HOUR;
/** Some cancel when all works well: then nothing explains why nobody heeds it. */
const LATE_CANCEL_MS = 10 * MINUTE;
/** A budget of a day would hold some runs for many: past the first midnight nothing new happens. */
const DAY_BUDGET_MS = 50 * MINUTE;

export type Story = {
  readonly seed: number;
  /** Drawn from the seed where they are not given, and so is the installation. */
  readonly faults?: Faults;
  readonly installation?: Installation;
  /** The first daemon dies at this call, and others by the faults alone. */
  readonly dieAt?: LifeOptions["dieAt"];
};

/** Throws with the seed in its message when a rule is broken; returns the world at its end. */
export async function simulate(story: Story): Promise<World> {
  const random = new Random(story.seed);
  const { faults = drawStorm(random) } = story;
  const { installation = story.faults ? INSTALLATION : drawInstallation(random) } = story;
  const world = new World(random, faults, installation);
  const { stackTraceLimit } = Error;
  // A storm throws a lot, and stacks are what costs most of that.
  Error.stackTraceLimit = 0;
  try {
    await play(world, story);
  } catch (error) {
    const lines = world.story.slice(-400).join("\n");
    throw new Error(`seed ${story.seed}: ${(error as Error).message}\n${lines}`, { cause: error });
  } finally {
    world.timeline.end();
    Error.stackTraceLimit = stackTraceLimit;
  }
  return world;
}

async function play(world: World, { dieAt }: Story): Promise<void> {
  const { random, timeline, bucket, watch } = world;
  watch.begin();
  bucket.write(key.errand, JSON.stringify({ format: 1, installation: "inst" }));
  const users = new Users(world);
  users.come();
  const host = new Host(world, dieAt);
  host.keep();
  if (random.chance(world.faults.rival)) host.keep();

  const startMs = timeline.now();
  const isOver = () => {
    if (world.bugs.length > 0) throw world.bugs[0];
    return users.isDone && isQuiet(world);
  };
  timeline.at(startMs + STORM_MS, () => {
    world.faults = CALM;
    world.calmAt = timeline.now();
    world.note("calm");
  });
  if (world.limits.dayUsdMax !== undefined) {
    timeline.at(startMs + DAY_BUDGET_MS, () => {
      world.limits = { ...world.limits, dayUsdMax: undefined };
      world.note("the operator lifts the budget of a day");
      host.restart();
    });
  }
  const isEnded = await timeline.runUntil(startMs + STORM_MS + CALM_MS_MAX, isOver);
  assert(isEnded, `not over after ${CALM_MS_MAX / HOUR} calm hours: ${whatIsLeft(world)}`);
  watch.checkDrops(users.dropped);
  checkStatus(world);
}

/** What users do: drops, good, broken, and overwritten; cancels at any moment. And what befalls the bucket. */
class Users {
  readonly #world: World;
  readonly dropped: { key: string; etag: string }[] = [];
  #pending = 0;

  constructor(world: World) {
    this.#world = world;
    world.onDeath = () => this.#doTheWorst();
    world.onCancelled = (run) => this.#insist(run);
  }

  get isDone(): boolean {
    return this.#pending === 0;
  }

  come(): void {
    const { random, faults } = this.#world;
    const count = random.between(1, 3);
    for (let number = 0; number < count; number++) {
      this.#later(random.between(0, 10 * MINUTE), () => this.#drop(number));
    }
    for (let count = 0; count < 2 && random.chance(faults.cancel); count++) {
      this.#later(random.between(0, STORM_MS + LATE_CANCEL_MS), () => this.#cancel());
    }
    if (random.chance(faults.damage))
      this.#later(random.between(0, STORM_MS), () => this.#damage());
  }

  #later(ms: number, act: () => void): void {
    const { timeline } = this.#world;
    this.#pending += 1;
    timeline.at(timeline.now() + ms, () => {
      this.#pending -= 1;
      act();
    });
  }

  #drop(number: number): void {
    const { random, faults } = this.#world;
    const isBroken = random.chance(faults.brokenDrop);
    const name = random.chance(0.5)
      ? `20261123-211530-${"abc".charAt(number).repeat(6)}`
      : `mine-${number}`;
    const dropKey = `drops/${name}.zip`;
    this.#put(dropKey, pick(isBroken ? BROKEN_BUNDLES : BUNDLES, random));
    if (random.chance(faults.overwrittenDrop)) {
      this.#later(random.between(0, 60_000), () => this.#put(dropKey, pick(BUNDLES, random)));
    }
  }

  #put(dropKey: string, body: Uint8Array): void {
    const { bucket } = this.#world;
    // What lies there still was overwritten before it was taken in: nobody will ever see it.
    const current = this.dropped.findLastIndex((each) => each.key === dropKey);
    if (current >= 0 && bucket.read(dropKey) !== undefined) this.dropped.splice(current, 1);
    const etag = bucket.write(dropKey, body);
    this.dropped.push({ key: dropKey, etag });
    this.#world.note(`dropped ${dropKey}`);
  }

  #cancel(): void {
    const { random, bucket, watch, timeline } = this.#world;
    const run = pick(watch.runs(), random);
    if (!run) return;
    const body = { format: 1, now: random.chance(0.3), at: timeline.now() };
    bucket.write(key.cancel(run.id), JSON.stringify(body));
    this.#world.note(`cancel of ${run.id}${body.now ? " now" : ""}`);
    if (!random.chance(0.3)) return;
    this.#later(random.between(100, 10_000), () => {
      bucket.write(key.cancel(run.id), JSON.stringify({ ...body, now: true }));
      this.#world.note(`cancel of ${run.id} now`);
    });
  }

  /** Just when the first has been read, and is about to be put away. */
  #insist({ id, cancel }: Run): void {
    const { random, bucket, timeline } = this.#world;
    if (cancel?.now || !random.chance(0.3)) return;
    this.#later(random.between(0, 500), () => {
      bucket.write(key.cancel(id), JSON.stringify({ format: 1, now: true, at: timeline.now() }));
      this.#world.note(`cancel of ${id} now`);
    });
  }

  /** A daemon has died, perhaps half-way through an intake. */
  #doTheWorst(): void {
    const { random, bucket, faults, watch } = this.#world;
    const [dropKey] = bucket.keys(prefix.drops);
    if (dropKey === undefined) return;
    if (random.chance(faults.overwrittenDrop)) this.#put(dropKey, pick(BUNDLES, random));
    else if (random.chance(faults.damage)) {
      this.#damage(watch.runs().find(({ drop }) => drop.key === dropKey));
    }
  }

  #damage(run = pick(this.#world.watch.runs(), this.#world.random)): void {
    const { random, bucket } = this.#world;
    if (!run) return;
    bucket.damage(key.record(run.id));
    this.#world.note(`the record of ${run.id} cannot be read`);
    this.#later(random.between(MINUTE, 15 * MINUTE), () => bucket.mend(key.record(run.id)));
  }
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[random.between(0, Math.max(0, list.length - 1))] as T;
}

/** Starts daemons, and starts the next when one has died. */
class Host {
  readonly #world: World;
  readonly #dead = new Set<string>();
  readonly #lives = new Set<Life>();
  #dieAt: LifeOptions["dieAt"];
  #count = 0;

  constructor(world: World, dieAt: LifeOptions["dieAt"]) {
    this.#world = world;
    this.#dieAt = dieAt;
  }

  /** All daemons are stopped, and begin anew with what is configured now. */
  restart(): void {
    for (const life of this.#lives) life.stop();
  }

  keep(): void {
    this.#keepAlive().catch((error: unknown) => this.#world.bugs.push(error));
  }

  async #keepAlive(): Promise<void> {
    const { random, timeline } = this.#world;
    for (;;) {
      const life = this.#begin();
      const isStopped = random.chance(this.#world.faults.stop);
      if (isStopped) timeline.at(timeline.now() + random.between(MINUTE, 20 * MINUTE), life.stop);
      this.#lives.add(life);
      await life.ended;
      this.#lives.delete(life);
      this.#dead.add(life.name);
      await timeline.sleep(random.between(0, 30_000));
    }
  }

  #begin(): Life {
    this.#count += 1;
    const dieAt = this.#dieAt;
    this.#dieAt = undefined;
    const isSameHost = this.#world.random.chance(0.5);
    return beginLife(this.#world, {
      name: `daemon-${this.#count}`,
      isDead: (name) => isSameHost && this.#dead.has(name),
      ...(dieAt ? { dieAt } : {}),
    });
  }
}

const FOLDERS = [prefix.open, prefix.drops, "inbox/"];

const isQuiet = (world: World): boolean =>
  FOLDERS.every((folder) => world.bucket.count(folder) === 0) &&
  world.watch.runs().every(isFinished) &&
  world.living().length === 0;

function whatIsLeft(world: World): string {
  const keys = FOLDERS.flatMap((folder) => world.bucket.keys(folder));
  const unfinished = world.watch
    .runs()
    .filter((run) => !isFinished(run))
    .map((run) => `${run.id} is not finished`);
  const machines = world.living().map((machine) => `${machine.id} ${machine.state}`);
  return [...keys, ...machines, ...unfinished].join(", ");
}

function checkStatus(world: World): void {
  for (const run of world.watch.runs()) {
    const status = JSON.parse(world.bucket.read(key.status(run.id)) ?? "{}") as { state?: string };
    assert.equal(status.state, runState(run), `the status of ${run.id} is not its last`);
  }
}
