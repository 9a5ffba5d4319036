/** Machines that say nothing: at boot, and in the midst of their work. */
import { describe, expect, test } from "vitest";
import { makeOrder } from "../../../src/core/launches.ts";
import { BOOT_MS, SILENT_MS } from "../../../src/core/settle.ts";
import { step } from "../../../src/core/step.ts";
import {
  MINUTE,
  makeAttempt,
  makeInstance,
  makeLook,
  makeRun,
  makeSettings,
  makeStarted,
} from "../../support/make.ts";

const order = (attempt: { launch: { token: string; index: number } }) =>
  `${attempt.launch.token}.${attempt.launch.index}`;

describe("a machine that gave signs of life", () => {
  const attempt = makeStarted();
  const quietFor = (ms: number) =>
    step(
      makeRun([attempt]),
      makeLook({
        at: SILENT_MS * 2,
        instances: [makeInstance()],
        quietSince: new Map([[order(attempt), SILENT_MS * 2 - ms]]),
      }),
    );

  test("and gives none for a quarter of an hour is lost, terminated, and tried elsewhere", () => {
    const { run, effects } = quietFor(SILENT_MS + 1);
    expect(run.attempts[0]?.outcome).toMatchObject({
      type: "lost",
      reason: "no sign of life from its machine for 15 minutes",
    });
    expect(effects).toEqual([{ type: "terminate", instanceId: "i-1" }]);
    const gone = [makeInstance({ state: "terminated" })];
    const at = SILENT_MS * 2 + MINUTE;
    const settled = step(run, makeLook({ at, instances: gone })).run;
    const next = step(settled, makeLook({ at: at + MINUTE, instances: gone })).run;
    expect(next.attempts.map(({ offer }) => offer.zone)).toEqual([
      attempt.offer.zone,
      expect.not.stringContaining(attempt.offer.zone),
    ]);
  });

  test("is left alone before that", () => {
    const { run, effects } = quietFor(SILENT_MS);
    expect([run.attempts[0]?.outcome, effects]).toEqual([undefined, []]);
  });

  test("but has finished meanwhile has finished", () => {
    const finished = step(
      makeRun([attempt]),
      makeLook({
        at: SILENT_MS * 2,
        instances: [makeInstance()],
        quietSince: new Map([[order(attempt), 0]]),
        reports: [finishedReport(attempt)],
      }),
    );
    expect(finished.run.attempts[0]?.outcome?.type).toBe("succeeded");
  });
});

const finishedReport = (attempt: ReturnType<typeof makeStarted>) => ({
  ...{ format: 1 as const, stage: "finished" as const, ...attempt.launch },
  ...{ run: makeRun().id, job: attempt.job, attempt: attempt.number, instanceId: "i-1", at: 0 },
  ...{ outcome: "succeeded" as const, reason: "", exitCode: 0, phases: {} },
  ...{ artifacts: [], notes: [], logLines: 0 },
});

describe("a machine that never tells that it began", () => {
  const voided = {
    ...makeAttempt({ answer: { at: 0, instanceId: "i-1" } }),
    voidedAt: BOOT_MS + 1,
  };
  const at = BOOT_MS + MINUTE;
  const lost = step(makeRun([voided]), makeLook({ at, instances: [makeInstance()] })).run;
  const gone = [makeInstance({ state: "terminated" })];

  test("is lost, and its console is asked for once it is gone", () => {
    expect(lost.attempts[0]?.outcome).toMatchObject({ type: "lost" });
    const living = step(lost, makeLook({ at, instances: [makeInstance()] })).effects;
    expect(living.map(({ type }) => type)).toEqual(["terminate"]);
    const { effects } = step(lost, makeLook({ at, instances: gone }));
    const prefix = makeOrder({ run: lost, attempt: voided }, makeSettings()).prefix;
    expect(effects).toEqual([
      {
        ...{ type: "console", ...voided.launch, instanceId: "i-1" },
        ...{ key: `${prefix}console.txt`, until: at + MINUTE },
      },
    ]);
  });

  test("is not asked again for what is kept", () => {
    const consoles = new Map([[order(voided), { at, bytes: 7 }]]);
    const seen = step(lost, makeLook({ at, instances: gone })).run;
    const kept = step(seen, makeLook({ at, instances: gone, consoles }));
    expect(kept.run.attempts[0]?.console).toEqual({ at, bytes: 7 });
    expect(kept.effects).toEqual([]);
  });
});
