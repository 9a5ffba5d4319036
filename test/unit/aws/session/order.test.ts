import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createIncoming } from "../../../../src/aws/session/incoming.ts";
import { createOutgoing } from "../../../../src/aws/session/outgoing.ts";

describe("messages that come", () => {
  test("in whatever order and however often they come, each is given once and in order", () => {
    const arrivals = fc
      .integer({ min: 1, max: 60 })
      .chain((count) =>
        fc.tuple(
          fc.constant(count),
          fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
          fc.array(fc.nat({ max: count - 1 }), { maxLength: 40 }),
        ),
      );
    fc.assert(
      fc.property(arrivals, ([count, order, again]) => {
        const incoming = createIncoming<number>();
        const given = [...order, ...again, ...order].flatMap((sequence) => {
          const received = incoming.receive(sequence, sequence, 0);
          return received.type === "taken" ? received.ready : [];
        });
        expect(given).toEqual([...Array(count).keys()]);
      }),
    );
  });

  test("a message that came before is acknowledged again and given no more", () => {
    const incoming = createIncoming<string>();
    incoming.receive(0, "a", 0);
    expect(incoming.receive(0, "a", 1)).toEqual({ type: "taken", ready: [] });
  });

  test("a gap is hopeless after 5 s, and closed it is none", () => {
    const incoming = createIncoming<number>();
    incoming.receive(1, 1, 1_000);
    expect(incoming.isHopeless(6_000)).toBe(false);
    expect(incoming.isHopeless(6_001)).toBe(true);
    incoming.receive(0, 0, 6_002);
    expect(incoming.isHopeless(60_000)).toBe(false);
  });

  test("a gap with more than 64 messages behind it is hopeless after 2 s", () => {
    const incoming = createIncoming<number>();
    for (let sequence = 1; sequence <= 65; sequence++) incoming.receive(sequence, sequence, 0);
    expect(incoming.isHopeless(2_000)).toBe(false);
    expect(incoming.isHopeless(2_001)).toBe(true);
  });

  test("what there is no room for is not acknowledged, and nothing grows without bound", () => {
    const incoming = createIncoming<number>();
    for (let sequence = 1; sequence <= 10_000; sequence++) incoming.receive(sequence, sequence, 0);
    expect(incoming.receive(10_001, 10_001, 0)).toEqual({ type: "dropped" });
    const freed = incoming.receive(0, 0, 0);
    expect(freed.type === "taken" && freed.ready.length).toBe(10_001);
  });
});

describe("messages that are sent", () => {
  const frame = Buffer.from("x");

  test("the oldest that nobody acknowledged is sent again, after 200 ms at first", () => {
    const outgoing = createOutgoing();
    outgoing.keep(outgoing.next(), frame, 0);
    expect(outgoing.due(199)).toBeUndefined();
    expect(outgoing.due(200)).toBe(frame);
    expect(outgoing.due(250)).toBeUndefined();
  });

  test("what was acknowledged is not sent again", () => {
    const outgoing = createOutgoing();
    outgoing.keep(outgoing.next(), frame, 0);
    outgoing.acknowledge(0, 50);
    expect(outgoing.due(10_000)).toBeUndefined();
  });

  test("the time-out follows slow round trips, up to a second", () => {
    const outgoing = createOutgoing();
    for (let round = 0; round < 50; round++) {
      const sequence = outgoing.next();
      outgoing.keep(sequence, frame, 0);
      outgoing.acknowledge(sequence, 5_000);
    }
    outgoing.keep(outgoing.next(), frame, 0);
    expect(outgoing.due(999)).toBeUndefined();
    expect(outgoing.due(1_000)).toBe(frame);
  });

  test("after thirty tries nobody will acknowledge it", () => {
    const outgoing = createOutgoing();
    outgoing.keep(outgoing.next(), frame, 0);
    for (let round = 1; round < 30; round++) outgoing.due(round * 1_000);
    expect(outgoing.isHopeless()).toBe(false);
    outgoing.due(30_000);
    expect(outgoing.isHopeless()).toBe(true);
  });
});
