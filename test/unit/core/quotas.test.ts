import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS, type Limits, roomLeft } from "../../../src/core/limits.ts";
import type { Instance } from "../../../src/core/observation.ts";
import { type QuotaGroup, quotaGroupOf } from "../../../src/core/quotas.ts";
import { step } from "../../../src/core/step.ts";
import {
  makeCatalog,
  makeInstance,
  makeJob,
  makeLook,
  makeOffer,
  makeResources,
  makeRun,
  makeStarted,
  makeType,
} from "../../support/make.ts";

test.each<[string, QuotaGroup | undefined]>([
  ["m7i.large", "standard"],
  ["c6gn.xlarge", "standard"],
  ["im4gn.large", "standard"],
  ["z1d.large", "standard"],
  ["d3en.xlarge", "standard"],
  ["dl1.24xlarge", "dl"],
  ["g5.xlarge", "gAndVt"],
  ["gr6.4xlarge", "gAndVt"],
  ["vt1.3xlarge", "gAndVt"],
  ["p5.48xlarge", "p"],
  ["f2.6xlarge", "f"],
  ["x2idn.16xlarge", "x"],
  ["inf2.xlarge", "inf"],
  ["trn1.2xlarge", "trn"],
  ["u-6tb1.112xlarge", "highMemory"],
  ["u7i-12tb.224xlarge", "highMemory"],
  ["hpc7g.4xlarge", "hpc"],
  ["mac2.metal", undefined],
])("%s counts against %s", (instanceType, group) => {
  expect(quotaGroupOf(instanceType)).toBe(group);
});

test("every type of the catalog but Macs counts against a group", () => {
  const snapshot = new URL("../../../src/aws/snapshot/instance-types.csv", import.meta.url);
  const names = readFileSync(snapshot, "utf8").match(/^[a-z][a-z0-9-]*\.[a-z0-9-]+/gm) ?? [];
  expect(names.length).toBeGreaterThan(800);
  const strangers = names.filter((name) => quotaGroupOf(name) === undefined);
  expect(strangers.filter((name) => !name.startsWith("mac"))).toEqual([]);
});

const gpu = { count: 1, name: "A10G", manufacturer: "NVIDIA", memoryMib: 22_888 };
const catalog = makeCatalog({
  types: [makeType({ name: "g5.4xlarge", vcpus: 16, memoryMib: 65_536, gpu, hourlyUsd: 1 })],
});
const resources = makeResources({ gpu: { count: 1 } });
const onG5 = (index: number) =>
  makeStarted({
    job: `busy${index}`,
    offer: makeOffer({ instanceType: "g5.4xlarge", vcpus: 16, gpus: 1, hourlyUsd: 1 }),
    launch: { token: `b${index}`, index: 0 },
  });

function planWith(limits: Partial<Limits>, busy: number, jobs = 1) {
  const living = Array.from({ length: busy }, (_, index) => onG5(index));
  const all = { ...DEFAULT_LIMITS, hourlyUsdMax: 100, ...limits };
  const waiting = Array.from({ length: jobs }, (_, index) =>
    makeJob({ name: `j${index}`, resources }),
  );
  const room = roomLeft(all, living, []);
  return step(makeRun([], { jobs: waiting }), makeLook({ catalog, limits: all, room }));
}

describe("a vCPU quota", () => {
  test("holds a job that does not fit beside what is in use, and says so", () => {
    const next = planWith({ vcpusMax: { gAndVt: 63 } }, 3);
    expect(next.run.attempts).toEqual([]);
    expect(next.holds).toEqual([
      {
        job: "j0",
        reason: "quota",
        detail: "48 of 63 vCPUs of G and VT in use, g5.4xlarge needs 16",
      },
    ]);
  });

  test("lets the job begin as room appears, to the last vCPU", () => {
    expect(planWith({ vcpusMax: { gAndVt: 64 } }, 3).run.attempts).toHaveLength(1);
    expect(planWith({ vcpusMax: { gAndVt: 63 } }, 2).run.attempts).toHaveLength(1);
  });

  test("counts what this look has planned already", () => {
    const next = planWith({ vcpusMax: { gAndVt: 48 } }, 0, 5);
    expect(next.run.attempts).toHaveLength(3);
    expect(next.holds.map(({ detail }) => detail)).toEqual(
      Array(2).fill("48 of 48 vCPUs of G and VT in use, g5.4xlarge needs 16"),
    );
  });

  test("of another group, or of none that is known, holds nobody", () => {
    expect(planWith({ vcpusMax: { standard: 0 } }, 3).run.attempts).toHaveLength(1);
    expect(planWith({}, 3).run.attempts).toHaveLength(1);
  });

  test("that is smaller than the machine fails the job at once, with the cure", () => {
    expect(planWith({ vcpusMax: { gAndVt: 8 } }, 0).run.verdicts).toMatchObject([
      {
        job: "j0",
        reason: expect.stringMatching(
          /^g5\.4xlarge needs 16 vCPUs, the quota of G and VT is 8; ask AWS for more/,
        ),
      },
    ]);
  });

  test("is not alone: machines that no attempt knows count towards both ceilings", () => {
    const limits = { ...DEFAULT_LIMITS, instancesMax: 3, hourlyUsdMax: 5 };
    const stray = makeInstance({ token: "stray", instanceType: "g5.4xlarge" });
    const { instances, hourlyUsd } = roomLeft(limits, [], [stray], { types: catalog.types });
    const price = catalog.types.find(({ name }) => name === "g5.4xlarge")?.hourlyUsd ?? 0;
    expect(price).toBeGreaterThan(0);
    expect([instances, hourlyUsd]).toEqual([2, 5 - price]);
  });

  test("counts machines that no attempt knows, while they run", () => {
    const limits = { ...DEFAULT_LIMITS, hourlyUsdMax: 100, vcpusMax: { gAndVt: 32 } };
    const inUse = (state: Instance["state"]) => {
      const stray = makeInstance({ token: "stray", instanceType: "g5.4xlarge", state });
      return roomLeft(limits, [], [stray], { types: catalog.types }).vcpusInUse;
    };
    expect([inUse("running"), inUse("pending"), inUse("stopped")]).toEqual([
      { gAndVt: 16 },
      { gAndVt: 16 },
      {},
    ]);
  });
});
