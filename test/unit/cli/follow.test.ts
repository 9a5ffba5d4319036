import { describe, expect, it } from "vitest";
import { followRun } from "../../../src/cli/follow.ts";
import type { AttemptName } from "../../../src/cli/log-reader.ts";
import { createLogTail } from "../../../src/cli/log-tail.ts";
import { key, logChunk } from "../../../src/core/layout.ts";
import type { RunView } from "../../../src/core/view.ts";
import { CloudError } from "../../../src/errors.ts";
import type { Clock, Store } from "../../../src/ports.ts";
import { type MemoryStore, makeStore } from "../../support/memory-store.ts";
import { makeAttemptView, makeJobView, makeRunView, RUN, secondsIn } from "../../support/views.ts";

const chunkKey = (firstLine: number, job = "train", number = 1): string =>
  key.log(RUN, job, number) + logChunk(firstLine);

function readLog(store: Store, attempt: AttemptName) {
  const clock: Clock = { now: () => 0, sleep: async () => {} };
  const listener = { onLines: () => {}, onOpen: () => {}, onTrouble: () => {} };
  return createLogTail({ store, logs: undefined, clock, attempt, listener }).backlog;
}

async function collect(read: ReturnType<typeof readLog>): Promise<string[]> {
  const all: string[] = [];
  for await (const lines of read()) all.push(...lines.map(({ text }) => text));
  return all;
}

describe("a log", () => {
  const attempt = { run: RUN, job: "train", number: 1 };

  it("is one text, however it was cut into chunks", async () => {
    const store = makeStore({
      [chunkKey(1)]: "one\ntwo\n",
      [chunkKey(3)]: "three\n",
      [chunkKey(4)]: "\nfive\n",
      [chunkKey(1, "train", 2)]: "of another attempt\n",
    });
    expect(await collect(readLog(store, attempt))).toEqual(["one", "two", "three", "", "five"]);
  });

  it("goes on where it was left, without reading anything again", async () => {
    const store = makeStore({ [chunkKey(1)]: "one\ntwo\n" });
    const read = readLog(store, attempt);
    await collect(read);
    await store.put(chunkKey(3), "three\n");
    store.calls.length = 0;
    expect(await collect(read)).toEqual(["three"]);
    expect(store.calls).toEqual([
      `list ${key.log(RUN, "train", 1)} after ${chunkKey(1)}`,
      `find ${chunkKey(3)}`,
    ]);
  });

  it("ends with a line that has no newline", async () => {
    const store = makeStore({ [chunkKey(1)]: "one\ntw" });
    expect(await collect(readLog(store, attempt))).toEqual(["one", "tw"]);
  });

  it("has no line twice where chunks overlap", async () => {
    const store = makeStore({ [chunkKey(1)]: "one\ntwo\n", [chunkKey(2)]: "two\nthree\n" });
    expect(await collect(readLog(store, attempt))).toEqual(["one", "two", "three"]);
  });

  it("tells of lines that are missing", async () => {
    const store = makeStore({
      [chunkKey(1)]: "one\n",
      [chunkKey(4)]: "four\n",
      [chunkKey(6)]: "six\n",
    });
    expect(await collect(readLog(store, attempt))).toEqual([
      "one",
      "errand: lines 2 to 3 were not uploaded",
      "four",
      "errand: line 5 was not uploaded",
      "six",
    ]);
  });

  it("keeps the order of many chunks", async () => {
    const chunks = Array.from({ length: 30 }, (_, at) => [chunkKey(at + 1), `line ${at + 1}\n`]);
    const store = makeStore(Object.fromEntries(chunks));
    expect(await collect(readLog(store, attempt))).toEqual(
      Array.from({ length: 30 }, (_, at) => `line ${at + 1}`),
    );
  });
});

/** Each sleep is one look later: what the daemon and the runner have written meanwhile. */
function makeClock(looks: readonly (() => Promise<unknown>)[]): Clock {
  let now = 0;
  return {
    now: () => now,
    sleep: async (ms) => {
      const next = looks[now / ms];
      if (!next) throw new Error("the run is followed beyond its end");
      await next();
      now += ms;
    },
  };
}

async function follow(looks: readonly ((store: MemoryStore) => Promise<unknown>)[], job?: string) {
  const store = makeStore();
  const told: string[] = [];
  const clock = makeClock(looks.map((look) => () => look(store)));
  const options = { store, clock, run: RUN, pollMs: 100, ...(job === undefined ? {} : { job }) };
  const view = await followRun(
    options,
    {
      onView: (seen) => told.push(`view ${seen.jobs.map((each) => each.state).join(" ")}`),
      onCaughtUp: () => {},
      onLines: (name, lines) => void told.push(...lines.map(({ text }) => `${name} | ${text}`)),
      onWaiting: (waitedMs) => void told.push(`waited ${waitedMs} ms`),
    },
    new AbortController().signal,
  );
  return { view, told };
}

const writeView = (changes: Partial<RunView>) => (store: MemoryStore) =>
  store.put(key.status(RUN), JSON.stringify({ format: 1, ...makeRunView(changes) }));
const writeChunk =
  (firstLine: number, text: string, job = "train") =>
  (store: MemoryStore) =>
    store.put(chunkKey(firstLine, job), text);

const running = makeJobView({
  state: "running",
  attempts: [makeAttemptView({ state: "running", startedAt: secondsIn(1) })],
});
const succeeded = makeJobView({
  state: "succeeded",
  attempts: [
    makeAttemptView({ state: "succeeded", startedAt: secondsIn(1), endedAt: secondsIn(2) }),
  ],
});

describe("a run that is followed", () => {
  it("is told view by view and line by line until it is finished", async () => {
    const { view, told } = await follow([
      writeView({ jobs: [makeJobView()] }),
      writeView({ jobs: [running] }),
      writeChunk(1, "one\n"),
      writeChunk(2, "two\n"),
      writeView({ jobs: [succeeded], state: "succeeded", finishedAt: secondsIn(3) }),
    ]);
    expect(told).toEqual([
      "waited 0 ms",
      "view waiting",
      "view running",
      "train | one",
      "train | two",
      "view succeeded",
    ]);
    expect(view?.state).toBe("succeeded");
  });

  it("is shown with the lines that came in its last look", async () => {
    const { told } = await follow([
      async (store) => {
        await writeChunk(1, "all of it\n")(store);
        await writeView({ jobs: [succeeded], finishedAt: secondsIn(3) })(store);
      },
    ]);
    expect(told).toEqual(["waited 0 ms", "view succeeded", "train | all of it"]);
  });

  it("is not asked for the log of an attempt that has been read to its end", async () => {
    const { told } = await follow([
      async (store) => {
        await writeChunk(1, "end\n")(store);
        await writeView({ jobs: [succeeded, { ...running, name: "other" }] })(store);
      },
      writeChunk(2, "after the end, so not the runner's\n"),
      writeView({ jobs: [succeeded, { ...succeeded, name: "other" }], finishedAt: secondsIn(9) }),
    ]);
    expect(told.filter((line) => line.startsWith("train |"))).toEqual(["train | end"]);
  });

  it("shows the log of one job where one is asked for", async () => {
    const { told } = await follow(
      [
        async (store) => {
          await writeChunk(1, "mine\n", "b")(store);
          await writeChunk(1, "not asked for\n", "a")(store);
          await writeView({
            jobs: [
              { ...succeeded, name: "a" },
              { ...succeeded, name: "b" },
            ],
            finishedAt: secondsIn(3),
          })(store);
        },
      ],
      "b",
    );
    expect(told.filter((line) => line.includes("|"))).toEqual(["b | mine"]);
  });

  it("is followed through a while in which the bucket does not answer, and no longer", async () => {
    const silentWatcher = {
      onView: () => {},
      onCaughtUp: () => {},
      onLines: () => {},
      onWaiting: () => {},
    };
    const followFor = async (silentMs: number) => {
      const store = makeStore();
      await writeView({ jobs: [succeeded], state: "succeeded", finishedAt: secondsIn(3) })(store);
      let now = 0;
      const clock: Clock = {
        now: () => now,
        sleep: async (ms) => {
          now += ms;
        },
      };
      const find: Store["find"] = async (...args) => {
        if (now < silentMs) throw new CloudError("unavailable", "connection refused");
        return store.find(...args);
      };
      const options = { store: { ...store, find }, clock, run: RUN, pollMs: 1_000 };
      return followRun(options, silentWatcher, new AbortController().signal);
    };
    expect((await followFor(30_000))?.state).toBe("succeeded");
    await expect(followFor(90_000)).rejects.toMatchObject({
      message: expect.stringContaining("connection refused"),
      hint: expect.stringContaining(`errand logs ${RUN} --follow`),
    });
  });

  it("is left alone at once when nobody watches any more", async () => {
    const store = makeStore();
    const clock: Clock = { now: () => 0, sleep: async () => {} };
    const watcher = {
      onView: () => {},
      onCaughtUp: () => {},
      onLines: () => {},
      onWaiting: () => {},
    };
    const view = await followRun(
      { store, clock, run: RUN, pollMs: 1 },
      watcher,
      AbortSignal.abort(),
    );
    expect([view, store.calls]).toEqual([undefined, []]);
  });
});
