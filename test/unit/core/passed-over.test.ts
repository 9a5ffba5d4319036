/** What is said of types that cost less than the one chosen. */
import { expect, test } from "vitest";
import { listPassedOver } from "../../../src/core/passed-over.ts";
import { makeCatalog, makeResources, makeType } from "../../support/make.ts";

const GIB = 2 ** 30;
const types = [
  makeType({ name: "m7i.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: 0.2 }),
  makeType({ name: "m5a.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: 0.199 }),
  makeType({ name: "m7i.large", vcpus: 2, memoryMib: 8192, hourlyUsd: 0.1 }),
  makeType({ name: "c7i.xlarge", vcpus: 4, memoryMib: 8192, hourlyUsd: 0.17 }),
  makeType({ name: "t3.nano", vcpus: 2, memoryMib: 512, hourlyUsd: 0.005, isBurstable: true }),
  makeType({ name: "t3.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: 0.16, isBurstable: true }),
  makeType({ name: "m7g.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: 0.18, arch: "arm64" }),
  makeType({ name: "m9.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: undefined }),
  makeType({ name: "m7i.2xlarge", vcpus: 8, memoryMib: 32768, hourlyUsd: 0.4 }),
];
const resources = makeResources({ cpu: 4, memoryBytes: 16 * GIB });

test("each reason is told once, by the type that comes nearest", () => {
  const passed = listPassedOver(resources, makeCatalog({ types }), { hourlyUsd: 0.2 });
  expect(passed.map((each) => [each.instanceType, each.reasons.join(", "), each.others])).toEqual([
    ["m5a.xlarge", "an older generation for nearly the same price", 0],
    ["m7g.xlarge", "arm64, x86_64 asked for", 0],
    ["t3.xlarge", "burstable", 1],
    ["m7i.large", "2 vCPUs, 4 asked for, 8 GiB of memory, 16 GiB asked for", 0],
    ["c7i.xlarge", "8 GiB of memory, 16 GiB asked for", 0],
  ]);
});

test("nothing is passed over for the cheapest, or for a type that is pinned", () => {
  const catalog = makeCatalog({ types });
  expect(listPassedOver(resources, catalog, { hourlyUsd: 0.005 })).toEqual([]);
  const pinned = { ...resources, instanceType: "m7i.xlarge" };
  expect(listPassedOver(pinned, catalog, { hourlyUsd: 0.2 })).toEqual([]);
});
