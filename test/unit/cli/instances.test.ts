import { describe, expect, it } from "vitest";
import { compareInstances } from "../../../src/cli/commands/instances.ts";
import type { Instance } from "../../../src/core/observation.ts";
import {
  BEGAN_AT,
  makeAttemptView,
  makeJobView,
  makeRunView,
  RUN,
  secondsIn,
} from "../../support/views.ts";

const makeInstance = (changes: Partial<Instance> = {}): Instance => ({
  id: "i-0123456789abcdef0",
  token: "token",
  index: 0,
  state: "running",
  instanceType: "g4dn.xlarge",
  zone: "us-east-1a",
  launchedAt: BEGAN_AT,
  stateReason: "",
  ...changes,
});
const open = (changes: Parameters<typeof makeAttemptView>[0] = {}) =>
  makeRunView({ jobs: [makeJobView({ attempts: [makeAttemptView(changes)] })] });

describe("instances beside records", () => {
  it("agree where a job runs on one", () => {
    expect(compareInstances([makeInstance()], [open()])).toEqual([
      {
        instanceId: "i-0123456789abcdef0",
        instanceType: "g4dn.xlarge",
        zone: "us-east-1a",
        state: "running",
        launchedAt: secondsIn(0),
        run: RUN,
        job: "train",
        attempt: 1,
        difference: "",
      },
    ]);
  });

  it.each([
    [
      "an instance that no open run names",
      [makeInstance()],
      [],
      "no open run wants it: the daemon will end it",
    ],
    [
      "one that is dead while its job counts on it",
      [makeInstance({ state: "terminated" })],
      [open()],
      "a job counts on it, EC2 has ended it",
    ],
    ["one that EC2 does not list", [], [open()], "a job counts on it, EC2 does not list it"],
  ])("differ by %s", (_, instances, views, difference) => {
    expect(compareInstances(instances, views).map((line) => line.difference)).toEqual([difference]);
  });

  it("agree that the machine of a job that has ended is gone", () => {
    const ended = open({ state: "succeeded", endedAt: secondsIn(5) });
    expect(compareInstances([], [ended])).toEqual([]);
    const [line] = compareInstances([makeInstance({ state: "shutting-down" })], [ended]);
    expect(line?.difference).toBe("");
  });
});
