import { expect, test } from "vitest";
import { keepLease, LEASE_MS } from "../../../src/daemon/lease.ts";
import { Bucket } from "../../support/bucket.ts";

function makeWorld() {
  const clock = { at: 1_000 };
  const bucket = new Bucket(() => clock.at);
  const daemon = (holder: string, isDead = () => false) =>
    keepLease(bucket, { holder, host: "h", pid: 1 }, { now: () => clock.at, isDead });
  return { clock, bucket, daemon };
}

test("one daemon takes the lease, and a second one stands by", async () => {
  const { daemon } = makeWorld();
  const [first, second] = [daemon("a"), daemon("b")];
  expect([await first.renew(), await second.renew()]).toEqual([true, false]);
  expect([first.isHeld(), second.isHeld()]).toEqual([true, false]);
});

test("of two that race for a free lease, one has it", async () => {
  const { daemon } = makeWorld();
  const held = await Promise.all([daemon("a").renew(), daemon("b").renew()]);
  expect(held.filter(Boolean)).toHaveLength(1);
});

test("a lease that is not renewed lapses, and the second daemon takes over", async () => {
  const { clock, daemon } = makeWorld();
  const [first, second] = [daemon("a"), daemon("b")];
  await first.renew();
  await second.renew();
  clock.at += LEASE_MS + 1;
  expect(first.isHeld()).toBe(false);
  expect(await second.renew()).toBe(true);
  expect(await first.renew()).toBe(false);
});

test("a lease that goes on being renewed is never taken over, whatever the holder's clock says", async () => {
  const { clock, daemon } = makeWorld();
  const [first, second] = [daemon("a"), daemon("b")];
  for (let count = 0; count < 10; count += 1) {
    await first.renew();
    expect(await second.renew()).toBe(false);
    clock.at += LEASE_MS - 1;
  }
});

test("the lease of a process that is certainly dead is taken over at once", async () => {
  const { daemon } = makeWorld();
  await daemon("a").renew();
  expect(await daemon("b", () => true).renew()).toBe(true);
});

test("a lease given back is free at once", async () => {
  const { daemon } = makeWorld();
  const first = daemon("a");
  await first.renew();
  await first.release();
  expect(first.isHeld()).toBe(false);
  expect(await daemon("b").renew()).toBe(true);
});

test("a lease that this version cannot read is left to its holder until it lapses", async () => {
  const { bucket, clock, daemon } = makeWorld();
  await bucket.put("lease.json", JSON.stringify({ format: 2 }));
  const other = daemon("a");
  expect(await other.renew()).toBe(false);
  clock.at += LEASE_MS + 1;
  expect(await other.renew()).toBe(true);
});
