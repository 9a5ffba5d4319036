import { expect, test } from "vitest";
import { step } from "../../../src/core/step.ts";
import { makeJob, makeLook, makeRun } from "../../support/make.ts";

test("a job fails when its role has been taken off the operator's list since it was taken in", () => {
  const jobs = [makeJob({ role: "training" })];
  const limitsOf = (...jobRoles: string[]) => ({ ...makeLook().limits, jobRoles });
  const allowed = step(makeRun([], { jobs }), makeLook({ limits: limitsOf("training") }));
  expect([allowed.run.attempts.length, allowed.run.verdicts]).toEqual([1, []]);
  const { run } = step(makeRun([], { jobs }), makeLook({ limits: limitsOf("data") }));
  expect(run.verdicts[0]?.reason).toBe(
    'the role "training" is not, or no more, one of the operator\'s jobRoles',
  );
});
