/**
 * Whole runs against an imagined AWS, each from a seed: first a storm in which everything goes wrong,
 * with what must never happen checked as it happens; then calm, in which every run must end.
 */
import assert from "node:assert/strict";
import { key, prefix } from "../../src/core/layout.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { isLiving, type Run } from "../../src/core/run.ts";
import { isFinished, jobStates, runState } from "../../src/core/states.ts";
import { createRun } from "../../src/daemon/records.ts";
import { sweep } from "../../src/daemon/sweep.ts";
import { tick } from "../../src/daemon/tick.ts";
import { CloudError } from "../../src/errors.ts";
import { HOUR, MINUTE, makeJob, makeResources, makeRun } from "../support/make.ts";
import { beginLife, Crash, type Life } from "./life.ts";
import { Random } from "./random.ts";
import { CALM, STORM, World } from "./world.ts";

const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  instancesMax: 4,
  hourlyUsdMax: 0.6,
  maxWaitMs: 6 * HOUR,
};
const TICK_MS = 10_000;
const STORM_TICKS = 300;
const CALM_TICKS_MAX = 1_500;
const SWEEP_EVERY_TICKS = 10;

/** Throws with the seed in its message when a rule is broken; returns the world at its end. */
export async function simulate(seed: number): Promise<World> {
  const random = new Random(seed);
  const world = new World(random, STORM);
  try {
    await play(world, random);
  } catch (error) {
    const story = world.story.slice(-40).join("\n");
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${story}`, { cause: error });
  }
  return world;
}

async function play(world: World, random: Random): Promise<void> {
  await world.bucket.put(key.errand, JSON.stringify({ format: 1, installation: "inst" }));
  const ids = ["a", "b", "c"].slice(0, random.between(1, 3)).map((each) => each.repeat(6));
  for (const id of ids) await createRun(world.bucket, randomRun(`20261123-211530-${id}`, random));

  let life = await beginLife(world, random, LIMITS);
  for (let count = 0; count < STORM_TICKS + CALM_TICKS_MAX; count++) {
    if (count === STORM_TICKS) world.faults = CALM;
    await maybeCancel(world, random, count);
    world.advance(random.between(0, 2 * TICK_MS));
    const isAlive = await turn(life, { random, mustSweep: count % SWEEP_EVERY_TICKS === 0 });
    checkWorld(world, life);
    if (!isAlive) life = await beginLife(world, random, LIMITS);
    if (isOver(world)) return checkEnd(world);
  }
  throw new Error(`not over after ${CALM_TICKS_MAX} calm ticks`);
}

async function maybeCancel(world: World, random: Random, count: number): Promise<void> {
  const [first] = world.runs();
  if (!first || count >= STORM_TICKS || !random.chance(0.003)) return;
  const body = { format: 1, now: random.chance(0.3), at: world.now() };
  await world.bucket.put(key.cancel(first.id), JSON.stringify(body));
}

/** False when the daemon died in it. What it began may still be under way when the next turn begins. */
async function turn(
  life: Life,
  { random, mustSweep }: { random: Random; mustSweep: boolean },
): Promise<boolean> {
  try {
    await tick(life.planner);
    await life.capacity.save();
    if (random.chance(0.8)) await life.planner.actor.onIdle();
    if (mustSweep) await sweep(life.sweeper);
  } catch (error) {
    if (error instanceof Crash) return false;
    if (!(error instanceof CloudError)) throw error;
  }
  return true;
}

/** What must hold after every turn, whatever goes wrong. */
function checkWorld(world: World, life: Life): void {
  if (life.bugs.length > 0) throw life.bugs[0];
  const runs = world.runs();
  const living = runs.flatMap((run) => run.attempts.filter(isLiving));
  const hourlyUsd = living.reduce((sum, attempt) => sum + attempt.offer.hourlyUsd, 0);
  assert(living.length <= LIMITS.instancesMax, `${living.length} attempts live at once`);
  assert(hourlyUsd <= LIMITS.hourlyUsdMax + 1e-9, `$${hourlyUsd} an hour`);
  for (const run of runs) checkRun(run);
}

function checkRun(run: Run): void {
  const states = jobStates(run);
  for (const job of run.jobs) {
    const tries = run.attempts.filter((attempt) => attempt.job === job.name);
    assert(tries.filter(isLiving).length <= 1, `${job.name} has two living attempts`);
    assert(tries.length <= 6, `${job.name} was tried ${tries.length} times`);
    const unmet = job.needs.filter((need) => states.get(need) !== "succeeded");
    assert(tries.length === 0 || unmet.length === 0, `${job.name} began before ${unmet}`);
  }
}

const isOver = (world: World): boolean =>
  world.runs().every(isFinished) &&
  world.living().length === 0 &&
  [prefix.open, prefix.reports, prefix.cancels].every(
    (each) => world.bucket.keys(each).length === 0,
  );

function checkEnd(world: World): void {
  for (const run of world.runs()) {
    const status = JSON.parse(world.bucket.read(key.status(run.id)) ?? "{}") as { state?: string };
    assert.equal(status.state, runState(run), `the status of ${run.id} is not its last`);
  }
}

function randomRun(id: string, random: Random): Run {
  const names = ["fetch", "train", "score", "report", "plot"].slice(0, random.between(1, 5));
  const jobs = names.map((name, index) => {
    const needs = names.slice(0, index).filter(() => random.chance(0.4));
    return makeJob({
      name,
      workflow: name,
      needs,
      inputs: needs.map((job) => ({ type: "job", job })),
      resources: makeResources({
        cpu: random.between(1, 4),
        maxDurationMs: 30 * MINUTE,
        retry: { lost: 2, failed: random.between(0, 1) },
      }),
    });
  });
  return makeRun([], { id, name: id, jobs, createdAt: 1_000_000 });
}
