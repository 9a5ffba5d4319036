import { describe, expect, it } from "vitest";
import { listRuns, readViews } from "../../../src/cli/read-runs.ts";
import { findRun, selectRun } from "../../../src/cli/select-run.ts";
import { runName } from "../../../src/daemon/names.ts";
import { makeRun } from "../../support/make.ts";
import { makeStore } from "../../support/memory-store.ts";
import { makeRunView } from "../../support/views.ts";

const ids = ["20261122-090000-aaaaaa", "20261123-090000-bbbbbb", "20261123-100000-cccccc"];
const [first = "", second = "", last = ""] = ids;

describe("a run that is meant", () => {
  it.each([
    ["its id", second, second],
    ["a prefix that no other begins with", "20261122", first],
    ["its name", runName(second), second],
    ["latest", "latest", last],
  ])("is found by %s", (_, reference, id) => {
    expect(selectRun(reference, ids)).toBe(id);
  });

  it("is refused, with what it could be, when a prefix fits several", () => {
    expect(() => selectRun("20261123", ids)).toThrow(
      `"20261123" fits 2 runs: ${second} (${runName(second)}), ${last} (${runName(last)})`,
    );
  });

  it("is refused when nothing is like it", () => {
    expect(() => selectRun("brave", ids)).toThrow('there is no run "brave"');
  });

  it("is refused when there are none", () => {
    expect(() => selectRun("latest", [])).toThrow("there are no runs yet");
  });
});

describe("a run in the bucket", () => {
  const stored = (id: string) => ({ format: 1, ...makeRunView({ id, name: runName(id) }) });

  it("is read by its whole id without any listing", async () => {
    const store = makeStore({ [`status/${first}.json`]: stored(first) });
    expect(await findRun(store, first)).toEqual(makeRunView({ id: first, name: runName(first) }));
    expect(store.calls).toEqual([`find status/${first}.json`]);
  });

  it("is a queued one while its drop waits to be taken in", async () => {
    const store = makeStore({
      [`status/${first}.json`]: stored(first),
      [`drops/train/${last}.tar.gz`]: "bundle",
    });
    expect(await findRun(store, "latest")).toMatchObject({
      id: last,
      name: runName(last),
      state: "queued",
      workflows: ["train"],
      createdAt: "2026-11-23T10:00:00.000Z",
      finishedAt: null,
      jobs: [],
    });
  });

  it("shows its view rather than its drop, where intake is not through", async () => {
    const store = makeStore({
      [`status/${first}.json`]: { ...stored(first), state: "running" },
      [`drops/${first}.tar.gz`]: "bundle",
    });
    expect(await findRun(store, runName(first))).toMatchObject({ state: "running" });
  });

  it("is known from its record, where it is taken in and the daemon has told nothing of it yet", async () => {
    const record = makeRun([], { id: last, workflows: ["train"] });
    const store = makeStore({
      [`status/${first}.json`]: stored(first),
      [`open/${second}`]: { format: 1 },
      [`open/${last}`]: { format: 1 },
      [`records/${last}.json`]: record,
    });
    expect(await findRun(store, "latest")).toMatchObject({
      ...{ id: last, state: "queued", workflows: ["train"] },
      jobs: record.jobs.map(({ name }) => ({ name, state: "waiting" })),
    });
    expect((await listRuns(store)).waiting.map(({ id }) => id)).toEqual([last]);
  });

  it("has the id that intake will derive, where its drop brings none", async () => {
    const store = makeStore({ "drops/train/mine.zip": "bundle" });
    const { id } = await findRun(store, "latest");
    expect(id).toMatch(/^19700101-000000-[a-z2-7]{6}$/);
    expect((await findRun(store, id)).workflows).toEqual(["train"]);
  });

  it("that nobody can read is told by its key, and hides no other", async () => {
    const store = makeStore({
      [`status/${first}.json`]: "{",
      [`status/${second}.json`]: stored(second),
    });
    await expect(findRun(store, first)).rejects.toThrow(
      `status/${first}.json in the bucket is damaged`,
    );
    const told: string[] = [];
    const views = await readViews(store, [first, second], ({ message }) => told.push(message));
    expect(views.map(({ id }) => id)).toEqual([second]);
    expect(told).toEqual([`status/${first}.json in the bucket is damaged`]);
  });

  it("of a format that is not known is refused", async () => {
    const store = makeStore({ [`status/${first}.json`]: { ...stored(first), format: 2 } });
    await expect(findRun(store, first)).rejects.toThrow("was written in format 2");
  });
});
