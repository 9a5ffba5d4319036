import { expect, test } from "vitest";
import type { Run } from "../../../src/core/run.ts";
import type { RunView } from "../../../src/core/view.ts";
import { prune, survey } from "../../../src/daemon/prune.ts";
import { keepRun, readMark } from "../../../src/daemon/retention.ts";
import { createRetentionTurn } from "../../../src/daemon/retention-turn.ts";
import { putTag, readTag } from "../../../src/daemon/tags.ts";
import type { Store } from "../../../src/ports.ts";
import { Bucket } from "../../support/bucket.ts";
import { makeJob, makeRun, makeStarted, quietLog } from "../../support/make.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 25);
const OLD = "20261001-000000-aaaaaa";
const OTHER = "20261002-000000-bbbbbb";
const YOUNG = "20261124-000000-cccccc";
const LIMIT = { before: NOW - 30 * DAY, runsMax: 100, objectsMax: 10_000 };

const timeOf = (id: string) =>
  Date.UTC(Number(id.slice(0, 4)), Number(id.slice(4, 6)) - 1, Number(id.slice(6, 8)));

/** A run that succeeded a minute after it began, with what it left in the bucket. */
function finishedRun(id: string, over: Partial<Run> = {}): Run {
  const at = timeOf(id) + 60_000;
  const launch = { token: `t-${id}`, index: 0 };
  const outcome = { type: "succeeded", at, reason: "" } as const;
  return makeRun([makeStarted({ launch, outcome, goneAt: at })], {
    id,
    createdAt: timeOf(id),
    bundle: { key: `runs/${id}/bundle.tar.gz`, bytes: 10 },
    ...over,
  });
}

function makeWorld(runs: readonly Run[] = [OLD, OTHER, YOUNG].map((id) => finishedRun(id))) {
  const bucket = new Bucket(() => NOW);
  for (const run of runs) fill(bucket, run);
  let token = 0;
  const clock = { now: () => NOW };
  const newToken = () => String(++token);
  return { bucket, clock, pruner: { store: bucket as Store, clock, newToken } };
}

function fill(bucket: Bucket, run: Run): void {
  bucket.write(`records/${run.id}.json`, JSON.stringify(run));
  bucket.write(`status/${run.id}.json`, "{}");
  bucket.write(`runs/${run.id}/bundle.tar.gz`, "0123456789");
  bucket.write(`runs/${run.id}/train/1/manifest.json`, "{}");
  bucket.write(`runs/${run.id}/train/1/artifacts/checkpoint`, "weights");
  for (const { launch } of run.attempts) {
    const folder = `launches/${launch.token}/`;
    for (const name of ["launch.json", "0.json", "0.claim"]) bucket.write(folder + name, "{}");
  }
}

const record = (bucket: Bucket, id: string) =>
  JSON.parse(bucket.read(`records/${id}.json`) ?? "{}") as Run;

test("a survey lists old runs with what they hold, and changes nothing", async () => {
  const { bucket, pruner } = makeWorld();
  const before = bucket.keys("");
  const found = await survey(pruner, LIMIT);
  expect(found.due).toEqual([
    { run: OLD, name: "brave-otter-42", finishedAt: timeOf(OLD) + 60_000, objects: 6, bytes: 25 },
    {
      run: OTHER,
      name: "brave-otter-42",
      finishedAt: timeOf(OTHER) + 60_000,
      objects: 6,
      bytes: 25,
    },
  ]);
  expect(bucket.keys("")).toEqual(before);
});

test("a pruned run leaves its record and its status, which say so, and nothing else", async () => {
  const { bucket, pruner } = makeWorld();
  await prune(pruner, LIMIT);
  expect(bucket.keys("").filter((each) => each.includes(OLD))).toEqual([
    `pruned/${OLD}`,
    `records/${OLD}.json`,
    `retention/${OLD}.json`,
    `status/${OLD}.json`,
  ]);
  expect(record(bucket, OLD).pruned).toEqual({ at: NOW, objects: 6, bytes: 25 });
  const view = JSON.parse(bucket.read(`status/${OLD}.json`) ?? "{}") as RunView;
  expect(view).toMatchObject({ state: "succeeded", prunedAt: new Date(NOW).toISOString() });
  expect(bucket.keys(`runs/${YOUNG}/`)).toHaveLength(3);
});

test("a pruned run is not looked at again", async () => {
  const { pruner } = makeWorld();
  await prune(pruner, LIMIT);
  expect(await prune(pruner, LIMIT)).toMatchObject({ due: [], pruned: [], hasMore: false });
});

test("a run that ended not long ago is kept, however long ago it began", async () => {
  const { pruner } = makeWorld([
    finishedRun(OLD, {
      attempts: [
        makeStarted({
          outcome: { type: "succeeded", at: NOW - DAY, reason: "" },
          goneAt: NOW - DAY,
        }),
      ],
    }),
  ]);
  expect((await survey(pruner, LIMIT)).due).toEqual([]);
});

const open = finishedRun(YOUNG, {
  attempts: [],
  jobs: [
    makeJob({
      inputs: [{ type: "set", reference: "train:best", run: OLD, job: "train", attempt: 1 }],
    }),
  ],
});

test.each<[string, (bucket: Bucket) => void, string]>([
  [
    "carries a tag",
    (bucket) =>
      bucket.write("tags/train/best.json", JSON.stringify({ format: 1, run: OLD, sets: [] })),
    "tag train:best",
  ],
  [
    "is an input of an open run",
    (bucket) => {
      bucket.write(`records/${YOUNG}.json`, JSON.stringify(open));
      bucket.write(`open/${YOUNG}`, "");
    },
    `open run ${YOUNG} needs it`,
  ],
  [
    "is needed by a run that is being taken in",
    (bucket) => bucket.write(`pins/${YOUNG}/${OLD}`, ""),
    `run ${YOUNG} is being taken in and needs it`,
  ],
  ["is not closed yet", (bucket) => bucket.write(`open/${OLD}`, ""), "it is not closed yet"],
])("an old run that %s is kept, and the others go", async (_what, refer, why) => {
  const { bucket, pruner } = makeWorld();
  refer(bucket);
  const { pruned, kept } = await prune(pruner, LIMIT);
  expect(kept).toEqual([{ run: OLD, why }]);
  expect(pruned.map(({ run }) => run)).toEqual([OTHER]);
  expect(bucket.keys(`runs/${OLD}/`)).toHaveLength(3);
});

test.each([
  ["a tag", "tags/train/best.json"],
  ["an open run's record", `records/${YOUNG}.json`],
])("while %s cannot be read nothing is pruned", async (_what, key) => {
  const { bucket, pruner } = makeWorld();
  bucket.write(key, '{"format": 2}');
  bucket.write(`open/${YOUNG}`, "");
  const done = await prune(pruner, LIMIT);
  expect(done).toMatchObject({ pruned: [], blockedBy: [key] });
  expect(bucket.keys("retention/")).toEqual([]);
});

test("a run whose own record cannot be read is left alone", async () => {
  const { bucket, pruner } = makeWorld();
  bucket.write(`records/${OLD}.json`, "{}");
  const done = await prune(pruner, LIMIT);
  expect(done.unreadable).toEqual([`records/${OLD}.json`]);
  expect(done.pruned.map(({ run }) => run)).toEqual([OTHER]);
  expect(bucket.keys(`runs/${OLD}/`)).toHaveLength(3);
});

test("a launch that two runs share keeps its frozen input until the second of them goes", async () => {
  const { bucket, pruner } = makeWorld([]);
  const shared = (id: string, index: number) =>
    finishedRun(id, {
      attempts: finishedRun(id).attempts.map((each) => ({
        ...each,
        launch: { token: "t", index },
      })),
    });
  fill(bucket, shared(OLD, 0));
  fill(bucket, shared(OTHER, 1));
  for (const name of ["1.json", "1.claim"]) bucket.write(`launches/t/${name}`, "{}");
  await prune(pruner, { ...LIMIT, runsMax: 1 });
  expect(bucket.keys("launches/")).toEqual([
    "launches/t/1.claim",
    "launches/t/1.json",
    "launches/t/launch.json",
  ]);
  await prune(pruner, LIMIT);
  expect(bucket.keys("launches/")).toEqual([]);
});

test("a pass ends at its bound and says that there is more", async () => {
  const { pruner } = makeWorld();
  const first = await prune(pruner, { ...LIMIT, objectsMax: 1 });
  expect([first.pruned.length, first.hasMore]).toEqual([1, true]);
  const second = await prune(pruner, { ...LIMIT, objectsMax: 10 });
  expect([second.pruned.length, second.hasMore]).toEqual([1, false]);
});

test("a tag on a pruned run is refused, and the tag stays where it was", async () => {
  const { bucket, clock, pruner } = makeWorld();
  const name = { workflow: "train", tag: "best" };
  const sets = [{ job: "train", attempt: 1 }];
  await putTag(bucket, name, { run: YOUNG, sets, clock });
  await prune(pruner, LIMIT);
  expect(await putTag(bucket, name, { run: OLD, sets, clock })).toEqual({ type: "pruned" });
  expect(await readTag(bucket, name)).toMatchObject({ content: { run: YOUNG } });
});

test("whoever refers to a condemned run lifts the mark, and its pruner gives up", async () => {
  const { bucket, clock, pruner } = makeWorld();
  const racing = new Proxy(bucket as Store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        // Just before the point of no return.
        if (name === "put" && String(args[1]).includes('"pruning"'))
          await keepRun(bucket, OLD, clock);
        return method.apply(target, args);
      };
    },
  });
  const done = await prune({ ...pruner, store: racing }, LIMIT);
  expect(done.pruned.map(({ run }) => run)).toEqual([OTHER]);
  expect(await readMark(bucket, OLD)).toMatchObject({ content: { stage: "kept" } });
  expect(bucket.keys(`runs/${OLD}/`)).toHaveLength(3);
});

test("a crash at any call is made good by the next pass", async () => {
  for (let callsLeft = 0; ; callsLeft += 1) {
    const { bucket, pruner } = makeWorld();
    let left = callsLeft;
    const dying = new Proxy(bucket as Store, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        return async (...args: unknown[]) => {
          if (left-- <= 0) throw new Error("crash");
          return method.apply(target, args);
        };
      },
    });
    const crashed = await prune({ ...pruner, store: dying }, LIMIT).then(
      () => false,
      () => true,
    );
    await prune(pruner, LIMIT);
    expect(bucket.keys("pruned/"), `after ${callsLeft} calls`).toEqual([
      `pruned/${OLD}`,
      `pruned/${OTHER}`,
    ]);
    expect(bucket.keys("runs/").every((each) => each.includes(YOUNG))).toBe(true);
    if (!crashed) return;
    expect(callsLeft).toBeLessThan(200);
  }
});

test("the daemon prunes only where a retention is set, and says it once", async () => {
  const { bucket, pruner } = makeWorld();
  const said: string[] = [];
  const log = { ...quietLog, info: (message: string) => void said.push(message) };
  await createRetentionTurn({ ...pruner, log, retentionMs: undefined })();
  expect(bucket.keys("pruned/")).toEqual([]);
  const turn = createRetentionTurn({ ...pruner, log, retentionMs: 30 * DAY });
  for (let count = 0; count < 3; count += 1) await turn();
  expect(bucket.keys("pruned/")).toHaveLength(2);
  expect(said).toEqual(["runs pruned"]);
});
