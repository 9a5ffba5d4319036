import { beforeAll, describe, expect, test } from "vitest";
import { listPrices } from "../../../src/aws/prices.ts";
import { readSnapshot } from "../../../src/aws/snapshot.ts";
import { describeNearMisses } from "../../../src/core/near-misses.ts";
import { type Catalog, chooseOffers, type PricedType } from "../../../src/core/offers.ts";
import type { Resources } from "../../../src/core/workflow.ts";
import { makeCatalog, makeResources, makeType } from "../../support/make.ts";

const GB = 1e9;
const GIB = 2 ** 30;

const choose = (over: Partial<Resources>, catalog: Catalog, offerBandPercent = 2) =>
  chooseOffers(makeResources(over), catalog, { offerBandPercent });

const chosenTypes = (over: Partial<Resources>, catalog: Catalog, band?: number) => [
  ...new Set(choose(over, catalog, band).offers.map(({ instanceType }) => instanceType)),
];

const gpuType = (over: Partial<PricedType> = {}): PricedType =>
  makeType({
    name: "g5.xlarge",
    vcpus: 4,
    memoryMib: 16384,
    hourlyUsd: 1.006,
    gpu: { count: 1, name: "A10G", manufacturer: "NVIDIA", memoryMib: 22888 },
    ...over,
  });

describe("of all types of us-east-1", () => {
  let catalog: Catalog;

  beforeAll(async () => {
    const { types, offerings } = await readSnapshot();
    const offered = types.filter(({ name }) => offerings.get("us-east-1")?.has(name));
    catalog = makeCatalog({
      types: offered.map((type) => ({
        ...type,
        hourlyUsd: listPrices.hourlyUsd(type, "us-east-1"),
      })),
    });
  });

  test.each<[string, Partial<Resources>, string]>([
    ["no wish gets the cheapest with 2 vCPUs and 4 GiB", {}, "c6a.large"],
    ["burstable makes it cheaper", { burstable: true }, "t3a.medium"],
    ["one vCPU is a wish, so no 4 GiB are added to it", { cpu: 1 }, "c7a.medium"],
    ["arm64 is another world", { arch: "arm64" }, "a1.large"],
    ["32 GB of memory with 2 vCPUs", { cpu: 2, memoryBytes: 32 * GB }, "x8i.large"],
    [
      "4 vCPUs and 16 GiB: m6a though m5a costs less",
      { cpu: 4, memoryBytes: 16 * GIB },
      "m6a.xlarge",
    ],
    ["a GPU is a T4 when it may be any", { gpu: { count: 1 } }, "g4dn.xlarge"],
    [
      "the seed's example: 2 vCPUs, 32 GB and a GPU",
      { cpu: 2, memoryBytes: 32 * GB, gpu: { count: 1 } },
      "g4dn.2xlarge",
    ],
    ["a GPU of 24 GB is an L4", { gpu: { count: 1, memoryBytes: 24 * GB } }, "g6.xlarge"],
    ["a GPU of 24 GiB is an L40S", { gpu: { count: 1, memoryBytes: 24 * GIB } }, "g6e.xlarge"],
    ["a GPU by its name, in any case", { gpu: { count: 1, name: "a10g" } }, "g5.xlarge"],
    ["eight A100", { gpu: { count: 8, name: "A100" } }, "p4d.24xlarge"],
    ["two GPUs come in fours of T4", { gpu: { count: 2 } }, "g4dn.12xlarge"],
    ["a GPU for arm64", { arch: "arm64", gpu: { count: 1 } }, "g5g.xlarge"],
    ["a V100 has no driver in the image: the next best", { gpu: { count: 8 } }, "g6.48xlarge"],
    ["a pinned burstable type", { instanceType: "t3.nano" }, "t3.nano"],
    ["a pinned accelerator", { instanceType: "trn1.2xlarge" }, "trn1.2xlarge"],
  ])("%s", (_, resources, type) => {
    expect(chosenTypes(resources, catalog)[0]).toBe(type);
  });

  test("none chosen without a GPU has an accelerator, a credit, HPC or Mac in its name, or bare metal", () => {
    const types = chosenTypes({ cpu: 1 }, catalog);
    expect(types.length).toBeGreaterThan(500);
    expect(
      types.filter((name) => /^(g\d|p\d|trn|inf|dl|f\d|vt|t\d|hpc|mac)|metal/.test(name)),
    ).toEqual([]);
  });

  test("none chosen with a GPU lacks a driver, shares the GPU, or has one of Gaudi or Radeon", () => {
    const families = chosenTypes({ gpu: { count: 1 } }, catalog).map((name) => name.split(".")[0]);
    expect(new Set(families)).toEqual(
      new Set("g4dn g5 g6 g6e gr6 g7e p4d p4de p5 p5en p6-b200".split(" ")),
    );
  });

  test("what no machine has is answered with the nearest and with the minimum that each misses", () => {
    const choice = choose({ gpu: { count: 9, name: "H100" } }, catalog);
    expect(choice.offers).toEqual([]);
    expect(choice.nearMisses).toHaveLength(5);
    expect(choice.nearMisses[0]).toEqual({
      instanceType: "p5.48xlarge",
      misses: ["8 GPUs, 9 asked for"],
    });
  });

  test("a price limit below all is answered with the cheapest", () => {
    expect(choose({ maxHourlyUsd: 0.07 }, catalog).nearMisses[0]).toEqual({
      instanceType: "c6a.large",
      misses: ["$0.0765 an hour, at most $0.07 asked for"],
    });
  });

  test.each<[string, Partial<Resources>, string]>([
    ["g5.xlrage", {}, "not offered in us-east-1; did you mean g5.xlarge?"],
    [
      "g5.9xlarge",
      {},
      "not offered in us-east-1; did you mean g5.2xlarge or g5.4xlarge or g5.8xlarge?",
    ],
    ["gg5.xlarge", {}, "not offered in us-east-1; did you mean g5.xlarge or g5g.xlarge?"],
    ["x9.large-and-more", {}, "not offered in us-east-1"],
    ["m5.metal", {}, "has no known price, bare metal, not on the Nitro system"],
    ["m4.large", {}, "has no known price, not on the Nitro system"],
    ["m6g.large", {}, "arm64, x86_64 asked for"],
    ["p3dn.24xlarge", { gpu: { count: 8 } }, "the GPU image has no driver for p3dn"],
    [
      "g6f.large",
      { gpu: { count: 1 } },
      "has no whole NVIDIA GPU, the GPU image has no driver for g6f",
    ],
    ["m5.large", { memoryBytes: 32 * GB }, "8 GiB of memory, 32 GB asked for"],
  ])("a pin of %s with %o is refused: %s", (instanceType, over, misses) => {
    const choice = choose({ instanceType, ...over }, catalog);
    expect(choice.offers).toEqual([]);
    expect(choice.nearMisses.map((miss) => [miss.instanceType, miss.misses.join(", ")])).toEqual([
      [instanceType, misses],
    ]);
  });
});

test("within two per cent of the cheapest the newer generation goes first", () => {
  const types = [
    makeType({ name: "m5a.large", hourlyUsd: 0.1 }),
    makeType({ name: "m6a.large", hourlyUsd: 0.102 }),
    makeType({ name: "m7a.large", hourlyUsd: 0.1021 }),
  ];
  const catalog = makeCatalog({ types });
  expect(chosenTypes({}, catalog)).toEqual(["m6a.large", "m5a.large", "m7a.large"]);
  expect(chosenTypes({}, catalog, 0)).toEqual(["m5a.large", "m6a.large", "m7a.large"]);
});

test("of equal price and generation, fewer GPUs go first, then fewer vCPUs, then the name", () => {
  const gpu = { count: 2, name: "T4", manufacturer: "NVIDIA", memoryMib: 16384 };
  const types = [
    gpuType({ name: "g5.d", vcpus: 4, hourlyUsd: 1, gpu }),
    gpuType({ name: "g5.c", vcpus: 8, hourlyUsd: 1 }),
    gpuType({ name: "g5.b", vcpus: 4, hourlyUsd: 1 }),
    gpuType({ name: "g5.a", vcpus: 4, hourlyUsd: 1 }),
  ];
  expect(chosenTypes({ gpu: { count: 1 } }, makeCatalog({ types }))).toEqual([
    "g5.a",
    "g5.b",
    "g5.c",
    "g5.d",
  ]);
});

test("a type stands in the places whose zone offers it, in the order of the places", () => {
  const types = [
    makeType({ name: "m5.large", hourlyUsd: 0.1, zones: ["us-east-1b"] }),
    makeType({ name: "m5.xlarge", hourlyUsd: 0.2 }),
  ];
  const { offers } = choose({}, makeCatalog({ types }));
  expect(offers.map(({ instanceType, subnetId }) => [instanceType, subnetId])).toEqual([
    ["m5.large", "subnet-b"],
    ["m5.xlarge", "subnet-a"],
    ["m5.xlarge", "subnet-b"],
  ]);
});

test("an offer tells what it is an offer of", () => {
  const catalog = makeCatalog({ types: [gpuType()] });
  expect(choose({ gpu: { count: 1 } }, catalog).offers[0]).toEqual({
    instanceType: "g5.xlarge",
    zone: "us-east-1a",
    subnetId: "subnet-a",
    hourlyUsd: 1.006,
    vcpus: 4,
    memoryMib: 16384,
    gpus: 1,
  });
});

test("a type in no zone of ours is a near miss that names the zones", () => {
  const types = [makeType({ name: "m5.large", zones: ["us-east-1f"] })];
  expect(describeNearMisses(choose({}, makeCatalog({ types })))).toBe(
    "no instance type fits; nearest: m5.large: offered in us-east-1f, subnets are in us-east-1a, us-east-1b",
  );
});

test("without a subnet every type says so", () => {
  const catalog = makeCatalog({ types: [makeType({ name: "m5.large" })], places: [] });
  expect(choose({}, catalog).nearMisses).toEqual([
    { instanceType: "m5.large", misses: ["no subnet is configured"] },
  ]);
});

test("near misses are sorted by how much is missing, and leave out other kinds of machine", () => {
  const types = [
    makeType({ name: "m5.large", vcpus: 2, memoryMib: 8192 }),
    makeType({ name: "m5.xlarge", vcpus: 4, memoryMib: 16384 }),
    makeType({ name: "m5.metal", vcpus: 96, memoryMib: 393216, isBareMetal: true }),
    makeType({ name: "t3.2xlarge", vcpus: 8, memoryMib: 32768, isBurstable: true }),
    makeType({ name: "m4.large", isNitro: false }),
    gpuType(),
  ];
  const { nearMisses } = choose({ cpu: 6, memoryBytes: 64 * GIB }, makeCatalog({ types }));
  expect(nearMisses).toEqual([
    {
      instanceType: "m5.xlarge",
      misses: ["4 vCPUs, 6 asked for", "16 GiB of memory, 64 GiB asked for"],
    },
    {
      instanceType: "m5.large",
      misses: ["2 vCPUs, 6 asked for", "8 GiB of memory, 64 GiB asked for"],
    },
  ]);
});

test("another catalog is another choice, even of the same types", () => {
  const types = [makeType({ name: "m5.large", hourlyUsd: 0.1 })];
  const dearer = [makeType({ name: "m5.large", hourlyUsd: 0.3 })];
  expect(choose({}, makeCatalog({ types })).offers[0]?.hourlyUsd).toBe(0.1);
  expect(choose({}, makeCatalog({ types: dearer })).offers[0]?.hourlyUsd).toBe(0.3);
});
