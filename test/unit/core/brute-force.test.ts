/**
 * The choice against a second one made in the plainest way from the same files: every type is looked at, one after the
 * other, by the words of docs/workflows.md. It reads the CSV files itself and shares no code with what it checks but the prices.
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { listPrices } from "../../../src/aws/prices.ts";
import { readSnapshot, SNAPSHOT_FILES } from "../../../src/aws/snapshot.ts";
import { type Catalog, chooseOffers } from "../../../src/core/offers.ts";
import type { Resources } from "../../../src/core/workflow.ts";
import { makeCatalog, makeResources } from "../../support/make.ts";
import { runs } from "../../support/property-tests.ts";

const REGION = "us-east-1";

type Row = {
  readonly name: string;
  readonly vcpus: number;
  readonly mib: number;
  readonly arch: string;
  readonly traits: readonly string[];
  readonly gpus: number;
  readonly gpuName: string;
  readonly gpuMaker: string;
  readonly gpuMib: number;
  readonly usd: number;
};

const rowsOf = (file: URL): readonly (readonly string[])[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .slice(1)
    .map((line) => line.split(","));

function readRows(prices: ReadonlyMap<string, number>): readonly Row[] {
  const offered = new Set(
    rowsOf(SNAPSHOT_FILES.offerings)
      .filter(([, , regions = ""]) => regions.split(" ").includes(REGION))
      .flatMap(([family, sizes = ""]) => sizes.split(" ").map((size) => `${family}.${size}`)),
  );
  return rowsOf(SNAPSHOT_FILES.types)
    .map(
      ([
        name = "",
        vcpus,
        mib,
        arch = "",
        traits = "",
        gpus,
        gpuName = "",
        gpuMaker = "",
        gpuMib,
      ]) => ({
        ...{ name, vcpus: Number(vcpus), mib: Number(mib), arch, traits: traits.split(" ") },
        ...{ gpus: Number(gpus), gpuName, gpuMaker, gpuMib: Number(gpuMib) },
        usd: prices.get(name) ?? 0,
      }),
    )
    .filter((row) => offered.has(row.name) && row.usd > 0);
}

const DRIVERS = /^(g4dn|g5g?|g6e?|gr6|g7e|p4de?|p5(en?)?|p6-b[23]00)\./;

const isRightKind = (row: Row, asked: Resources): boolean =>
  row.arch === asked.arch &&
  row.traits.includes("nitro") &&
  !row.traits.includes("metal") &&
  !/^(hpc|mac)/.test(row.name) &&
  (asked.burstable || !row.traits.includes("burstable"));

function isLargeEnough(row: Row, { cpu, memoryBytes, maxHourlyUsd = 1_000 }: Resources): boolean {
  const isUnsaid = cpu === undefined && memoryBytes === undefined;
  const [cpuMin, bytesMin] = isUnsaid ? [2, 4 * 2 ** 30] : [cpu ?? 0, memoryBytes ?? 0];
  // EC2 rounds MiB down.
  return row.vcpus >= cpuMin && row.mib + 1 > bytesMin / 2 ** 20 && row.usd <= maxHourlyUsd;
}

function hasRightGpus(row: Row, { gpu }: Resources): boolean {
  if (!gpu) return row.gpuMaker === "" && !row.traits.includes("accelerator");
  const { count, name = row.gpuName, memoryBytes = 0 } = gpu;
  const isUsable = row.gpuMaker === "NVIDIA" && DRIVERS.test(row.name);
  return (
    isUsable && row.gpus >= count && row.gpuName === name && row.gpuMib + 1 > memoryBytes / 2 ** 20
  );
}

const fits = (row: Row, asked: Resources): boolean =>
  isRightKind(row, asked) && isLargeEnough(row, asked) && hasRightGpus(row, asked);

/** 7 of m7i, 0 of u-6tb1. */
const generation = ({ name }: Row): number => Number.parseInt(name.replace(/^[a-z]+/, ""), 10) || 0;

/** Takes the best of what is left until nothing is left. */
function bruteForce(
  rows: readonly Row[],
  asked: Resources,
  bandPercent: number,
): readonly string[] {
  let left = rows.filter((row) => fits(row, asked));
  const order: string[] = [];
  while (left.length > 0) {
    const cheapest = Math.min(...left.map(({ usd }) => usd));
    const band = left.filter(({ usd }) => usd <= cheapest * (1 + bandPercent / 100));
    left = left.filter((row) => !band.includes(row));
    band.sort((a, b) => (a.name < b.name ? -1 : 1));
    band.sort((a, b) => a.vcpus - b.vcpus);
    band.sort((a, b) => a.gpus - b.gpus);
    band.sort((a, b) => generation(b) - generation(a));
    order.push(...band.map(({ name }) => name));
  }
  return order;
}

/** Sizes that people ask for, and odd ones. */
const size = (...usual: readonly number[]) =>
  fc.oneof(fc.constantFrom(...usual), fc.integer({ min: 1, max: 2 * Math.max(...usual) }));
const gigabytes = (...usual: readonly number[]) =>
  fc.tuple(size(...usual), fc.constantFrom(1e9, 2 ** 30)).map(([count, unit]) => count * unit);

const gpu = fc.record(
  {
    count: size(1, 2, 4, 8),
    name: fc.constantFrom(
      "T4",
      "A10G",
      "L4",
      "L40S",
      "A100",
      "H100",
      "T4g",
      "Radeon Pro V520",
      "K80",
    ),
    memoryBytes: gigabytes(16, 24, 40, 48, 80),
  },
  { requiredKeys: ["count"] },
);
const wishes = fc.record(
  {
    cpu: size(1, 2, 4, 8, 16, 32, 64, 96),
    memoryBytes: gigabytes(2, 4, 8, 16, 32, 64, 128, 256),
    gpu: fc.option(gpu, { nil: undefined, freq: 2 }),
    burstable: fc.boolean(),
    arch: fc.constantFrom<"x86_64" | "arm64">("x86_64", "x86_64", "x86_64", "arm64"),
    maxHourlyUsd: fc.constantFrom(0.05, 0.5, 2, 20),
  },
  { requiredKeys: [] },
);

test("every order of types is the one that a brute force finds", async () => {
  const { types, offerings } = await readSnapshot();
  const priced = types.map((type) => ({ ...type, hourlyUsd: listPrices.hourlyUsd(type, REGION) }));
  const prices = new Map(priced.map(({ name, hourlyUsd = 0 }) => [name, hourlyUsd]));
  const offered = priced.filter(({ name }) => offerings.get(REGION)?.has(name));
  const catalog: Catalog = makeCatalog({ types: offered });
  const rows = readRows(prices);
  let found = 0;
  fc.assert(
    fc.property(wishes, fc.constantFrom(0, 2, 10), ({ gpu: wished, ...rest }, offerBandPercent) => {
      const asked = makeResources({
        ...rest,
        ...(wished && { gpu: wished }),
      } as Partial<Resources>);
      const { offers } = chooseOffers(asked, catalog, { offerBandPercent });
      const chosen = [...new Set(offers.map(({ instanceType }) => instanceType))];
      if (chosen.length > 0) found += 1;
      expect(chosen).toEqual(bruteForce(rows, asked, offerBandPercent));
    }),
    { numRuns: runs(150) },
  );
  expect(found).toBeGreaterThan(30);
});
