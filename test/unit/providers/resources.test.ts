/** The parameter resources, its units and its defaults. */
import { describe, expect, test } from "vitest";
import { bytes, duration, formatDuration } from "../../../src/providers/quantity.ts";
import { readResources } from "../../../src/providers/resources.ts";
import { readAs, readWith } from "./read.ts";

const DAY_MS = 86_400_000;

function read(source: string, maxDurationMs = DAY_MS) {
  return readWith(source, (value, report) =>
    readResources(
      value,
      { burstable: false },
      {
        place: value.place,
        report,
        warn: report,
        builtins: {},
        budget: { characters: 0 },
        limits: { maxDurationMs, jobsMax: 1 },
      },
    ),
  );
}

describe("amounts of memory", () => {
  test.each([
    ["32GB", 32e9],
    ["32GiB", 34_359_738_368],
    ["512MB", 512e6],
    ["512 MiB", 536_870_912],
    ["1TB", 1e12],
    ["1TiB", 1_099_511_627_776],
    ["1.5gb", 1.5e9],
    ["0.1GiB", 107_374_183],
  ])("%s is %d bytes", (source, expected) => {
    expect(readAs(bytes, source)).toEqual({ value: expected, told: [] });
  });

  test.each(["32", "32G", "GB", "-1GB", "0GB", "1e3GB", "32 GB!", "1,5GB", "9999999TB", "32Gb/s"])(
    "%s is refused",
    (source) => {
      expect(readAs(bytes, source).value).toBeUndefined();
    },
  );
});

describe("lengths of time", () => {
  test.each([
    ["90m", 5_400_000],
    ["24h", DAY_MS],
    ["1h30m", 5_400_000],
    ["2d", 2 * DAY_MS],
    ["1d2h3m4s", 93_784_000],
    ["90", 90_000],
    ['"90"', 90_000],
    ["0.5", 500],
  ])("%s is %d ms", (source, expected) => {
    expect(readAs(duration, source)).toEqual({ value: expected, told: [] });
  });

  test.each(["0", "0m", "-1", "m", "1m1h", "1.5h", "1 h", "soon", ".inf", ".nan", '""', "true"])(
    "%s is refused",
    (source) => {
      expect(readAs(duration, source).value).toBeUndefined();
    },
  );

  test.each([
    [90_000, "1m30s"],
    [5_400_000, "1h30m"],
    [DAY_MS, "24h"],
    [2 * DAY_MS, "2d"],
    [DAY_MS + 1_000, "1d1s"],
    [500, "0s"],
  ])("%d ms is said as %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe("resources", () => {
  const defaults = {
    diskBytes: 100e9,
    maxDurationMs: DAY_MS,
    burstable: false,
    arch: "x86_64",
    retry: { lost: 2, failed: 0 },
  };

  test("have defaults", () => {
    expect(read("{}").value).toEqual(defaults);
  });

  test("are all read", () => {
    const source = `
cpu: 2
memory: 32GB
gpu: {count: 4, name: A10G, memory: 24GB}
disk: 1TB
max_duration: 90m
burstable: true
instance_type: g5.12xlarge
arch: arm64
max_price: 5.672
retry: {lost: 0, failed: 3}
`;
    expect(read(source)).toEqual({
      told: [],
      value: {
        cpu: 2,
        memoryBytes: 32e9,
        gpu: { count: 4, name: "A10G", memoryBytes: 24e9 },
        diskBytes: 1e12,
        maxDurationMs: 5_400_000,
        burstable: true,
        instanceType: "g5.12xlarge",
        arch: "arm64",
        maxHourlyUsd: 5.672,
        retry: { lost: 0, failed: 3 },
      },
    });
  });

  test.each([
    ["gpu: 0", undefined],
    ["gpu:", undefined],
    ["gpu: {count: 0, name: T4}", undefined],
    ["gpu: 2", { count: 2 }],
    ["gpu: {name: T4}", { count: 1, name: "T4" }],
    ["gpu: {memory: 16GB}", { count: 1, memoryBytes: 16e9 }],
  ])("%s", (source, gpu) => {
    expect(read(source).value?.gpu).toEqual(gpu);
  });

  test.each([
    ["retry: 0", { lost: 0, failed: 0 }],
    ["retry: 5", { lost: 5, failed: 0 }],
    ["retry: {failed: 1}", { lost: 2, failed: 1 }],
  ])("%s", (source, retry) => {
    expect(read(source).value?.retry).toEqual(retry);
  });

  test("never run longer by default than the installation allows", () => {
    expect(read("{}", 3_600_000).value?.maxDurationMs).toBe(3_600_000);
    expect(read("max_duration: 61m", 3_600_000).told).toEqual([
      "1h1m is longer than this installation allows; ask for 1h or less, or have the operator raise maxDurationMs",
    ]);
  });
});
