/** "Did you mean". */
import { describe, expect, test } from "vitest";
import { nearNames, suggest } from "../../../src/providers/near.ts";

describe("near names", () => {
  test.each([
    ["gpus", ["gpu", "cpu"], ["gpu"]],
    ["pyhton", ["python", "curl"], ["python"]],
    ["depends_on", ["depends-on"], ["depends-on"]],
    ["ARTIFACTS", ["artifacts"], ["artifacts"]],
    ["x", ["y", "abc"], ["y"]],
    ["colour", ["name", "provider"], []],
    ["aab", ["abb", "aaa", "aabb", "baab", "zzz"], ["aaa", "aabb", "abb"]],
    ["x".repeat(65), ["x".repeat(65)], []],
  ])("of %s among %j are %j", (name, known, expected) => {
    expect(nearNames(name, known)).toEqual(expected);
  });

  test("are offered first, then all names, then that there are none", () => {
    expect(suggest("gpus", ["gpu", "cpu"], "keys")).toBe('did you mean "gpu"?');
    expect(suggest("disk", ["gpu", "cpu"], "keys")).toBe("known keys: gpu, cpu");
    expect(suggest("disk", [], "keys")).toBe("there are no keys");
    const many = Array.from({ length: 20 }, (_, index) => `name-${index}`);
    expect(suggest("disk", many, "keys")).toMatch(/name-11, …$/);
  });
});
