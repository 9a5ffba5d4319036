import { describe, expect, test } from "vitest";
import { costOfDay, costOfRun, costUsd, DAY_MS } from "../../../src/core/cost.ts";
import { DEFAULT_LIMITS, type Limits, roomLeft } from "../../../src/core/limits.ts";
import type { Answer, Instance, Report } from "../../../src/core/observation.ts";
import type { Attempt, Run } from "../../../src/core/run.ts";
import { jobStates } from "../../../src/core/states.ts";
import { step } from "../../../src/core/step.ts";
import { noteSpent, readSpent } from "../../../src/daemon/ledger.ts";
import {
  HOUR,
  MINUTE,
  makeCatalog,
  makeFinishedReport,
  makeInstance,
  makeJob,
  makeLook,
  makeOffer,
  makeResources,
  makeRun,
  makeStarted,
  makeType,
} from "../../support/make.ts";
import { makeStore } from "../../support/memory-store.ts";

const SECOND = 1_000;
/** A dollar an hour for the machine, and a cent for its disk. */
const priced = (over: Partial<Attempt> = {}): Attempt =>
  makeStarted({ offer: makeOffer({ hourlyUsd: 1 }), diskHourlyUsd: 0.01, ...over });

describe("what an attempt costs", () => {
  test.each<[string, Partial<Attempt>, number, number]>([
    ["its disk alone while it is pending", { answer: { at: 0, instanceId: "i" } }, HOUR, 0.01],
    ["a minute of both at least", { runningAt: 0, goneAt: SECOND }, HOUR, 1.01 / 60],
    [
      "the second after its first minute",
      { runningAt: 0, goneAt: 61 * SECOND },
      HOUR,
      (1.01 * 61) / 3600,
    ],
    [
      "three days by the second",
      { runningAt: 0, goneAt: 3 * DAY_MS + SECOND },
      9 * DAY_MS,
      1.01 * (72 + 1 / 3600),
    ],
    [
      "its disk from EC2's yes, its machine from running",
      { runningAt: 30 * MINUTE },
      HOUR,
      0.5 + 0.01,
    ],
    [
      "nothing for a disk of unknown price",
      { runningAt: 0, goneAt: HOUR, diskHourlyUsd: undefined },
      HOUR,
      1,
    ],
  ])("is %s", (_what, over, at, usd) => {
    const { runningAt, started, ...attempt } = priced();
    expect(costUsd({ ...attempt, ...over } as Attempt, at)).toBeCloseTo(usd, 9);
  });
});

const ofDays = (run: Run, days: number) =>
  Array.from({ length: days }, (_, day) => costOfDay(run, (day + 1) * DAY_MS - 1));

describe("what a run costs in a day", () => {
  test.each<[string, Attempt[], readonly number[]]>([
    ["all of a machine of that day", [priced({ goneAt: HOUR })], [1.01, 0, 0]],
    [
      "its share of one that works past midnight",
      [
        priced({
          answer: { at: 22 * HOUR, instanceId: "i" },
          runningAt: 22 * HOUR,
          goneAt: 27 * HOUR,
        }),
      ],
      [2.02, 3.03, 0],
    ],
    [
      "a whole day of one that works through it",
      [
        priced({
          answer: { at: 12 * HOUR, instanceId: "i" },
          runningAt: 12 * HOUR,
          goneAt: 60 * HOUR,
        }),
      ],
      [12.12, 24.24, 12.12],
    ],
    [
      "the minute that is billed at once on the day it began",
      [
        priced({
          answer: { at: DAY_MS - 10 * SECOND, instanceId: "i" },
          runningAt: DAY_MS - 10 * SECOND,
          goneAt: DAY_MS + 10 * SECOND,
        }),
      ],
      [1.01 / 60, 0, 0],
    ],
    [
      "the sum of its machines",
      [priced({ goneAt: HOUR }), priced({ goneAt: 2 * HOUR })],
      [3.03, 0, 0],
    ],
  ])("is %s", (_what, attempts, days) => {
    const run = makeRun(attempts);
    ofDays(run, days.length).forEach((usd, day) => {
      expect(usd).toBeCloseTo(days[day] ?? Number.NaN, 5);
    });
    const sum = ofDays(run, days.length).reduce((a, b) => a + b, 0);
    expect(sum).toBeCloseTo(costOfRun(run, 9 * DAY_MS), 5);
  });
});

test("the ledger counts each closed run once, however often it is closed, and open runs by their records", async () => {
  const store = makeStore();
  const closed = makeRun([priced({ goneAt: HOUR })], { id: "20261123-211530-aaaaaa" });
  const open = makeRun([priced({})], { id: "20261123-211530-bbbbbb" });
  await noteSpent(store, closed, 2 * HOUR);
  await noteSpent(store, closed, 3 * HOUR);
  expect(await readSpent(store, [open], 3 * HOUR)).toBeCloseTo(1.01 + 3.03, 5);
  // Its daemon died between the ledger and the marker: it is open still, and counts once.
  expect(await readSpent(store, [closed], 3 * HOUR)).toBeCloseTo(1.01, 5);
  expect(await readSpent(store, [], 25 * HOUR)).toBe(0);
});

const catalog = makeCatalog({
  types: [makeType({ hourlyUsd: 1 })],
  diskGibMonthUsd: 0,
});
const limitsWith = (over: Partial<Limits>): Limits => ({ ...DEFAULT_LIMITS, ...over });

describe("a budget", () => {
  test.each<[string, Partial<Limits>, Attempt[], number, RegExp]>([
    [
      "of a run that is used up",
      { runUsdMax: 2 },
      [priced({ job: "a", goneAt: 2 * HOUR })],
      0,
      /verdict the run has cost \$2\.02.*runUsdMax/,
    ],
    [
      "of a run that a minute would exceed",
      { runUsdMax: 0.01 },
      [],
      0,
      /verdict another machine would exceed.*\$0\.01/,
    ],
    [
      "of a day that is used up",
      { dayUsdMax: 5 },
      [],
      5,
      /hold budget all runs have cost \$5\.00 today.*until 86400000/,
    ],
    [
      "of a day that a minute would exceed",
      { dayUsdMax: 5 },
      [],
      4.99,
      /hold budget another machine.*until 86400000/,
    ],
    [
      "of a day that no minute fits",
      { dayUsdMax: 0.01 },
      [],
      0,
      /verdict a minute of m7i\.large exceeds/,
    ],
    ["with room", { runUsdMax: 5, dayUsdMax: 5 }, [], 1, /^attempt$/],
  ])("%s decides of the next job", (_what, over, attempts, todayUsd, expected) => {
    const done = attempts.map((each) => ({
      ...each,
      outcome: { type: "succeeded" as const, at: HOUR, reason: "" },
    }));
    const jobs = [makeJob({ name: "a" }), makeJob({ name: "b" })].slice(done.length === 0 ? 1 : 0);
    const run = makeRun(done, { jobs });
    const limits = limitsWith(over);
    const room = roomLeft(limits, done, [], { todayUsd });
    const next = step(run, makeLook({ at: 2 * HOUR, catalog, limits, room, todayUsd }));
    const [hold] = next.holds;
    const verdict = next.run.verdicts[0];
    const told = hold
      ? `hold ${hold.reason} ${hold.detail} until ${hold.nextLookAt}`
      : verdict
        ? `verdict ${verdict.reason}`
        : "attempt";
    expect(told).toMatch(expected);
  });

  test("lets no more machines begin at once than it has minutes for", () => {
    const jobs = Array.from({ length: 5 }, (_, index) => makeJob({ name: `j${index}` }));
    const limits = limitsWith({ dayUsdMax: 10 });
    const todayUsd = 10 - 3.5 / 60;
    const room = roomLeft(limits, [], [], { todayUsd });
    const next = step(makeRun([], { jobs }), makeLook({ catalog, limits, room, todayUsd }));
    expect(next.run.attempts).toHaveLength(3);
    expect(next.holds.map(({ reason }) => reason)).toEqual(["budget", "budget"]);
  });

  test("that is used up stops what goes on gently, and says so where the job failed", () => {
    const limits = limitsWith({ runUsdMax: 2 });
    const run = makeRun([priced({})]);
    const stopped = step(
      run,
      makeLook({ at: 2 * HOUR, catalog, limits, instances: [makeInstance()] }),
    );
    expect(stopped.effects).toEqual([{ type: "stop", token: "t1", index: 0, reason: "cancelled" }]);
    const reports = [makeFinishedReport({ outcome: "cancelled", reason: "cancelled" })];
    const ended = step(stopped.run, makeLook({ at: 2 * HOUR + MINUTE, catalog, limits, reports }));
    expect(ended.run.attempts[0]?.outcome).toMatchObject({
      type: "failed",
      reason: "stopped: the run has cost $2.02, and its budget (runUsdMax) is $2",
    });
  });
});

/** What EC2 and runners answer at once: machines boot in no time, and end when they are told to. */
function answerOf(run: Run, instances: readonly Instance[], at: number) {
  const answers = new Map<string, Answer>();
  const reports: Report[] = [];
  const next = [...instances];
  for (const attempt of run.attempts) {
    const { token, index } = attempt.launch;
    const place = next.findIndex((each) => each.token === token && each.index === index);
    const instance = next[place];
    if (!instance && !attempt.answer) {
      answers.set(token, { type: "launched", at, instanceIds: [`i-${token}-0`, `i-${token}-1`] });
      next.push(makeInstance({ id: `i-${token}-${index}`, token, index }));
    }
    if (!attempt.stop || instance?.state !== "running") continue;
    const base = { token, index, job: attempt.job, attempt: attempt.number };
    reports.push(makeFinishedReport({ ...base, outcome: "cancelled" }));
    next[place] = { ...instance, state: "terminated" };
  }
  return { answers, reports, instances: next };
}

/** A week of virtual days: six jobs that would work for ever, two at a time, on a budget. */
test("a day's budget is kept on each of seven days, and work goes on at midnight", () => {
  const limits = limitsWith({ instancesMax: 2, dayUsdMax: 10 });
  const resources = makeResources({ maxDurationMs: 24 * HOUR });
  const jobs = Array.from({ length: 6 }, (_, index) => makeJob({ name: `j${index}`, resources }));
  let run = makeRun([], { jobs });
  let instances: readonly Instance[] = [];
  const spent = Array<number>(7).fill(0);
  const tickMs = 30 * SECOND;
  for (let at = 0; at < 7 * DAY_MS; at += tickMs) {
    const todayUsd = costOfDay(run, at);
    spent[Math.floor(at / DAY_MS)] = todayUsd;
    const said = answerOf(run, instances, at);
    instances = said.instances;
    const room = roomLeft(limits, run.attempts, [], { todayUsd });
    const batches = { tokens: [`a${at}`, `b${at}`], open: [] };
    const maxWait = { ...limits, maxWaitMs: 30 * DAY_MS };
    const look = makeLook({ at, catalog, limits: maxWait, room, batches, todayUsd, ...said });
    ({ run } = step(run, look));
  }
  expect([...jobStates(run).values()]).toEqual(Array(6).fill("failed"));
  // Two machines a day, for five hours each; over by the looks it takes to stop them at most.
  expect(spent.map((usd) => Math.round(usd * 10) / 10)).toEqual([10, 10, 10, 0, 0, 0, 0]);
  for (const usd of spent) expect(usd).toBeLessThanOrEqual(10 + 2 * ((3 * tickMs) / HOUR));
});
