import { describe, expect, test } from "vitest";
import {
  attemptState,
  isFinished,
  jobReason,
  jobStates,
  runState,
} from "../../../src/core/states.ts";
import {
  makeAttempt,
  makeJob,
  makeLaunched,
  makeResources,
  makeRun,
  makeStarted,
} from "../../support/make.ts";

const ended = (type: "succeeded" | "failed" | "timed-out" | "cancelled" | "lost", reason = "") =>
  makeStarted({ outcome: { type, at: 5, reason }, goneAt: 6 });
const ran = { at: 3, exitCode: 0 };

describe("an attempt is", () => {
  test.each([
    ["launching", "before EC2 has answered", makeAttempt()],
    ["booting", "before its runner has reported", makeLaunched()],
    ["running", "once its runner has reported", makeStarted()],
    ["uploading", "once its command has ended", makeStarted({ ran })],
    ["succeeded", "by its outcome", ended("succeeded")],
  ])("%s %s", (state, _when, attempt) => {
    expect(attemptState(attempt)).toBe(state);
  });
});

describe("a job is", () => {
  const retrying = { resources: makeResources({ retry: { lost: 1, failed: 1 } }) };
  const cancel = { at: 1, now: false };
  test.each([
    ["waiting", "before its first attempt", makeRun()],
    ["starting", "while its machine boots", makeRun([makeLaunched()])],
    ["running", "while its command runs", makeRun([makeStarted()])],
    ["uploading", "after its command has ended", makeRun([makeStarted({ ran })])],
    ["failed", "when its last try has failed", makeRun([ended("failed")])],
    [
      "waiting",
      "when it may try a failure again",
      makeRun([ended("failed")], { jobs: [makeJob(retrying)] }),
    ],
    ["lost", "when it may try a lost machine again", makeRun([ended("lost")])],
    [
      "failed",
      "when it was lost too often",
      makeRun([ended("lost"), ended("lost"), ended("lost")]),
    ],
    ["timed-out", "when it ran too long", makeRun([ended("timed-out")])],
    ["cancelled", "when its run was cancelled before it began", makeRun([], { cancel })],
    [
      "cancelled",
      "when its run was cancelled between two tries",
      makeRun([ended("lost")], { cancel }),
    ],
    [
      "failed",
      "when it was ended by a decision",
      makeRun([], { verdicts: [{ job: "train", at: 1, reason: "nothing fits" }] }),
    ],
  ])("%s %s", (state, _when, run) => {
    expect(jobStates(run).get("train")).toBe(state);
  });

  test("skipped when what it needs has failed, through any number of jobs, with the reason", () => {
    const jobs = [
      makeJob(),
      makeJob({ name: "score", needs: ["train"] }),
      makeJob({ name: "report", needs: ["score"] }),
    ];
    const run = makeRun([ended("failed", "exit code 3")], { jobs });
    const states = jobStates(run);
    expect([...states.values()]).toEqual(["failed", "skipped", "skipped"]);
    expect(jobs.map((job) => jobReason(run, job, states))).toEqual([
      "exit code 3",
      "train failed",
      "score was skipped",
    ]);
  });
});

test("the states of a thousand jobs that all need each other's layer take one pass", () => {
  const layer = (depth: number) =>
    Array.from({ length: 10 }, (_, index) =>
      makeJob({
        name: `${depth}.${index}`,
        needs: depth === 0 ? [] : Array.from({ length: 10 }, (__, need) => `${depth - 1}.${need}`),
      }),
    );
  const jobs = Array.from({ length: 100 }, (_, depth) => layer(depth)).flat();
  const failed = makeStarted({
    job: "0.0",
    outcome: { type: "failed", at: 1, reason: "" },
    goneAt: 1,
  });
  const states = jobStates(makeRun([failed], { jobs }));
  expect([...states.values()].filter((state) => state === "skipped")).toHaveLength(990);
});

describe("a run is", () => {
  test.each([
    ["queued", "before its first attempt", makeRun()],
    ["running", "while an attempt is under way", makeRun([makeStarted()])],
    [
      "running",
      "while a machine of its last job is not gone",
      makeRun([makeStarted({ outcome: { type: "succeeded", at: 5, reason: "" } })]),
    ],
    ["succeeded", "when every job has succeeded", makeRun([ended("succeeded")])],
    ["failed", "when a job has failed", makeRun([ended("failed")])],
    ["cancelled", "when a job was cancelled", makeRun([ended("cancelled")])],
    ["failed", "when its drop was no bundle", makeRun([], { jobs: [], rejected: ["no"] })],
  ])("%s %s", (state, _when, run) => {
    expect(runState(run)).toBe(state);
    expect(isFinished(run)).toBe(!["queued", "running"].includes(state));
  });
});
