import { beforeEach, describe, expect, test } from "vitest";
import type { Launch } from "../../../src/core/launches.ts";
import type { Instance } from "../../../src/core/observation.ts";
import type { Run } from "../../../src/core/run.ts";
import { type Sweeper, sweep } from "../../../src/daemon/sweep.ts";
import { beginLeftovers } from "../../../src/daemon/sweep-leftovers.ts";
import { CloudError } from "../../../src/errors.ts";
import type { Cloud, Upload } from "../../../src/ports.ts";
import { Bucket } from "../../support/bucket.ts";
import { makeAttempt, makeInstance, makeRun } from "../../support/make.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const RUN = "20261123-211530-abcdef";

let now = 0;
let bucket: Bucket;
let instances: Instance[] = [];
let uploads: Upload[] = [];
let terminated: string[] = [];
let told: string[] = [];
let sweeper: Sweeper;

beforeEach(() => {
  now = Date.UTC(2026, 10, 23);
  bucket = new Bucket(() => now);
  instances = [];
  uploads = [];
  terminated = [];
  told = [];
  bucket.write("errand.json", '{"format":1,"installation":"home"}');
  sweeper = makeSweeper();
});

function makeSweeper(): Sweeper {
  const tell = (message: string) => void told.push(message);
  const cloud = {
    listInstances: async () => instances,
    terminate: async (ids: readonly string[]) => void terminated.push(...ids),
  } as unknown as Cloud;
  return {
    cloud,
    store: bucket,
    uploads: {
      list: async (prefix, limit) =>
        uploads.filter(({ key }) => key.startsWith(prefix)).slice(0, limit),
      abort: async ({ id }) => {
        uploads = uploads.filter((each) => each.id !== id);
      },
    },
    clock: { now: () => now, sleep: async () => {} },
    log: { debug: tell, info: tell, warn: tell, error: tell },
    installation: "home",
    missingLaunches: new Map(),
    leftovers: beginLeftovers(now),
    told: new Set(),
  };
}

const write = (key: string, content: object) => void bucket.write(key, JSON.stringify(content));

const LAUNCH: Omit<Launch, "token" | "createdAt" | "attempts"> = {
  format: 1,
  input: {
    instanceType: "m7i.large",
    zone: "us-east-1a",
    subnetId: "subnet-a",
    imageId: "ami-cpu",
    rootDeviceName: "/dev/xvda",
    diskGib: 100,
    instanceProfile: "errand",
    securityGroupIds: [],
    tags: {},
    userData: { bucket: "b", region: "us-east-1", endpoint: "", scriptSha256: "s" },
  },
};

/** A launch with an order for each of its attempts. */
function writeLaunch(token: string, count = 1): void {
  const attempts = Array.from({ length: count }, () => ({ run: RUN, job: "train", number: 1 }));
  write(`launches/${token}/launch.json`, { ...LAUNCH, token, createdAt: now, attempts });
  for (let index = 0; index < count; index += 1) write(`launches/${token}/${index}.json`, {});
}

const writeRun = (run: Run) => write(`records/${run.id}.json`, run);

async function sweepAfter(ms: number): Promise<void> {
  now += ms;
  await sweep(sweeper);
}

const makeUpload = (key: string): Upload => ({ key, id: `of ${key}`, startedAt: now });

describe("orphans by their tag", () => {
  test("an instance whose launch is missing twice, five minutes apart, is terminated and told once", async () => {
    instances = [makeInstance({ id: "i-1", token: "gone" })];
    await sweepAfter(0);
    expect(terminated).toEqual([]);
    await sweepAfter(5 * 60_000);
    expect(terminated).toEqual(["i-1"]);
    expect(told).toEqual(["orphans terminated"]);
  });

  test("more than five at once are held, and told once as long as they are the same", async () => {
    instances = Array.from({ length: 6 }, (_, index) =>
      makeInstance({ id: `i-${index}`, token: `gone-${index}` }),
    );
    for (let times = 0; times < 4; times += 1) await sweepAfter(5 * 60_000);
    expect(terminated).toEqual([]);
    expect(told).toEqual(["orphans held"]);
    instances = [...instances, makeInstance({ id: "i-9", token: "gone-9" })];
    for (let times = 0; times < 3; times += 1) await sweepAfter(5 * 60_000);
    expect(told).toEqual(["orphans held", "orphans held"]);
  });

  test("nothing is touched in the bucket of another installation, which is told once", async () => {
    write("errand.json", { format: 1, installation: "another" });
    instances = [makeInstance({ id: "i-1", token: "gone" })];
    for (let times = 0; times < 3; times += 1) await sweepAfter(10 * 60_000);
    expect([terminated, told]).toEqual([[], ["bucket of another installation"]]);
  });
});

describe("orders without attempts", () => {
  test("are voided and removed a day after their launch, and told once", async () => {
    writeLaunch("lost", 2);
    await sweepAfter(DAY - HOUR);
    expect(bucket.keys("launches/")).toHaveLength(3);
    await sweepAfter(2 * HOUR);
    expect(bucket.keys("launches/")).toEqual([]);
    await sweepAfter(2 * HOUR);
    expect(told).toEqual(["orders without attempts removed"]);
  });

  test("are voided before they are removed, so that no late machine carries one out", async () => {
    writeLaunch("lost");
    const remove = bucket.remove.bind(bucket);
    bucket.remove = async (key: string) => {
      if (/\d\.json$/.test(key)) expect(bucket.read("launches/lost/0.claim")).toContain("daemon");
      await remove(key);
    };
    await sweepAfter(2 * DAY);
    expect(bucket.keys("launches/")).toEqual([]);
  });

  test.each<[string, () => void]>([
    [
      "a record holds one of them",
      () => {
        const attempt = makeAttempt({ launch: { ...makeAttempt().launch, token: "held" } });
        writeRun(makeRun([attempt], { id: RUN }));
      },
    ],
    ["the record cannot be read", () => void bucket.write(`records/${RUN}.json`, "{")],
    ["a machine of theirs lives", () => void instances.push(makeInstance({ token: "held" }))],
  ])("stay when %s", async (_, prepare) => {
    writeLaunch("held");
    prepare();
    now += 2 * DAY;
    await sweep(sweeper);
    expect(bucket.keys("launches/held/")).toContain("launches/held/0.json");
  });

  test("of many are removed in parts, and none is forgotten", async () => {
    for (let index = 0; index < 450; index += 1)
      writeLaunch(`lost-${String(index).padStart(3, "0")}`);
    now += DAY;
    await sweepAfter(HOUR);
    expect(told).toHaveLength(200);
    for (let times = 0; times < 3; times += 1) await sweepAfter(HOUR);
    expect([told.length, bucket.keys("launches/")]).toEqual([450, []]);
  });

  test("a crash at any call is made good by the next sweep", async () => {
    for (let calls = 0; ; calls += 1) {
      bucket = new Bucket(() => now);
      sweeper = makeSweeper();
      writeLaunch("lost", 2);
      let left = calls;
      const die = () => {
        if (left === 0) throw new Error("crash");
        left -= 1;
      };
      const whole = sweeper;
      const remove = bucket.remove.bind(bucket);
      const put = bucket.put.bind(bucket);
      bucket.remove = async (key) => {
        die();
        await remove(key);
      };
      bucket.put = async (...words) => {
        die();
        return put(...words);
      };
      const crashed = await sweepAfter(2 * DAY).then(
        () => false,
        () => true,
      );
      left = Number.POSITIVE_INFINITY;
      sweeper = { ...whole, leftovers: beginLeftovers(now) };
      await sweepAfter(2 * HOUR);
      expect(bucket.keys("launches/")).toEqual([]);
      if (!crashed) return;
      expect(calls).toBeLessThan(20);
    }
  });
});

describe("what is left in the inbox", () => {
  const report = (run: string) => ({
    ...{ format: 1, stage: "started", token: "t", index: 0, run, job: "train", attempt: 1 },
    ...{ instanceId: "i-1", at: 5, bootMs: 1 },
  });

  test("a report of a run without a record is kept for a day, then put away and told", async () => {
    write("inbox/reports/t.0.started.json", report(RUN));
    await sweepAfter(DAY - 1);
    expect(told).toEqual([]);
    await sweepAfter(2);
    await sweepAfter(HOUR);
    expect(bucket.keys("inbox/")).toEqual([]);
    expect(bucket.keys("rejected/")).toEqual(["rejected/inbox/reports/t.0.started.json"]);
    expect(told).toEqual(["report rejected"]);
  });

  test("a report that nobody can read is put away at once, however long its key", async () => {
    bucket.write(`inbox/reports/${"ü".repeat(503)}`, "rubbish");
    await sweepAfter(0);
    expect(bucket.keys("inbox/")).toEqual([]);
    expect(bucket.keys("rejected/")[0]).toMatch(/^rejected\/%long\/[0-9a-f]{64}$/);
  });

  test("reports and cancels of a finished run go, those of an open one stay", async () => {
    writeRun(makeRun([], { id: RUN, rejected: ["bad"] }));
    const open = "20261123-211530-bbbbbb";
    writeRun(makeRun([], { id: open }));
    for (const run of [RUN, open]) {
      write(`inbox/reports/${run}.0.started.json`, report(run));
      write(`inbox/cancel/${run}`, { now: false, at: now });
    }
    await sweepAfter(40 * DAY);
    expect(bucket.keys("inbox/")).toEqual([
      `inbox/cancel/${open}`,
      `inbox/reports/${open}.0.started.json`,
    ]);
  });

  test("a cancel of a run that never comes is kept for thirty days", async () => {
    write(`inbox/cancel/${RUN}`, { now: false, at: now });
    await sweepAfter(30 * DAY);
    expect(bucket.keys("inbox/")).toHaveLength(1);
    await sweepAfter(HOUR);
    expect([bucket.keys("inbox/"), told]).toEqual([[], ["cancel without a run removed"]]);
  });
});

describe("uploads left open", () => {
  test("are aborted a day after they began, where we write, and told once", async () => {
    const ours = ["runs/a/b/1/artifacts/c", "rejected/x", "tools/uv/1/x"].map(makeUpload);
    const others = ["elsewhere/x", "drops/mine.zip"].map(makeUpload);
    uploads = [...ours, ...others];
    await sweepAfter(DAY - 1);
    expect(uploads).toHaveLength(5);
    await sweepAfter(HOUR + 1);
    expect(uploads).toEqual(others);
    await sweepAfter(2 * HOUR);
    expect(told).toEqual(["uploads left open aborted"]);
    await sweepAfter(7 * DAY);
    expect(uploads).toEqual(others.slice(0, 1));
  });

  test("are looked for once an hour, and in parts", async () => {
    uploads = Array.from({ length: 250 }, (_, index) => makeUpload(`runs/${index}`));
    now += 2 * DAY;
    for (const left of [150, 150, 50]) {
      await sweepAfter(HOUR / 2);
      expect(uploads).toHaveLength(left);
    }
  });

  test("are left alone when S3 does not let them be listed, which is told once", async () => {
    const refused = async () => Promise.reject(new CloudError("refused", "no right"));
    sweeper = { ...sweeper, uploads: { list: refused, abort: refused } };
    for (let times = 0; times < 3; times += 1) await sweepAfter(HOUR);
    expect(told).toEqual(["uploads not swept"]);
  });
});
