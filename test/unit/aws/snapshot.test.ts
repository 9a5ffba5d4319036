import { expect, test } from "vitest";
import { toInstanceType } from "../../../src/aws/instance-types.ts";
import { listPrices } from "../../../src/aws/prices.ts";
import {
  formatInstanceTypes,
  formatOfferings,
  parseInstanceTypes,
  parseOfferings,
  readSnapshot,
} from "../../../src/aws/snapshot.ts";
import { makeType } from "../../support/make.ts";

test("the shipped snapshot has the types and regions of its source", async () => {
  const { types, offerings } = await readSnapshot();
  expect(types).toHaveLength(1_263);
  expect(offerings.size).toBe(30);
  expect(offerings.get("us-east-1")?.size).toBe(1_243);
  expect(types.find(({ name }) => name === "g5.xlarge")).toEqual({
    name: "g5.xlarge",
    vcpus: 4,
    memoryMib: 16384,
    arch: "x86_64",
    isNitro: true,
    isBareMetal: false,
    isBurstable: false,
    hasOtherAccelerator: false,
    gpu: { count: 1, name: "A10G", manufacturer: "NVIDIA", memoryMib: 22888 },
  });
});

test("every region's names are names of types", async () => {
  const { types, offerings } = await readSnapshot();
  const names = new Set(types.map(({ name }) => name));
  const strangers = [...offerings.values()]
    .flatMap((set) => [...set])
    .filter((name) => !names.has(name));
  expect(strangers).toEqual([]);
});

test("types are read as they were written", () => {
  const { hourlyUsd: _, ...plain } = makeType();
  const types = [
    plain,
    { ...plain, name: "t3.micro", isBurstable: true },
    { ...plain, name: "m5.metal", isNitro: false, isBareMetal: true },
    { ...plain, name: "trn1.2xlarge", hasOtherAccelerator: true, arch: "arm64" as const },
    {
      ...plain,
      name: "g6f.large",
      gpu: { count: 0, name: "L4", manufacturer: "NVIDIA", memoryMib: 2861 },
    },
  ];
  const text = formatInstanceTypes(types, "from here\nand there");
  expect(text.startsWith("# from here\n# and there\ninstance_type,")).toBe(true);
  expect(parseInstanceTypes(text)).toEqual(types);
});

test("offerings are read as they were written, one row for sizes that stand in the same regions", () => {
  const offerings = new Map([
    ["us-east-1", new Set(["m5.large", "m5.xlarge", "m5.metal"])],
    ["eu-west-1", new Set(["m5.large", "m5.xlarge"])],
  ]);
  const text = formatOfferings(offerings, "source");
  expect(text).toBe(
    "# source\nfamily,sizes,regions\nm5,large xlarge,eu-west-1 us-east-1\nm5,metal,us-east-1\n",
  );
  expect(parseOfferings(text)).toEqual(offerings);
});

test.each([
  ["other columns", "a,b\n", 'its columns are "a,b"'],
  [
    "a word for a count",
    `${formatInstanceTypes([], "s")}m5.large,two,8192,x86_64,nitro,,,,\n`,
    '"two" is no count',
  ],
])("a snapshot with %s is refused", (_, text, message) => {
  expect(() => parseInstanceTypes(text)).toThrow(message);
});

test("a cell with a comma is never written", () => {
  expect(() => formatInstanceTypes([makeType({ name: "a,b" })], "s")).toThrow("a,b");
});

test.each([
  ["i386 and x86_64", ["i386", "x86_64"], "x86_64"],
  ["arm64", ["arm64"], "arm64"],
  ["a Mac's", ["arm64_mac"], "other"],
  ["a Mac's", ["x86_64_mac"], "other"],
])("%s architecture %j is %s", (_, names, arch) => {
  const info = { ProcessorInfo: { SupportedArchitectures: names as ["arm64"] } };
  expect(toInstanceType(info).arch).toBe(arch);
});

test.each([
  [{ FpgaInfo: {} }],
  [{ InferenceAcceleratorInfo: {} }],
  [{ NeuronInfo: {} }],
  [{ MediaAcceleratorInfo: {} }],
])("%j is an accelerator", (info) => {
  expect(toInstanceType(info).hasOtherAccelerator).toBe(true);
  expect(toInstanceType({}).hasOtherAccelerator).toBe(false);
});

test.each([
  ["m5.large", 2, 0.096],
  ["m5.24xlarge", 96, 4.608],
  ["c7i-flex.xlarge", 4, 0.16958],
  ["g4dn.xlarge", 4, 0.526],
  ["t3.nano", 2, 0.0052],
  ["t3.2xlarge", 8, 0.3328],
  ["p5.48xlarge", 192, 55.04],
])("%s costs what AWS lists", (name, vcpus, usd) => {
  expect(listPrices.hourlyUsd(makeType({ name, vcpus }), "us-east-1")).toBe(usd);
});

test("an unknown family and bare metal have no price", () => {
  expect(listPrices.hourlyUsd(makeType({ name: "z9.large" }), "us-east-1")).toBeUndefined();
  const metal = makeType({ name: "m5.metal", isBareMetal: true });
  expect(listPrices.hourlyUsd(metal, "us-east-1")).toBeUndefined();
});

test("another region's prices are estimates", () => {
  expect([listPrices.isEstimate("us-east-1"), listPrices.isEstimate("eu-west-1")]).toEqual([
    false,
    true,
  ]);
});
