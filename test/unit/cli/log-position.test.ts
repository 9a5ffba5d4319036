import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLogPosition } from "../../../src/cli/log-position.ts";
import { untimed } from "../../../src/core/log-lines.ts";

const texts = (...each: readonly string[]) => each.map(untimed);

type Step = { readonly isLive: boolean; readonly from: number; readonly count: number };

/** Chunks come in order and without a gap; live lines from anywhere. */
function expectOnceAndInOrder(steps: readonly Step[]): void {
  const position = createLogPosition();
  const text = (line: number) => untimed(`line ${line}`);
  const given: ReturnType<typeof text>[] = [];
  let shipped = 0;
  for (const { isLive, from, count } of steps) {
    const first = isLive ? from + 1 : shipped + 1;
    const lines = Array.from({ length: count }, (_, at) => text(first + at));
    given.push(...(isLive ? position.takeLive(first, lines) : position.take(first, lines)));
    shipped += isLive ? 0 : count;
  }
  given.push(...position.take(shipped + 1, []));
  expect(given).toEqual(given.map((_, at) => text(at + 1)));
  expect(given.length).toBeGreaterThanOrEqual(shipped);
  expect(position.nextLine()).toBe(given.length + 1);
}

describe("a reader of chunks and of lines as they are written", () => {
  it("gives each line once and in order, whichever side brings it and however they overlap", () => {
    const steps = fc.array(
      fc.record({ isLive: fc.boolean(), from: fc.nat({ max: 60 }), count: fc.nat({ max: 15 }) }),
      { maxLength: 40 },
    );
    fc.assert(fc.property(steps, expectOnceAndInOrder));
  });

  it("keeps live lines that do not follow yet until chunks have closed the hole", () => {
    const position = createLogPosition();
    expect(position.takeLive(3, texts("three", "four"))).toEqual([]);
    expect(position.take(1, texts("one", "two", "three"))).toEqual(
      texts("one", "two", "three", "four"),
    );
    expect(position.takeLive(5, texts("five"))).toEqual(texts("five"));
    expect(position.take(4, texts("four", "five", "six"))).toEqual(texts("six"));
  });

  it("tells of a hole only when the chunks themselves have it", () => {
    const position = createLogPosition();
    position.takeLive(2, texts("two"));
    expect(position.take(4, texts("four"))).toEqual(
      texts("errand: lines 1 to 3 were not uploaded", "four"),
    );
  });
});
