import { expect, test } from "vitest";
import { makeLaunch } from "../../../src/core/launches.ts";
import { createActor } from "../../../src/daemon/acts.ts";
import { NO_METER } from "../../../src/daemon/meter.ts";
import { CloudError } from "../../../src/errors.ts";
import type { Cloud } from "../../../src/ports.ts";
import { Bucket } from "../../support/bucket.ts";
import { makeAttempt, makeCatalog, makeRun, makeSettings, quietLog } from "../../support/make.ts";

function makeActor(answer: () => Promise<readonly string[]> = async () => ["i-1"]) {
  const clock = { at: 1_000 };
  const bucket = new Bucket(() => clock.at);
  const calls: string[] = [];
  /** What EC2 has of a console, one call after the other. */
  const texts: (string | CloudError)[] = [];
  const cloud: Cloud = {
    readQuotas: async () => ({}),
    readCatalog: async () => makeCatalog(),
    listInstances: async () => [],
    listLaunched: async () => [],
    readConsole: async () => {
      const text = texts.shift() ?? "";
      if (typeof text === "string") return text;
      throw text;
    },
    launch: (launch) => {
      calls.push(`launch ${launch.token}`);
      return answer();
    },
    terminate: async (ids) => {
      calls.push(`terminate ${ids}`);
    },
  };
  const launch = makeLaunch("t1", [{ run: makeRun(), attempt: makeAttempt() }], {
    catalog: makeCatalog(),
    settings: makeSettings(),
    at: 0,
  });
  bucket.write("launches/t1/launch.json", JSON.stringify(launch));
  const bugs: unknown[] = [];
  let news = 0;
  const actor = createActor({
    cloud,
    store: bucket,
    clock: { now: () => clock.at, sleep: async () => {} },
    log: quietLog,
    meter: NO_METER,
    mayAct: () => true,
    onNews: () => {
      news += 1;
    },
    onBug: (error) => bugs.push(error),
    onRefusal: () => {},
  });
  const begin = async (effect: Parameters<typeof actor.begin>[0][number]) => {
    actor.begin([effect], () => true);
    await actor.onIdle();
  };
  return { actor, begin, bucket, bugs, calls, clock, texts, newsCount: () => news };
}

const LAUNCH = { type: "launch", token: "t1" } as const;
const TERMINATE = { type: "terminate", instanceId: "i-1" } as const;

test("an instance that takes its time to end is not asked at every look", async () => {
  const { begin, calls, clock, newsCount } = makeActor();
  for (let count = 0; count < 10; count += 1) await begin(TERMINATE);
  expect(calls).toEqual(["terminate i-1"]);
  expect(newsCount()).toBe(0);
  clock.at += 10_000;
  await begin(TERMINATE);
  expect(calls).toHaveLength(2);
});

test("a throttled launch is sent again later and later, with the same token", async () => {
  const { begin, calls, clock } = makeActor(async () => {
    throw new CloudError("unavailable", "RequestLimitExceeded");
  });
  const sentAt: number[] = [];
  for (; clock.at < 60_000; clock.at += 500) {
    const before = calls.length;
    await begin(LAUNCH);
    if (calls.length > before) sentAt.push(clock.at - 1_000);
  }
  expect(sentAt).toEqual([0, 2_000, 6_000, 14_000, 30_000]);
});

test("a launch that was answered since the look is not sent again", async () => {
  const { actor, begin, calls } = makeActor();
  await begin(LAUNCH);
  await begin(LAUNCH);
  expect(calls).toEqual(["launch t1"]);
  expect(actor.answers.get("t1")).toMatchObject({ type: "launched", instanceIds: ["i-1"] });
});

test("a refusal is an answer only with every claim ours", async () => {
  const refusing = async () => {
    throw new CloudError("refused", "you may not");
  };
  const free = makeActor(refusing);
  await free.begin(LAUNCH);
  expect(free.actor.answers.get("t1")?.type).toBe("refused");
  expect(free.bucket.read("launches/t1/0.claim")).toContain('"by":"daemon"');

  const claimed = makeActor(refusing);
  claimed.bucket.write("launches/t1/0.claim", JSON.stringify({ by: "runner" }));
  await claimed.begin(LAUNCH);
  expect(claimed.actor.answers.size).toBe(0);
});

test.each([
  ["a claim", "launches/t1/0.claim", { type: "void", token: "t1", index: 0 } as const],
  ["a launch", "launches/t1/launch.json", LAUNCH],
])("%s that nobody can read is no bug of the daemon's", async (_what, key, effect) => {
  const { begin, bucket, bugs } = makeActor();
  bucket.write(key, "{");
  await begin(effect);
  expect(bugs).toEqual([]);
});

const CONSOLE = {
  type: "console",
  ...{ token: "t1", index: 0, instanceId: "i-1" },
  ...{ key: "runs/r/train/1/console.txt", until: 61_000 },
} as const;

test("a console is asked for until EC2 has something, kept, and told of once", async () => {
  const { actor, begin, bucket, clock, newsCount, texts } = makeActor();
  texts.push("", new CloudError("unavailable", "no answer"), "kernel panic\n");
  for (let at = 1_000; at < 60_000; at += 1_000) {
    clock.at = at;
    await begin(CONSOLE);
  }
  expect(texts).toEqual([]);
  expect(bucket.read(CONSOLE.key)).toBe("kernel panic\n");
  expect(actor.consoles.get("t1.0")).toMatchObject({ bytes: 13 });
  expect(newsCount()).toBe(1);
});

test.each([
  ["EC2 has nothing of it for a minute", ""],
  ["it may not be read", new CloudError("refused", "not authorized")],
])("a console is none when %s", async (_, answer) => {
  const { actor, begin, bucket, clock, texts } = makeActor();
  texts.push(answer);
  await begin(CONSOLE);
  clock.at = 61_000;
  await begin(CONSOLE);
  expect(actor.consoles.get("t1.0")).toMatchObject({ bytes: 0 });
  expect(bucket.keys("runs/")).toEqual([]);
});
