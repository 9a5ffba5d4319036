/**
 * Retention against those who refer to artifacts, call by call: two pruners, two who move a tag, and the
 * intake of a run that needs the tag, their calls of the bucket in an order from a seed, each of them
 * perhaps dead at one of them. What must hold is checked after every call.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { sourcesOf } from "../../src/core/retention.ts";
import { type Run, runSchema } from "../../src/core/run.ts";
import { takeIn } from "../../src/daemon/intake.ts";
import { prune } from "../../src/daemon/prune.ts";
import { putTag } from "../../src/daemon/tags.ts";
import type { Store } from "../../src/ports.ts";
import { makeTarGz } from "../support/archives.ts";
import { Bucket } from "../support/bucket.ts";
import { makeClock, makeRun, makeStarted, quietLog } from "../support/make.ts";
import { Random } from "./random.ts";

const NOW = Date.UTC(2026, 10, 25);
const OLD = "20261001-000000-aaaaaa";
const OTHER = "20261002-000000-bbbbbb";
/** Too young to go. */
const FRESH = "20261125-000000-dddddd";
const TAKEN = "20261125-000000-cccccc";
const TAG = { workflow: "train", tag: "best" };
const SETS = [{ job: "train", attempt: 1 }];
const LIMIT = { before: NOW - 1_000, runsMax: 10, objectsMax: 100 };
const clock = makeClock(() => NOW);

const DEPENDENT = `
workflows:
  - {name: train, provider: python, python_script: train.py, artifacts: [checkpoint]}
  - {name: score, provider: python, python_script: score.py, depends-on: ["train:best"]}
`;
const bundle = makeTarGz({ ".dstack/workflows.yaml": DEPENDENT });

class Crash extends Error {}

type Actor = {
  readonly name: string;
  readonly waiting: (() => void)[];
  /** How much more often than others it has its turn. */
  readonly pace: number;
  /** Before this call of its it sleeps through nearly all that the others do. */
  readonly sleepsBefore: number;
  calls: number;
  readonly callsMax: number;
  isOver: boolean;
};

/** What became of a seed, so that a test can say that all of it was seen. */
export type Seen = "pruned" | "kept" | "tag refused" | "drop rejected" | "crash";

export async function raceRetention(seed: number): Promise<ReadonlySet<Seen>> {
  const random = new Random(seed);
  const bucket = new Bucket(() => NOW);
  const seen = new Set<Seen>();
  for (const id of [OLD, OTHER]) fill(bucket, id, NOW - 10_000);
  fill(bucket, FRESH, NOW);
  bucket.write("tags/train/best.json", tagOn(random.chance(0.5) ? OLD : FRESH));
  bucket.write(`drops/score/${TAKEN}.tar.gz`, await bundle);

  /** Runs on which a tag was put for certain, and nobody has died while putting one. */
  const promised = new Set<string>();
  let hasTaggerDied = false;
  let taggers = 0;
  const tag = (run: string) => async (store: Store) => {
    taggers += 1;
    const result = await putTag(store, TAG, { run, sets: SETS, clock });
    taggers -= 1;
    if (result.type === "done") promised.add(run);
    else seen.add("tag refused");
  };
  // One who is refused puts the tag back to what it was, and takes it away when that is gone too: in between it may stand for nothing.
  const isTagSure = () => !hasTaggerDied && taggers === 0;
  let token = 0;
  const pruning = async (store: Store) => {
    const newToken = () => String(++token);
    const { pruned, kept } = await prune({ store, clock, newToken }, LIMIT);
    if (pruned.length > 0) seen.add("pruned");
    if (kept.length > 0) seen.add("kept");
  };
  const intake = (store: Store) =>
    takeIn(
      { store, clock, log: quietLog, limits: DEFAULT_LIMITS, providers: [] },
      `drops/score/${TAKEN}.tar.gz`,
    );
  const acts: readonly (readonly [string, (store: Store) => Promise<void>])[] = [
    ["pruner", pruning],
    ["pruner", pruning],
    ["tagger", tag(OLD)],
    ["tagger", tag(random.chance(0.5) ? OTHER : FRESH)],
    ["intake", intake],
  ];
  const actors = acts.map(([name, act]) =>
    begin(
      bucket,
      {
        name,
        act,
        pace: 2 ** random.between(0, 7),
        sleepsBefore: random.between(0, 40),
        callsMax: random.chance(0.3) ? random.between(0, 30) : 1e9,
      },
      (error) => {
        if (!(error instanceof Crash)) throw error;
        seen.add("crash");
        hasTaggerDied ||= name === "tagger";
      },
    ),
  );
  await turn(actors, random, () => check(bucket, { promised, isTagSure: isTagSure() }));
  await Promise.all(actors.map(({ end }) => end));

  // Calm: whoever died is begun anew. Then nothing is half done.
  await intake(bucket);
  await pruning(bucket);
  check(bucket, { promised, isTagSure: isTagSure() });
  const taken = read(bucket, TAKEN);
  if (taken?.rejected?.join().includes("have been pruned")) seen.add("drop rejected");
  assert(taken, "the drop became no run");
  assert.deepEqual(bucket.keys("pins/"), [], "a pin was left");
  for (const id of [OLD, OTHER]) {
    const left = bucket.keys(`runs/${id}/`).length;
    assert(left === 3 || left === 0, `${id} is half gone`);
    assert.equal(
      read(bucket, id)?.pruned !== undefined,
      left === 0,
      `the record of ${id} is wrong`,
    );
    const isReferred =
      bucket.read("tags/train/best.json")?.includes(id) ||
      (taken.rejected === undefined && sourcesOf(taken.jobs).includes(id));
    assert(left === 0 || isReferred, `${id} was left, and nothing needs it`);
  }
  return seen;
}

const tagOn = (run: string) => JSON.stringify({ format: 1, run, sets: SETS, at: 0 });

function fill(bucket: Bucket, id: string, at: number): void {
  const done = { type: "succeeded", at, reason: "" } as const;
  const attempts = [
    makeStarted({ outcome: done, goneAt: done.at, launch: { token: id, index: 0 } }),
  ];
  bucket.write(`records/${id}.json`, JSON.stringify(makeRun(attempts, { id })));
  for (const name of ["bundle.tar.gz", "train/1/manifest.json", "train/1/artifacts/checkpoint"]) {
    bucket.write(`runs/${id}/${name}`, name);
  }
}

function read(bucket: Bucket, id: string): Run | undefined {
  const body = bucket.read(`records/${id}.json`);
  return body === undefined ? undefined : runSchema.parse(JSON.parse(body));
}

/** Whatever happens: what a tag stands for, and what an open run needs, is there. */
function check(
  bucket: Bucket,
  { promised, isTagSure }: { promised: ReadonlySet<string>; isTagSure: boolean },
): void {
  const isWhole = (id: string) => bucket.keys(`runs/${id}/`).length === 3;
  const tagged = [OLD, OTHER, FRESH].find((id) =>
    bucket.read("tags/train/best.json")?.includes(id),
  );
  if (tagged && promised.has(tagged) && isTagSure) {
    assert(isWhole(tagged), `the tag stands for ${tagged}, which is pruned`);
  }
  const run = read(bucket, TAKEN);
  if (!run || run.rejected) return;
  for (const id of sourcesOf(run.jobs)) assert(isWhole(id), `${id} is an input, and pruned`);
}

/** Its calls wait for their turn, and the last one it may make is never answered. */
function begin(
  bucket: Bucket,
  {
    act,
    ...made
  }: Omit<Actor, "waiting" | "calls" | "isOver"> & {
    readonly act: (store: Store) => Promise<void>;
  },
  onEnd: (error: unknown) => void,
): Actor & { readonly end: Promise<void> } {
  const actor: Actor = { ...made, waiting: [], calls: 0, isOver: false };
  const store = new Proxy(bucket as Store, {
    get: (target, method) => {
      const call = Reflect.get(target, method) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        await new Promise<void>((resolve) => actor.waiting.push(resolve));
        actor.calls += 1;
        if (actor.calls > actor.callsMax) throw new Crash(made.name);
        return call.apply(target, args);
      };
    },
  });
  const end = act(store)
    .catch(onEnd)
    .finally(() => {
      actor.isOver = true;
    });
  return Object.assign(actor, { end });
}

/** One call after the other, until all are over. */
async function turn(actors: readonly Actor[], random: Random, check: () => void): Promise<void> {
  for (let count = 0; actors.some(({ isOver }) => !isOver); ) {
    await setImmediate();
    // Reading an archive takes a while: the order must not depend on how long.
    if (actors.some(({ isOver, waiting }) => !isOver && waiting.length === 0)) continue;
    const ready = actors.filter(({ waiting }) => waiting.length > 0);
    const next = choose(ready, random);
    next?.waiting.splice(random.between(0, next.waiting.length - 1), 1)[0]?.();
    await setImmediate();
    check();
    count += 1;
    assert(count < 5_000, "no end");
  }
}

function choose(ready: readonly Actor[], random: Random): Actor | undefined {
  const weights = ready.map((each) => (each.calls === each.sleepsBefore ? 0.001 : each.pace));
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  return ready.find((_, index) => {
    left -= weights[index] ?? 0;
    return left < 0;
  });
}
