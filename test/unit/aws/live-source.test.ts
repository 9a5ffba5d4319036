import { expect, test } from "vitest";
import { createLiveSource } from "../../../src/aws/live-source.ts";
import { type LiveTypes, livePrices } from "../../../src/aws/live-types.ts";
import { CloudError } from "../../../src/errors.ts";
import { makeType } from "../../support/make.ts";
import { makeStore } from "../../support/memory-store.ts";

const HOUR_MS = 3_600_000;

const makeLive = (readAt: number): LiveTypes => {
  const { hourlyUsd: _, ...type } = makeType();
  return {
    region: "eu-west-1",
    readAt,
    types: [type],
    prices: { hourlyUsd: { "m7i.large": 0.12 }, isConverted: false },
  };
};

function makeSource(store = makeStore()) {
  const time = { now: 0 };
  const reads: number[] = [];
  const complaints: unknown[] = [];
  /** Of all that is read, or of prices alone. */
  const fault: { error?: Error; ofPrices?: Error } = {};
  const source = createLiveSource({
    store,
    region: "eu-west-1",
    now: () => time.now,
    // Half an hour of jitter.
    random: () => 0.5,
    onComplaint: (error) => complaints.push(error),
    read: async (complain) => {
      reads.push(time.now);
      if (fault.error) throw fault.error;
      if (fault.ofPrices) complain(fault.ofPrices);
      return makeLive(time.now);
    },
  });
  /** What is there at a moment, and after what was begun then is done. */
  const at = async (now: number) => {
    time.now = now;
    const before = await source.current();
    await source.settled();
    return { before, after: await source.current() };
  };
  return { store, reads, complaints, fault, at };
}

test("nobody waits for AWS: there is nothing at first, then what was read, and it is in the bucket", async () => {
  const { at, store, reads } = makeSource();
  expect(await at(0)).toEqual({ before: undefined, after: makeLive(0) });
  expect(reads).toEqual([0]);
  const other = makeSource(store);
  expect((await other.at(HOUR_MS)).before).toEqual(makeLive(0));
  expect(other.reads).toEqual([]);
});

test("they are read anew after twelve hours and a share of one more, and used on meanwhile", async () => {
  const { at, reads } = makeSource();
  await at(0);
  await at(12.4 * HOUR_MS);
  expect(reads).toEqual([0]);
  const { before, after } = await at(12.5 * HOUR_MS);
  expect([before?.readAt, after?.readAt]).toEqual([0, 12.5 * HOUR_MS]);
});

test("a reading that fails is told, and tried again an hour later; the old ones stay", async () => {
  const { at, reads, complaints, fault } = makeSource();
  await at(0);
  fault.error = new CloudError("refused", "reading prices: not authorized");
  const { after } = await at(13 * HOUR_MS);
  expect(after?.readAt).toBe(0);
  await at(13.9 * HOUR_MS);
  expect(reads).toEqual([0, 13 * HOUR_MS]);
  expect(complaints).toEqual([fault.error]);
  delete fault.error;
  expect((await at(14 * HOUR_MS)).after?.readAt).toBe(14 * HOUR_MS);
});

test.each(["error", "ofPrices"] as const)(
  "a reason that stays is told once, and again after all was well: %s",
  async (kind) => {
    const { at, complaints, fault } = makeSource();
    const refuse = (what: string) => {
      fault[kind] = new CloudError("refused", `reading prices: ${what}`);
    };
    refuse("not authorized");
    for (const day of [0, 1, 2]) await at(day * 24 * HOUR_MS);
    expect(complaints).toHaveLength(1);
    refuse("no such region");
    await at(3 * 24 * HOUR_MS);
    expect(complaints).toHaveLength(2);
    delete fault[kind];
    await at(4 * 24 * HOUR_MS);
    refuse("no such region");
    await at(5 * 24 * HOUR_MS);
    expect(complaints).toHaveLength(3);
  },
);

test.each([
  ["of another format", { format: 2 }],
  ["of another region", { format: 1, ...makeLive(0), region: "us-east-1" }],
  ["that is no JSON", "{"],
])("an object %s is as good as none", async (_, content) => {
  const { at, reads } = makeSource(makeStore({ "catalog/eu-west-1.json": content }));
  expect((await at(5)).before).toBeUndefined();
  expect(reads).toEqual([5]);
});

test("a type that the Price List does not have is priced as shipped, and bare metal never", () => {
  const prices = livePrices(makeLive(Date.parse("2026-11-25T08:00:00Z")));
  const usd = (name: string, isBareMetal = false) =>
    prices?.hourlyUsd(makeType({ name, isBareMetal }), "eu-west-1");
  expect([usd("m7i.large"), usd("m5.large"), usd("m7i.large", true)]).toEqual([
    0.12,
    0.096,
    undefined,
  ]);
  expect(prices?.pricedOn).toBe("2026-11-25");
  expect(prices?.isEstimate("eu-west-1")).toBe(false);
});
