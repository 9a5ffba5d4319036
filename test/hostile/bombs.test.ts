/** Bombs and floods, and good drops beside them: how long those wait, and how much memory all of it takes. */
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createIntakeQueue } from "../../src/daemon/intake-queue.ts";
import { makeTarGz } from "../support/archives.ts";
import { Bucket } from "../support/bucket.ts";
import { makeClock, quietLog } from "../support/make.ts";
import { makeTgz, type TarEntry, tarEntry, tarHeader } from "../support/tar.ts";
import { makeZip } from "../support/zip.ts";

const DELAY_MS_MAX = 1_000;
const GROWTH_BYTES_MAX = 400e6;
const WORKFLOWS =
  "workflows:\n  - {name: train, provider: curl, url: 'https://a.example/x', output: x}\n";
const FIRST: TarEntry = { name: ".dstack/workflows.yaml", body: WORKFLOWS };

/** So many times the same block of a tar, each a gzip member of its own. */
const repeated = (block: Buffer, times: number): Buffer =>
  Buffer.concat([
    gzipSync(tarEntry(FIRST)),
    ...Array.from({ length: times }, () => gzipped(block)),
  ]);

const known = new Map<Buffer, Buffer>();
function gzipped(block: Buffer): Buffer {
  const made = known.get(block) ?? gzipSync(block);
  known.set(block, made);
  return made;
}

const zeros = tarEntry({ name: "zeros", body: Buffer.alloc(10_000_000) });
const thousand = Buffer.concat(
  Array.from({ length: 1_000 }, (_, index) => tarEntry({ name: `f${index}`, body: "x" })),
);
const attributes = tarEntry({ name: "p", type: "x", body: Buffer.alloc(1e6, "9 a=bcde\n") });

const BOMBS: Readonly<Record<string, () => Buffer>> = {
  "9 GB in parts.tgz": () => repeated(zeros, 900),
  "10 GB at once.tgz": () => makeTgz([FIRST, { name: "zeros", size: 10_000_000_001 }]),
  "a million entries.tgz": () => repeated(thousand, 1_000),
  "headers.tgz": () => repeated(attributes, 100),
  "a header of a terabyte.tgz": () => gzipSync(tarHeader({ name: "p", type: "x", size: 1e12 })),
  "many entries.zip": () =>
    makeZip([
      { name: FIRST.name, body: WORKFLOWS },
      ...Array.from({ length: 60_000 }, (_, index) => ({ name: `f${index}`, method: 0 })),
    ]),
};

function makeDaemonLike() {
  const bucket = new Bucket(Date.now);
  const clock = makeClock(Date.now);
  const bugs: unknown[] = [];
  const stop = new AbortController().signal;
  const queue = createIntakeQueue(
    { store: bucket, clock, log: quietLog, limits: DEFAULT_LIMITS, providers: [] },
    { onTaken: () => {}, onBug: (error) => bugs.push(error), stop },
  );
  return { bucket, bugs, queue };
}

type Like = ReturnType<typeof makeDaemonLike>;

/** Drops a good one every so often until `over`; the longest that one took. */
async function dropGood({ bucket, queue }: Like, over: Promise<unknown>, everyMs: number) {
  const body = await makeTarGz({ ".dstack/workflows.yaml": WORKFLOWS });
  const tookMs: number[] = [];
  const taken: Promise<void>[] = [];
  let isOver = false;
  void over.then(() => {
    isOver = true;
  });
  for (let index = 0; !isOver; index += 1) {
    const key = `drops/train/good-${index}.tgz`;
    bucket.write(key, body);
    const beganAt = performance.now();
    taken.push(
      new Promise((resolve) => {
        queue.take([key], async () => {
          tookMs.push(performance.now() - beganAt);
          resolve();
        });
      }),
    );
    await sleep(everyMs);
  }
  await Promise.all(taken);
  return { count: tookMs.length, maxMs: Math.max(...tookMs) };
}

/** The most memory that was resident at once until `over`, beyond what it was. */
async function watchMemory(over: Promise<unknown>): Promise<number> {
  const before = process.memoryUsage().rss;
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 50);
  await over;
  clearInterval(timer);
  return most - before;
}

async function run(what: string, like: Like, everyMs: number): Promise<void> {
  const alone = await dropGood(like, sleep(2_000), everyMs);
  const bad = like.bucket.keys("drops/");
  const beganAt = performance.now();
  const over = new Promise<void>((resolve) => like.queue.take(bad, async () => resolve()));
  const [beside, growth] = await Promise.all([dropGood(like, over, everyMs), watchMemory(over)]);
  const tookS = (performance.now() - beganAt) / 1_000;
  const figures = `good ones waited ${alone.maxMs.toFixed(0)} ms at most alone, ${beside.maxMs.toFixed(0)} ms beside them`;
  process.stdout.write(
    `${what}: ${bad.length} bad drops in ${tookS.toFixed(1)} s; ${figures} (${beside.count}); ${(growth / 1e6).toFixed(0)} MB more\n`,
  );
  expect(like.bugs).toEqual([]);
  expect(like.bucket.keys("drops/")).toEqual([]);
  expect(beside.maxMs - alone.maxMs).toBeLessThan(DELAY_MS_MAX);
  expect(growth).toBeLessThan(GROWTH_BYTES_MAX);
  expect(like.bucket.keys("open/")).toHaveLength(alone.count + beside.count);
}

test("bombs end with their reasons, in bounded memory, and keep no good drop waiting for a second", async () => {
  const like = makeDaemonLike();
  for (const [name, make] of Object.entries(BOMBS)) {
    const body = make();
    for (let copy = 0; copy < 3; copy += 1) like.bucket.write(`drops/bombs/${copy} ${name}`, body);
  }
  await run("bombs", like, 50);
  const bombs = Object.keys(BOMBS).length * 3;
  // 60,000 entries alone are no reason; but that one lies in a folder that names no workflow of it.
  expect(like.bucket.keys("rejected/")).toHaveLength(bombs);
});

test("ten thousand bad drops keep no good one waiting for a second", async () => {
  const like = makeDaemonLike();
  const bodies = [Buffer.from("no archive"), Buffer.alloc(0), makeTgz([{ name: "../x" }])];
  for (let index = 0; index < 10_000; index += 1) {
    like.bucket.write(`drops/flood/${index}.tgz`, bodies[index % bodies.length] ?? "");
  }
  await run("flood", like, 50);
  expect(like.bucket.keys("rejected/")).toHaveLength(10_000);
});
