import { expect, test } from "vitest";
import { costUsd } from "../../../src/core/cost.ts";
import { step } from "../../../src/core/step.ts";
import { viewRun } from "../../../src/core/view.ts";
import {
  HOUR,
  MINUTE,
  makeCatalog,
  makeLook,
  makeOffer,
  makeRun,
  makeStarted,
} from "../../support/make.ts";

test.each([
  ["nothing before its machine runs", {}, HOUR, 0],
  ["a minute at least", { runningAt: 0, goneAt: 1_000 }, HOUR, 0.1 / 60],
  ["until now while it lives", { runningAt: 0 }, 2 * HOUR, 0.2],
  ["until its machine was gone", { runningAt: 0, goneAt: 30 * MINUTE }, 2 * HOUR, 0.05],
])("an attempt costs %s", (_what, over, at, usd) => {
  const { runningAt, started, ...attempt } = makeStarted({ offer: makeOffer({ hourlyUsd: 0.1 }) });
  expect(costUsd({ ...attempt, ...over }, at)).toBeCloseTo(usd, 9);
});

test("phases come from the daemon's clock, and from the runner where only it can tell", () => {
  const attempt = makeStarted({
    plannedAt: 1_000,
    answer: { at: 1_500, instanceId: "i-1" },
    started: { at: 4_000, bootMs: 700 },
    ran: { at: 6_000, exitCode: 0 },
    finished: {
      at: 7_000,
      phases: { inputs: 10, setup: 20, run: 1_900, upload: 300 },
      artifacts: [{ path: "checkpoint", bytes: 5, files: 1 }],
      notes: [],
      logLines: 2,
    },
    outcome: { type: "succeeded", at: 7_000, reason: "" },
    goneAt: 7_400,
  });
  const view = viewRun(makeRun([attempt], { createdAt: 400 }), { at: 9_000, holds: [] });
  expect(view.jobs[0]?.attempts[0]?.phases).toEqual({
    queued: 600,
    api: 500,
    pending: 1_800,
    boot: 700,
    inputs: 10,
    setup: 20,
    run: 1_900,
    upload: 300,
    terminate: 400,
  });
});

test.each([
  ["of that day", "2026-11-25", null],
  ["of the evening before", "2026-11-24", null],
  ["of two days before", "2026-11-23", "2026-11-23"],
  ["that nobody noted", undefined, null],
])(
  "an attempt that was planned at noon with prices %s tells their day only where it is long gone",
  (_, pricedOn, told) => {
    const plannedAt = Date.parse("2026-11-25T12:00:00Z");
    const attempt = { ...makeStarted({ plannedAt }), ...(pricedOn !== undefined && { pricedOn }) };
    const view = viewRun(makeRun([attempt]), { at: plannedAt + HOUR, holds: [] });
    expect(view.jobs[0]?.attempts[0]?.pricedOn).toBe(told);
  },
);

test("an attempt keeps the day of the prices that it was planned with", () => {
  const catalog = makeCatalog({ pricedOn: "2026-11-24" });
  expect(step(makeRun(), makeLook({ catalog })).run.attempts[0]?.pricedOn).toBe("2026-11-24");
});

test("a view has the shape that others build on", () => {
  const view = viewRun(makeRun([makeStarted()]), { at: MINUTE, holds: [] });
  expect(view).toMatchObject({
    id: "20261123-211530-aaaaaa",
    name: "brave-otter-42",
    state: "running",
    workflows: ["train"],
    createdAt: "1970-01-01T00:00:00.000Z",
    finishedAt: null,
    jobs: [
      {
        name: "train",
        workflow: "train",
        state: "running",
        reason: "",
        holds: [],
        dependsOn: [],
        artifacts: [],
        attempts: [
          {
            number: 1,
            instanceId: "i-1",
            instanceType: "m7i.large",
            zone: "us-east-1a",
            hourlyUsd: 0.1,
            state: "running",
            exitCode: null,
            reason: "",
            startedAt: "1970-01-01T00:00:00.000Z",
            endedAt: null,
          },
        ],
      },
    ],
  });
});

test("refusals are told per job, the latest last, and what a machine said at its boot by its size", () => {
  const refusal = {
    ...{
      job: "train",
      instanceType: "m7i.large",
      zone: "us-east-1a",
      kind: "no-capacity" as const,
    },
    ...{ code: "InsufficientInstanceCapacity", message: "none", size: 1, count: 2 },
    ...{ firstAt: 1_000, lastAt: 9_000 },
  };
  const earlier = { ...refusal, zone: "us-east-1b", lastAt: 2_000 };
  const other = { ...refusal, job: "other" };
  const lost = { ...makeStarted(), console: { at: 0, bytes: 7 } };
  const run = { ...makeRun([lost]), refusals: [refusal, earlier, other] };
  const [job] = viewRun(run, { at: 0, holds: [] }).jobs;
  expect(job?.refusals.map(({ zone, lastAt }) => [zone, lastAt])).toEqual([
    ["us-east-1b", "1970-01-01T00:00:02.000Z"],
    ["us-east-1a", "1970-01-01T00:00:09.000Z"],
  ]);
  expect(job?.refusals[0]).not.toHaveProperty("size");
  expect(job?.attempts[0]?.consoleBytes).toBe(7);
});
