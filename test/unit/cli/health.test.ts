import { expect, test } from "vitest";
import { createHealth } from "../../../src/cli/health.ts";

function makeHealth() {
  const clock = { at: 1_000_000 };
  return { clock, health: createHealth({ now: () => clock.at }) };
}

test("a daemon that has just begun is well", () => {
  expect(makeHealth().health.trouble()).toBeUndefined();
});

test("one whose loops come round stays well", () => {
  const { health, clock } = makeHealth();
  for (let minute = 0; minute < 60; minute += 1) {
    clock.at += 60_000;
    health.turned("lease", clock.at);
    health.turned("look", clock.at);
    expect(health.trouble()).toBeUndefined();
  }
});

test.each(["lease", "look"] as const)("one whose %s loop is stuck is not", (stuck) => {
  const { health, clock } = makeHealth();
  for (let minute = 0; minute < 6; minute += 1) {
    clock.at += 60_000;
    health.turned(stuck === "lease" ? "look" : "lease", clock.at);
  }
  expect(health.trouble()).toBe(`the ${stuck} loop has not come round for 360 s`);
  health.turned(stuck, clock.at);
  expect(health.trouble()).toBeUndefined();
});

test("a sweep may work for as long as it has to", () => {
  const { health, clock } = makeHealth();
  clock.at += 60 * 60_000;
  health.turned("lease", clock.at);
  health.turned("look", clock.at);
  expect(health.trouble()).toBeUndefined();
});
