import { expect, test } from "vitest";
import {
  CAPACITY_REST_MS,
  rested,
  restOf,
  UNSUPPORTED_REST_MS,
} from "../../../src/core/capacity.ts";

const NONE = "InsufficientInstanceCapacity";

test.each<[string, string, string, string, boolean]>([
  ["the same size", "g5.xlarge", "us-east-1a", NONE, true],
  ["a larger size", "g5.2xlarge", "us-east-1a", NONE, true],
  ["a much larger size", "g5.48xlarge", "us-east-1a", NONE, true],
  ["a smaller size", "g5.large", "us-east-1a", NONE, false],
  ["another zone", "g5.xlarge", "us-east-1b", NONE, false],
  ["a larger size in another zone", "g5.2xlarge", "us-east-1b", NONE, false],
  ["another family", "g5g.2xlarge", "us-east-1a", NONE, false],
  [
    "a larger size of a type that the zone does not have",
    "g5.2xlarge",
    "us-east-1a",
    "Unsupported",
    false,
  ],
  ["a type that the zone does not have", "g5.xlarge", "us-east-1a", "Unsupported", true],
])(
  "after g5.xlarge found no room in us-east-1a, %s rests as it should",
  (_what, instanceType, zone, code, rests) => {
    const capacity = rested(
      {},
      { instanceType: "g5.xlarge", zone: "us-east-1a" },
      { code, at: 1_000 },
    );
    const lasts = code === "Unsupported" ? UNSUPPORTED_REST_MS : CAPACITY_REST_MS;
    expect(restOf(capacity, { instanceType, zone }, 1_000 + lasts - 1) !== undefined).toBe(rests);
    expect(restOf(capacity, { instanceType, zone }, 1_000 + lasts)).toBeUndefined();
  },
);

test("2xlarge is larger than xlarge, and 16xlarge than 8xlarge", () => {
  const after = (refused: string, asked: string) => {
    const zone = "us-east-1a";
    const capacity = rested({}, { instanceType: `m7i.${refused}`, zone }, { code: NONE, at: 0 });
    return restOf(capacity, { instanceType: `m7i.${asked}`, zone }, 1) !== undefined;
  };
  expect([after("xlarge", "2xlarge"), after("2xlarge", "xlarge")]).toEqual([true, false]);
  expect([after("8xlarge", "16xlarge"), after("16xlarge", "8xlarge")]).toEqual([true, false]);
  expect([after("large", "xlarge"), after("medium", "large")]).toEqual([true, true]);
});
