import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../../src/core/limits.ts";
import type { Run } from "../../../src/core/run.ts";
import type { RunView } from "../../../src/core/view.ts";
import { type Intake, takeIn } from "../../../src/daemon/intake.ts";
import { createIntakeQueue } from "../../../src/daemon/intake-queue.ts";
import { CloudError } from "../../../src/errors.ts";
import type { Store } from "../../../src/ports.ts";
import { makeTarGz, makeZip } from "../../support/archives.ts";
import { Bucket } from "../../support/bucket.ts";
import { makeClock, makeRun, quietLog } from "../../support/make.ts";

const ID = "20261123-211530-abcdef";
const WORKFLOWS = `
workflows:
  - name: prepare
    provider: python
    python_script: prepare.py
  - name: train
    provider: python
    python_script: train.py
    depends-on: [prepare]
`;

async function makeIntake() {
  const clock = { at: Date.UTC(2026, 10, 23, 21, 15, 30) };
  const bucket = new Bucket(() => clock.at);
  const intake = (store: Store = bucket) => ({
    store,
    clock: makeClock(() => clock.at),
    log: quietLog,
    limits: DEFAULT_LIMITS,
    providers: [],
  });
  const bundle = await makeTarGz({ ".dstack/workflows.yaml": WORKFLOWS, "train.py": "" });
  const record = (id: string) =>
    JSON.parse(bucket.read(`records/${id}.json`) ?? "null") as Run | null;
  const status = (id: string) => JSON.parse(bucket.read(`status/${id}.json`) ?? "null") as RunView;
  const ids = () => bucket.keys("records/").map((key) => key.slice(8, -5));
  return { clock, bucket, intake, bundle, record, status, ids };
}

/** The same store, with something that happens before each call. */
const withHook = (store: Store, hook: (name: string, key: string) => Promise<void>): Store =>
  new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        const [first] = args as [string | { readonly key: string }];
        await hook(String(name), typeof first === "string" ? first : first.key);
        return method.apply(target, args);
      };
    },
  });

test("a drop with a chosen id becomes a run of that id, and the drop is taken away", async () => {
  const { bucket, intake, bundle, record } = await makeIntake();
  await bucket.put(`drops/train/${ID}.tar.gz`, bundle);
  await takeIn(intake(), `drops/train/${ID}.tar.gz`);
  expect(record(ID)?.jobs.map((job) => job.name)).toEqual(["prepare", "train"]);
  expect(record(ID)?.workflows).toEqual(["train"]);
  expect(bucket.keys("drops/")).toEqual([]);
  expect(bucket.keys("open/")).toEqual([`open/${ID}`]);
  expect(bucket.keys("runs/")).toEqual([`runs/${ID}/bundle.tar.gz`]);
});

test("a bundle that is still being read after ten minutes is rejected", async () => {
  const { bucket, intake, bundle, record } = await makeIntake();
  await bucket.put(`drops/${ID}.tar.gz`, bundle);
  let wake = () => {};
  const sleep = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  const slow = withHook(bucket, async (name) => {
    if (name === "open") wake();
  });
  await takeIn({ ...intake(slow), clock: { now: () => 0, sleep } }, `drops/${ID}.tar.gz`);
  expect(record(ID)?.rejected?.[0]).toBe("the bundle could not be read within 10 minutes");
});

test("a job whose role is not on the operator's list makes no run, whatever its sender checked", async () => {
  const { bucket, intake, record } = await makeIntake();
  const workflows =
    "workflows:\n  - {name: a, provider: python, python_script: a.py, role: admin}\n";
  await bucket.put(`drops/${ID}.tar.gz`, await makeTarGz({ ".dstack/workflows.yaml": workflows }));
  const limits = { ...DEFAULT_LIMITS, jobRoles: ["training"] };
  await takeIn({ ...intake(), limits }, `drops/${ID}.tar.gz`);
  expect(record(ID)?.jobs).toEqual([]);
  expect(record(ID)?.rejected).toEqual([
    '.dstack/workflows.yaml:2:60: workflows[a].role: there is no role "admin" for jobs; known roles: training',
  ]);
});

test("a drop without an id gets one from its time, and an event that comes twice makes one run", async () => {
  const { bucket, intake, bundle, ids } = await makeIntake();
  await bucket.put("drops/mine.tgz", bundle);
  await Promise.all([takeIn(intake(), "drops/mine.tgz"), takeIn(intake(), "drops/mine.tgz")]);
  await takeIn(intake(), "drops/mine.tgz");
  expect(ids()).toHaveLength(1);
  expect(ids()[0]).toMatch(/^20261123-211530-[a-z2-7]{6}$/);
});

test("a key that is dropped again is a second run", async () => {
  const { clock, bucket, intake, bundle, ids } = await makeIntake();
  await bucket.put("drops/mine.tgz", bundle);
  await takeIn(intake(), "drops/mine.tgz");
  clock.at += 1_000;
  await bucket.put("drops/mine.tgz", bundle);
  await takeIn(intake(), "drops/mine.tgz");
  expect(ids()).toHaveLength(2);
});

test("a drop that takes another's chosen id becomes a run of its own", async () => {
  const { clock, bucket, intake, bundle, ids } = await makeIntake();
  await bucket.put(`drops/${ID}.tar.gz`, bundle);
  await takeIn(intake(), `drops/${ID}.tar.gz`);
  clock.at += 1_000;
  await bucket.put(`drops/train/${ID}.tar.gz`, bundle);
  await takeIn(intake(), `drops/train/${ID}.tar.gz`);
  expect(ids()).toHaveLength(2);
});

test("two drops with one chosen id at once become two runs, each with its own bundle", async () => {
  const { bucket, intake, bundle, ids, record } = await makeIntake();
  const other = await makeTarGz({ ".dstack/workflows.yaml": WORKFLOWS, "train.py": "other" });
  await bucket.put(`drops/${ID}.tar.gz`, bundle);
  await bucket.put(`drops/train/${ID}.tar.gz`, other);
  const bugs: unknown[] = [];
  const stop = new AbortController().signal;
  const queue = createIntakeQueue(intake(), {
    onTaken: () => {},
    onBug: (e) => bugs.push(e),
    stop,
  });
  await new Promise<void>((resolve) => queue.take(bucket.keys("drops/"), async () => resolve()));
  expect(bugs).toEqual([]);
  expect(ids()).toHaveLength(2);
  for (const id of ids()) {
    const { drop, bundle: kept } = record(id) ?? makeRun();
    const expected = drop.key.includes("train") ? other : bundle;
    expect((await bucket.find(kept.key))?.body).toEqual(expected);
  }
});

test("a bundle that is overwritten while it is read stays as a second drop", async () => {
  const { bucket, intake, bundle, ids } = await makeIntake();
  await bucket.put("drops/mine.tgz", bundle);
  const meddled = withHook(bucket, async (name, key) => {
    if (name === "put" && key.startsWith("records/")) await bucket.put("drops/mine.tgz", bundle);
  });
  await takeIn(intake(meddled), "drops/mine.tgz");
  expect(ids()).toHaveLength(1);
  expect(bucket.keys("drops/")).toEqual(["drops/mine.tgz"]);
});

test.each([
  ["no archive", "drops/notes.txt", "hello", /notes\.txt is not a bundle/],
  ["a broken archive", "drops/x.tar.gz", "hello", /./],
  ["a folder too deep", "drops/a/b/c.tar.gz", "hello", /lies too deep/],
])(
  "a drop that is %s ends as a failed run with its reason, and is kept",
  async (_what, key, body, reason) => {
    const { bucket, intake, ids, status } = await makeIntake();
    await bucket.put(key, body);
    await takeIn(intake(), key);
    const [id = ""] = ids();
    expect(status(id).state).toBe("failed");
    expect(status(id).problems.join("\n")).toMatch(reason);
    expect(bucket.keys("rejected/")).toEqual([`rejected/${id}/${key.slice("drops/".length)}`]);
    expect(bucket.keys("open/")).toEqual([]);
    expect(bucket.keys("drops/")).toEqual([]);
  },
);

test("a bad drop whose key is as long as keys can be is kept, under a hash of its name", async () => {
  const { bucket, intake, ids, record } = await makeIntake();
  const dropKey = `drops/${"ü".repeat(500)}.tar.gz`;
  await bucket.put(dropKey, "hello");
  await takeIn(intake(), dropKey);
  const [kept = ""] = bucket.keys("rejected/");
  expect(kept).toMatch(/^rejected\/[^/]+\/%long\/[0-9a-f]{64}$/);
  expect(bucket.read(kept)).toBe("hello");
  expect(record(ids()[0] ?? "")?.drop.key).toBe(dropKey);
  expect(bucket.keys("drops/")).toEqual([]);
});

/** S3 that refuses some copies, as it does where a KMS key is not ours to use. */
const refusing = (
  bucket: Bucket,
  isRefused: (name: string, key: string, more: unknown) => boolean,
): Store =>
  new Proxy<Store>(bucket, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        const from = typeof args[0] === "string" ? args[0] : (args[0] as { key: string }).key;
        if (isRefused(String(name), from, args[1])) {
          throw new CloudError("refused", `copying ${from}: no kms:Decrypt (AccessDenied)`);
        }
        return method.apply(target, args);
      };
    },
  });

describe("a drop that S3 does not give out", () => {
  test.each([
    ["at its copy", ["copy"]],
    ["at its copy and its head", ["copy", "findInfo"]],
  ])(
    "is told as a failed run when it is refused %s, stays where it is, and is told once",
    async (_what, refused) => {
      const { bucket, intake, bundle, ids, status } = await makeIntake();
      await bucket.put("errand.json", "{}");
      await bucket.put("drops/train/locked.tgz", bundle);
      const store = refusing(
        bucket,
        (name, key) => refused.includes(name) && key.startsWith("drops/"),
      );
      await takeIn(intake(store), "drops/train/locked.tgz");
      const before = bucket.keys("");
      expect(before).toEqual([
        "drops/train/locked.tgz",
        "errand.json",
        `records/${ids()[0]}.json`,
        `status/${ids()[0]}.json`,
      ]);
      const { state, workflows, problems } = status(ids()[0] ?? "");
      expect({ state, workflows }).toEqual({ state: "failed", workflows: ["train"] });
      expect(problems.join("\n")).toMatch(
        /^S3 does not give it out: .*no kms:Decrypt.*\nIt still lies at drops\/train\/locked\.tgz\. Let/,
      );
      const calls: string[] = [];
      const counted = withHook(store, async (name) => void calls.push(name));
      await takeIn(intake(counted), "drops/train/locked.tgz");
      expect(bucket.keys("")).toEqual(before);
      expect(calls.filter((name) => !/^(find|list)/.test(name))).toEqual([]);
    },
  );

  test("waits when S3 refuses every copy: that is the operator's to mend", async () => {
    const { bucket, intake, bundle, ids } = await makeIntake();
    await bucket.put("errand.json", "{}");
    await bucket.put("drops/mine.tgz", bundle);
    const taking = takeIn(intake(refusing(bucket, (name) => name === "copy")), "drops/mine.tgz");
    await expect(taking).rejects.toThrow("no kms:Decrypt");
    expect(ids()).toEqual([]);
    await takeIn(intake(), "drops/mine.tgz");
    expect(ids()).toHaveLength(1);
  });
});

describe("drops that take long", () => {
  test("do not keep a short one behind them from its turn", async () => {
    const { bucket, intake, bundle, ids } = await makeIntake();
    const large = new Uint8Array(64e6 + 1);
    for (let count = 0; count < 12; count += 1) await bucket.put(`drops/large-${count}.tgz`, large);
    await bucket.put("drops/small.tgz", bundle);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const stuck = withHook(bucket, async (name, key) => {
      if (name === "copy" && key.startsWith("drops/large-")) await released;
    });
    const taker = makeTaker(intake(stuck));
    const done = taker.take(bucket.keys("drops/large-"));
    await taker.take(["drops/small.tgz"]);
    expect(ids()).toHaveLength(1);
    release();
    await done;
    expect(ids()).toHaveLength(13);
  });
});

test("drops of one folder wait behind each other, and not those of another behind them", async () => {
  const { bucket, intake, bundle, ids, record } = await makeIntake();
  for (let count = 0; count < 300; count += 1) await bucket.put(`drops/flood/${count}.tgz`, "x");
  await bucket.put("drops/train/good.tgz", bundle);
  await bucket.put(`drops/flood/${ID}.tgz`, bundle);
  const order: string[] = [];
  const watched = withHook(bucket, async (name, key) => {
    if (name === "put" && key.startsWith("records/")) order.push(key.slice(8, -5));
  });
  await makeTaker(intake(watched)).take(bucket.keys("drops/"));
  expect(ids()).toHaveLength(302);
  const places = order.map((id) => record(id)?.drop.key);
  expect(places.indexOf("drops/train/good.tgz")).toBeLessThan(20);
  expect(places.indexOf(`drops/flood/${ID}.tgz`)).toBeLessThan(20);
});

/** A queue; `take` resolves when all of these are taken in. */
function makeTaker(intake: Intake) {
  let onBug = (_: unknown) => {};
  const stop = new AbortController().signal;
  const queue = createIntakeQueue(intake, { onTaken: () => {}, onBug: (e) => onBug(e), stop });
  const take = (keys: readonly string[]) =>
    new Promise<void>((resolve, reject) => {
      onBug = reject;
      queue.take(keys, async () => resolve());
    });
  return { take };
}

test("a zip is taken in as well as a tar", async () => {
  const { bucket, intake, record } = await makeIntake();
  await bucket.put(`drops/train/${ID}.zip`, makeZip({ ".dstack/workflows.yaml": WORKFLOWS }));
  await takeIn(intake(), `drops/train/${ID}.zip`);
  expect(record(ID)?.rejected).toBeUndefined();
  expect(record(ID)?.bundle.key).toBe(`runs/${ID}/bundle.zip`);
  expect(record(ID)?.jobs.map((job) => job.name)).toEqual(["prepare", "train"]);
});

test("an unknown workflow in the key is told with the place and the cure", async () => {
  const { bucket, intake, bundle, status } = await makeIntake();
  await bucket.put(`drops/trian/${ID}.tar.gz`, bundle);
  await takeIn(intake(), `drops/trian/${ID}.tar.gz`);
  expect(status(ID).problems.join("\n")).toMatch(/"trian".*train/s);
});

test("a crash at any call is made good by taking the drop in again", async () => {
  for (let callsLeft = 0; ; callsLeft += 1) {
    const { bucket, intake, bundle, ids } = await makeIntake();
    await bucket.put("drops/mine.tgz", bundle);
    let left = callsLeft;
    const dying = withHook(bucket, async () => {
      if (left === 0) throw new Error("crash");
      left -= 1;
    });
    const crashed = await takeIn(intake(dying), "drops/mine.tgz").then(
      () => false,
      () => true,
    );
    await takeIn(intake(), "drops/mine.tgz");
    expect([ids().length, bucket.keys("open/").length, bucket.keys("drops/").length]).toEqual([
      1, 1, 0,
    ]);
    if (!crashed) return;
    expect(callsLeft).toBeLessThan(30);
  }
});
