import { describe, expect, test } from "vitest";
import {
  ABSENT_MS,
  ANSWER_MS,
  BOOT_MS,
  GRACE_MS,
  PATIENCE_MS,
  TERMINATE_MS,
} from "../../../src/core/settle.ts";
import { step } from "../../../src/core/step.ts";
import {
  HOUR,
  MINUTE,
  makeAttempt,
  makeFinishedReport,
  makeInstance,
  makeJob,
  makeLaunched,
  makeLook,
  makeOffer,
  makeResources,
  makeRun,
  makeStarted,
  makeStartedReport,
} from "../../support/make.ts";

const dead = (stateReason: string) => makeInstance({ state: "terminated", stateReason });
const refused = (kind: "no-capacity" | "quota" | "refused", size = 1) =>
  new Map([["t1", { type: "refused", at: 0, kind, code: "Code", message: "why", size } as const]]);
const onlyAttempt = (run: ReturnType<typeof makeRun>) => run.attempts[0];

describe("the outcome of an attempt is", () => {
  const claimed = new Map([["t1.0", "claimed"]] as const);
  const voided = new Map([["t1.0", "voided"]] as const);
  test.each([
    ["succeeded", "its runner reported so", makeStarted(), { reports: [makeFinishedReport()] }],
    [
      "succeeded",
      "it reported, and then its instance died",
      makeStarted(),
      { reports: [makeFinishedReport()], instances: [dead("Server.InternalError")] },
    ],
    [
      "failed",
      "its runner reported a failure",
      makeStarted(),
      { reports: [makeFinishedReport({ outcome: "failed", reason: "exit code 3" })] },
    ],
    [
      "lost",
      "its instance died without a report",
      makeStarted(),
      { instances: [dead("Server.X")] },
    ],
    [
      "lost",
      "its instance died before the claim, and the daemon took the claim",
      makeLaunched(),
      { instances: [dead("Server.X")], claims: voided },
    ],
    [
      "lost",
      "its instance died, and the runner had taken the claim",
      makeLaunched(),
      { instances: [dead("Server.X")], claims: claimed },
    ],
    [
      "cancelled",
      "somebody else terminated its instance",
      makeStarted(),
      { instances: [dead("Client.UserInitiatedShutdown: User initiated")] },
    ],
    [
      "failed",
      "EC2 took back a launch for something of ours",
      makeLaunched({ claimedAt: 0 }),
      { instances: [dead("Client.VolumeLimitExceeded: Volume limit exceeded")] },
    ],
    [
      "lost",
      "EC2 has not listed its instance for two minutes",
      makeStarted({ missingSince: 0 }),
      { at: ABSENT_MS + 1 },
    ],
    ["lost", "it never claimed its order", makeLaunched(), { at: BOOT_MS + 1, claims: voided }],
    [
      "lost",
      "EC2 gave no definite answer for an hour",
      makeAttempt(),
      { at: ANSWER_MS + 1, claims: voided },
    ],
    [
      "timed-out",
      "its machine is past everything its order allows",
      makeStarted(),
      { at: 4 * HOUR, instances: [makeInstance()] },
    ],
    [
      "cancelled",
      "the run was cancelled before the claim",
      makeLaunched(),
      { cancel: { now: false, at: 0 }, claims: voided },
    ],
    [
      "cancelled",
      "the run was cancelled at once",
      makeStarted(),
      { cancel: { now: true, at: 0 }, instances: [makeInstance()] },
    ],
    [
      "cancelled",
      "a job that was asked to stop does not for too long",
      makeStarted({ stop: { at: 0, reason: "cancelled", now: false } }),
      { at: GRACE_MS + PATIENCE_MS + 1, instances: [makeInstance()] },
    ],
  ])("%s, when %s", (outcome, _when, attempt, seen) => {
    const { run } = step(makeRun([attempt]), makeLook(seen));
    expect(onlyAttempt(run)?.outcome?.type).toBe(outcome);
  });
});

describe("an attempt stays open", () => {
  test.each([
    [
      "its instance died and its claim is undecided",
      makeLaunched(),
      { instances: [dead("Server.X")] },
    ],
    ["it never claimed, and its claim is undecided", makeLaunched(), { at: BOOT_MS + 1 }],
    [
      "it was asked to stop and still may",
      makeStarted({ stop: { at: 0, reason: "cancelled" as const, now: false } }),
      { at: GRACE_MS, instances: [makeInstance()] },
    ],
    ["EC2 was asked too soon", makeLaunched({ missingSince: 0 }), { at: 2e5, listedAt: ABSENT_MS }],
  ])("while %s", (_while, attempt, seen) => {
    const { run } = step(makeRun([attempt]), makeLook(seen));
    expect(onlyAttempt(run)?.outcome).toBeUndefined();
  });
});

describe("the effect is", () => {
  test("to launch again under the same token, while EC2 has given no definite answer", () => {
    const { effects } = step(makeRun([makeAttempt()]), makeLook({ at: 5_000 }));
    expect(effects).toEqual([{ type: "launch", token: "t1" }]);
  });

  test("to take the claim of an attempt that should end before it has started", () => {
    const run = makeRun([makeLaunched()]);
    const { effects } = step(run, makeLook({ cancel: { now: false, at: 0 } }));
    expect(effects).toEqual([{ type: "void", token: "t1", index: 0 }]);
  });

  test("to ask a started job to stop, and not to terminate it", () => {
    const run = makeRun([makeStarted()]);
    const look = makeLook({ cancel: { now: false, at: 0 }, instances: [makeInstance()] });
    expect(step(run, look).effects).toEqual([
      { type: "stop", token: "t1", index: 0, reason: "cancelled" },
    ]);
  });

  test("to terminate the machine of a job that heeds no stop, after grace and upload", () => {
    const run = makeRun([makeStarted({ stop: { at: 0, reason: "cancelled", now: false } })]);
    const { effects } = step(run, makeLook({ at: HOUR, instances: [makeInstance()] }));
    expect(effects).toEqual([{ type: "terminate", instanceId: "i-1" }]);
  });

  test("to terminate an instance once its attempt has an outcome", () => {
    const look = makeLook({ reports: [makeFinishedReport()], instances: [makeInstance()] });
    expect(step(makeRun([makeStarted()]), look).effects).toEqual([
      { type: "terminate", instanceId: "i-1" },
    ]);
  });

  test("nothing at all for a job that goes on", () => {
    const run = makeRun([makeStarted()]);
    const next = step(run, makeLook({ instances: [makeInstance()] }));
    expect(next.effects).toEqual([]);
    expect(next.run).toBe(run);
  });
});

describe("a machine is gone", () => {
  const ended = makeStarted({ outcome: { type: "succeeded", at: 0, reason: "" } });
  test("when EC2 says terminated, and not while it shuts down", () => {
    const seen = (state: "shutting-down" | "terminated") =>
      onlyAttempt(
        step(makeRun([ended]), makeLook({ at: 9, instances: [makeInstance({ state })] })).run,
      );
    expect(seen("shutting-down")?.goneAt).toBeUndefined();
    expect(seen("terminated")?.goneAt).toBe(9);
  });

  test("not while it is stopped: its disk is paid for", () => {
    const look = makeLook({ instances: [makeInstance({ state: "stopped" })] });
    const { run, effects } = step(makeRun([ended]), look);
    expect(onlyAttempt(run)?.goneAt).toBeUndefined();
    expect(effects).toEqual([{ type: "terminate", instanceId: "i-1" }]);
  });
});

describe("a machine that EC2 does not list", () => {
  const missing = { at: ABSENT_MS + 1, instances: [] };

  test("is asked to terminate before it is believed to be gone", () => {
    const first = step(makeRun([makeStarted({ missingSince: 0 })]), makeLook(missing));
    expect(first.effects).toEqual([{ type: "terminate", instanceId: "i-1" }]);
    expect(onlyAttempt(first.run)?.goneAt).toBeUndefined();
    const later = step(first.run, makeLook({ at: ABSENT_MS + 1 + TERMINATE_MS }));
    expect(onlyAttempt(later.run)?.goneAt).toBe(ABSENT_MS + 1 + TERMINATE_MS);
  });

  test("is the one whose tags somebody took away, where the id is the same", () => {
    const untagged = makeInstance({ token: "", index: 0 });
    const run = makeRun([makeStarted()]);
    expect(step(run, makeLook({ at: HOUR / 2, instances: [untagged] })).run).toBe(run);
  });

  test("is known from its report, though the reply to its launch was lost", () => {
    const { run } = step(makeRun([makeAttempt()]), makeLook({ reports: [makeFinishedReport()] }));
    expect(onlyAttempt(run)?.answer?.instanceId).toBe("i-1");
    const gone = [MINUTE, 4 * MINUTE].reduce(
      (current, at) => step(current, makeLook({ at })).run,
      run,
    );
    expect(onlyAttempt(gone)?.goneAt).toBe(4 * MINUTE);
  });

  test("was stopped by somebody: its job is cancelled and the rest of it terminated", () => {
    const look = makeLook({ instances: [makeInstance({ state: "stopped" })] });
    const { run, effects } = step(makeRun([makeStarted()]), look);
    expect(onlyAttempt(run)?.outcome?.type).toBe("cancelled");
    expect(effects).toEqual([{ type: "terminate", instanceId: "i-1" }]);
  });
});

test("a job that could only run above the ceiling waits for capacity below it, and says so", () => {
  const limits = { ...makeLook().limits, hourlyUsdMax: 0.15 };
  const rest = { until: 60_000, code: "InsufficientInstanceCapacity" };
  const capacity = { "m7i.large/us-east-1a": rest, "m7i.large/us-east-1b": rest };
  const { holds } = step(makeRun(), makeLook({ limits, capacity }));
  expect(holds.map(({ reason }) => reason)).toEqual(["no-capacity"]);
});

test("what is under way is settled though types and prices cannot be read", () => {
  const jobs = [makeJob(), makeJob({ name: "other" })];
  const look = makeLook({ catalog: undefined, reports: [makeFinishedReport()] });
  const { run, holds } = step(makeRun([makeStarted()], { jobs }), look);
  expect(onlyAttempt(run)?.outcome?.type).toBe("succeeded");
  expect(holds).toMatchObject([{ job: "other", reason: "no-offer" }]);
});

describe("a refused launch", () => {
  test("is no attempt, and the next zone gets the same number", () => {
    const { run } = step(makeRun([makeAttempt()]), makeLook({ answers: refused("no-capacity") }));
    expect(run.attempts.map(({ number, offer }) => [number, offer.zone])).toEqual([
      [1, "us-east-1b"],
    ]);
    expect(run.refusals[0]).toMatchObject({ zone: "us-east-1a", code: "Code", count: 1 });
  });

  test("of many is tried again in the same place, half as many at a time", () => {
    const jobs = ["a", "b", "c"].map((name) => makeJob({ name }));
    const attempts = jobs.map(({ name }, index) =>
      makeAttempt({ job: name, launch: { token: "t1", index } }),
    );
    const look = makeLook({ answers: refused("no-capacity", 3) });
    const { run } = step(makeRun(attempts, { jobs }), look);
    expect(run.attempts.map(({ offer, launch }) => [offer.zone, launch.token])).toEqual([
      ["us-east-1a", "new-1"],
      ["us-east-1a", "new-2"],
      ["us-east-1a", "new-3"],
    ]);
  });

  test("of many that a quota has no room for is halved too", () => {
    const jobs = ["a", "b"].map((name) => makeJob({ name }));
    const attempts = jobs.map(({ name }, index) =>
      makeAttempt({ job: name, launch: { token: "t1", index } }),
    );
    const { run } = step(makeRun(attempts, { jobs }), makeLook({ answers: refused("quota", 2) }));
    expect(run.attempts.map(({ offer, launch }) => [offer.zone, launch.token])).toEqual([
      ["us-east-1a", "new-1"],
      ["us-east-1a", "new-2"],
    ]);
  });

  test("of one for its quota holds the job, and asks for no dearer type meanwhile", () => {
    const { run, holds } = step(makeRun([makeAttempt()]), makeLook({ answers: refused("quota") }));
    expect(run.attempts).toEqual([]);
    expect(holds.map(({ reason }) => reason)).toEqual(["quota"]);
  });

  test("that EC2 will never accept fails the job with EC2's own words", () => {
    const { run } = step(makeRun([makeAttempt()]), makeLook({ answers: refused("refused") }));
    expect(run.attempts).toEqual([]);
    expect(run.verdicts[0]?.reason).toContain("why");
  });
});

describe("a job is held", () => {
  const two = [makeJob(), makeJob({ name: "score", needs: ["train"] })];
  const lost = makeStarted({ outcome: { type: "lost", at: 0, reason: "died" }, goneAt: 0 });
  const rest = { until: 60_000, code: "InsufficientInstanceCapacity" };
  const everythingRests = Object.fromEntries(
    ["m7i.large", "m7i.xlarge"].flatMap((type) =>
      ["us-east-1a", "us-east-1b"].map((zone) => [`${type}/${zone}`, rest]),
    ),
  );
  test.each([
    ["needs", "what it needs is not done", makeRun([makeStarted()], { jobs: two }), {}],
    ["backing-off", "its last machine was lost a second ago", makeRun([lost]), { at: 1_000 }],
    [
      "backing-off",
      "its last machine is not gone yet",
      makeRun([{ ...makeStarted(), outcome: { type: "lost", at: 0, reason: "died" } }]),
      { at: HOUR, instances: [makeInstance()] },
    ],
    ["no-capacity", "every fitting offer rests", makeRun(), { capacity: everythingRests }],
    [
      "ceiling",
      "no more instances may be rented",
      makeRun(),
      { room: { instances: 0, hourlyUsd: 9 } },
    ],
    ["ceiling", "it would cost too much", makeRun(), { room: { instances: 1, hourlyUsd: 0.01 } }],
  ])("%s, when %s", (reason, _when, run, seen) => {
    const { holds } = step(run, makeLook({ instances: [makeInstance()], ...seen }));
    expect(holds.map((hold) => hold.reason)).toEqual([reason]);
  });
});

describe("a job fails at once", () => {
  test("when its cheapest type is above the ceiling, with the cure", () => {
    const limits = { ...makeLook().limits, hourlyUsdMax: 0.05 };
    const { run } = step(makeRun(), makeLook({ limits }));
    expect(run.verdicts[0]?.reason).toContain("raise hourlyUsdMax");
  });

  test("when nothing fits, with what each near type misses", () => {
    const jobs = [makeJob({ resources: makeResources({ cpu: 64 }) })];
    const { run } = step(makeRun([], { jobs }), makeLook());
    expect(run.verdicts[0]?.reason).toMatch(/no instance type fits; nearest: m7i\.xlarge: .*64/);
  });
});

test("jobs of one shape share one launch, in the order of their indexes", () => {
  const jobs = [makeJob(), makeJob({ name: "other" })];
  const { run } = step(makeRun([], { jobs }), makeLook());
  expect(run.attempts.map(({ launch }) => launch)).toEqual([
    { token: "new-1", index: 0 },
    { token: "new-1", index: 1 },
  ]);
});

test("a job starts when what it needs has succeeded, though the machine of that is not gone", () => {
  const jobs = [makeJob(), makeJob({ name: "score", needs: ["train"] })];
  const look = makeLook({ reports: [makeFinishedReport()], instances: [makeInstance()] });
  const { run } = step(makeRun([makeStarted()], { jobs }), look);
  expect(run.attempts.map(({ job }) => job)).toEqual(["train", "score"]);
});

test("a lost machine is retried in another zone once it is gone", () => {
  const lost = makeStarted({ outcome: { type: "lost", at: 0, reason: "died" }, goneAt: 0 });
  const { run } = step(makeRun([lost]), makeLook({ at: HOUR }));
  expect(run.attempts.map(({ number, offer }) => [number, offer.zone])).toEqual([
    [1, "us-east-1a"],
    [2, "us-east-1b"],
  ]);
});

test("a report is absorbed once: seeing it again changes nothing", () => {
  const look = makeLook({ reports: [makeStartedReport()], instances: [makeInstance()] });
  const once = step(makeRun([makeLaunched({ runningAt: 0 })]), look).run;
  expect(step(once, { ...look, at: 5_000 }).run).toBe(once);
});

test("an ending is final: a report that comes after it changes nothing of it", () => {
  const cancelled = makeStarted({ outcome: { type: "cancelled", at: 1, reason: "cancelled" } });
  const look = makeLook({ reports: [makeFinishedReport()], instances: [makeInstance()] });
  expect(onlyAttempt(step(makeRun([cancelled]), look).run)).toEqual(cancelled);
});

test("an instance that is listed is a definite answer, though the reply to its launch was lost", () => {
  const { run } = step(makeRun([makeAttempt()]), makeLook({ instances: [makeInstance()] }));
  expect(onlyAttempt(run)?.answer?.instanceId).toBe("i-1");
});

test("a ceiling holds across the runs of one look", () => {
  const room = { instances: 1, hourlyUsd: 10 };
  const first = step(makeRun(), makeLook({ room }));
  const second = step(makeRun(), makeLook({ room: first.room, batches: first.batches }));
  expect(first.run.attempts).toHaveLength(1);
  expect(second.holds.map((hold) => hold.reason)).toEqual(["ceiling"]);
});

test("an offer's price is frozen in the attempt", () => {
  const { run } = step(makeRun(), makeLook());
  expect(run.attempts[0]?.offer).toEqual(makeOffer());
});
