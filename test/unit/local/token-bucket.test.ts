import { expect, it } from "vitest";
import { createThrottle, createTokenBucket } from "../../../src/local/token-bucket.ts";

const size = { capacity: 5, refillPerSecond: 2 };

it("a bucket gives what it holds, then what has been refilled since, and never more than it holds", () => {
  let now = 0;
  const bucket = createTokenBucket(size, () => now);
  const takeAll = (): number => {
    let taken = 0;
    while (bucket.take()) taken += 1;
    return taken;
  };
  expect(takeAll()).toBe(5);
  now += 499;
  expect(bucket.take()).toBe(false);
  now += 1;
  expect(bucket.take()).toBe(true);
  now += 60_000;
  expect(takeAll()).toBe(5);
});

it("a bucket gives all of the tokens asked for or none", () => {
  const bucket = createTokenBucket(size, () => 0);
  expect(bucket.take(4)).toBe(true);
  expect(bucket.take(2)).toBe(false);
  expect(bucket.take(1)).toBe(true);
});

it("more than a bucket holds can be had when it is full, or it could never be had", () => {
  const bucket = createTokenBucket(size, () => 0);
  expect(bucket.take(6)).toBe(true);
  expect(bucket.take(1)).toBe(false);
});

it("a clock that goes back refills nothing", () => {
  let now = 10_000;
  const bucket = createTokenBucket(size, () => now);
  bucket.take(5);
  now = 0;
  expect(bucket.take()).toBe(false);
  now = 500;
  expect(bucket.take()).toBe(true);
});

it("each name has a bucket of its own", () => {
  const throttle = createThrottle({ run: size, list: size }, () => 0);
  expect(throttle.take("run", 5)).toBe(true);
  expect(throttle.take("run")).toBe(false);
  expect(throttle.take("list")).toBe(true);
});
