import { expect, it } from "vitest";
import { matchesWildcard } from "../../../src/local/wildcards.ts";

it.each([
  ["m5.large", "m5.large", true],
  ["m5.large", "m5.*", true],
  ["m5.large", "m?.large", true],
  ["m5.large", "*", true],
  ["", "*", true],
  ["m5.large", "*arg*", true],
  ["m5.large", "m5.larg", false],
  ["m5.large", "m5.large?", false],
  ["m5xlarge", "m5.large", false],
  ["a*b", "a\\*b", true],
  ["axb", "a\\*b", false],
  ["a\\", "a\\", true],
  ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*a*a*a*c", false],
])("%s against %s: %s", (value, pattern, expected) => {
  expect(matchesWildcard(value, pattern)).toBe(expected);
});
