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
  const cloud: Cloud = {
    readCatalog: async () => makeCatalog(),
    listInstances: async () => [],
    listLaunched: async () => [],
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
  return { actor, begin, bucket, bugs, calls, clock, newsCount: () => news };
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
