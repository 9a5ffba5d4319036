import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLineQueue } from "../../../../src/aws/session/line-queue.ts";
import {
  createLineSplitter,
  LINE_CHARS_MAX,
  OPEN_CHARS_MAX,
  type Piece,
} from "../../../../src/aws/session/lines.ts";
import { untimed } from "../../../../src/core/log-lines.ts";
import type { LogEvent } from "../../../../src/ports.ts";

/** Cuts bytes at the given places, whatever character that splits. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1))), bytes.length];
  let start = 0;
  return ends
    .toSorted((one, other) => one - other)
    .map((end) => {
      const part = bytes.subarray(start, end);
      start = end;
      return part;
    });
}

const numbered = (pieces: readonly Piece[]): [number, number | null, string][] =>
  pieces.flatMap((piece) =>
    piece.type === "lines"
      ? piece.lines.map(({ at, text }, index): [number, number | null, string] => [
          piece.firstLine + index,
          at,
          text,
        ])
      : [],
  );

const stamp = (at: number): string => `${at.toString(16).padStart(11, "0")} `;
const AT = 1_764_000_000_000;

describe("output as lines", () => {
  test("wherever messages are cut, lines keep their text, their times and their numbers", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "é", "☃", "🎈", "\r", "\n", "\uFEFF") });
    fc.assert(
      fc.property(text, fc.array(fc.nat()), (content, places) => {
        const splitter = createLineSplitter(7);
        const lines = content.split("\n");
        const stamped = lines.map((line, index) => stamp(AT + index) + line).join("\n");
        const pieces = cut(Buffer.from(stamped), places).flatMap((part) => splitter.push(part));
        const open = lines.pop() ?? "";
        expect(numbered(pieces)).toEqual(lines.map((line, index) => [7 + index, AT + index, line]));
        expect(splitter.openLine()).toEqual(
          open === "" ? undefined : { at: AT + lines.length, text: open },
        );
        expect(splitter.nextLine()).toBe(7 + lines.length);
      }),
    );
  });

  test("the one byte that the agent makes of U+FFFD is U+FFFD again", () => {
    const splitter = createLineSplitter(1);
    const rewritten = Buffer.concat([Buffer.from("a"), Buffer.from([0xef]), Buffer.from("b\n")]);
    expect(numbered(splitter.push(rewritten))).toEqual([[1, null, "a\uFFFDb"]]);
  });

  test("a line too long to hold is told by its number, shown by its end, and those after it keep theirs", () => {
    const splitter = createLineSplitter(1);
    const block = Buffer.alloc(LINE_CHARS_MAX / 2, "x");
    expect(splitter.push(Buffer.from(`first\n${stamp(AT)}`))).toHaveLength(1);
    for (let count = 0; count < 5; count++) expect(splitter.push(block)).toEqual([]);
    splitter.push(Buffer.from("\r99%"));
    expect(splitter.openLine()).toEqual({
      at: AT,
      text: `${"x".repeat(OPEN_CHARS_MAX - 4)}\r99%`,
    });
    expect(splitter.push(Buffer.from(`\n${stamp(AT + 1)}third\n`))).toEqual([
      { type: "long", line: 2 },
      { type: "lines", firstLine: 3, lines: [{ at: AT + 1, text: "third" }] },
    ]);
  });
});

async function readAll(events: AsyncIterable<LogEvent>): Promise<LogEvent[]> {
  const all: LogEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** The event begins at the line that is due; returns the next one. */
function expectNext(due: number, event: LogEvent): number {
  if (event.type === "skipped") {
    expect(event.firstLine).toBe(due);
    return event.lastLine + 1;
  }
  if (event.type !== "lines") return due;
  expect(event.firstLine).toBe(due);
  expect(event.lines).toEqual(event.lines.map((_, at) => untimed(`${due + at}`)));
  return due + event.lines.length;
}

const lines = (firstLine: number, ...texts: string[]): Piece => ({
  type: "lines",
  firstLine,
  lines: texts.map(untimed),
});

describe("the queue between a session and a reader", () => {
  test("of sessions that overlap, each line is given once", async () => {
    const queue = createLineQueue(1);
    queue.offer(lines(1, "one", "two"));
    queue.offer(lines(2, "two", "three"));
    queue.offer(lines(1, "one"));
    queue.close();
    expect(await readAll(queue.read())).toEqual([lines(1, "one", "two", "three")]);
  });

  test("a reader that is too slow gets the newest, and is told what it missed", async () => {
    const queue = createLineQueue(1, 100_000);
    const wide = "x".repeat(999);
    for (let line = 1; line <= 1_000; line++) queue.offer(lines(line, wide));
    queue.close();
    const [skipped, ...rest] = await readAll(queue.read());
    expect(skipped).toMatchObject({ type: "skipped", firstLine: 1 });
    const [next] = rest;
    expect(next?.type === "lines" && next.firstLine).toBe(
      skipped?.type === "skipped" ? skipped.lastLine + 1 : undefined,
    );
    const given = rest.reduce(
      (sum, each) => sum + (each.type === "lines" ? each.lines.length : 0),
      0,
    );
    expect(given).toBeGreaterThan(30);
    expect(given).toBeLessThanOrEqual(100);
    expect(queue.nextLine()).toBe(1_001);
  });

  test("whatever is offered, numbers given and skipped have no hole and no double", async () => {
    const offers = fc.array(fc.tuple(fc.nat({ max: 5 }), fc.nat({ max: 40 })), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(offers, async (sizes) => {
        const queue = createLineQueue(1, 1_000);
        for (const [back, count] of sizes) {
          const from = Math.max(1, queue.nextLine() - back);
          if (count === 0) queue.offer({ type: "long", line: queue.nextLine() });
          else
            queue.offer(lines(from, ...Array.from({ length: count }, (_, at) => `${from + at}`)));
        }
        queue.close();
        const next = (await readAll(queue.read())).reduce(expectNext, 1);
        expect(next).toBe(queue.nextLine());
      }),
    );
  });

  test("an open line is replaced by what it becomes, and gone when it has ended", async () => {
    const queue = createLineQueue(1);
    queue.offerOpen(1, untimed("10%"));
    queue.offerOpen(1, untimed("10%\r20%"));
    const events = queue.read();
    expect((await events.next()).value).toEqual({
      type: "open",
      number: 1,
      line: untimed("10%\r20%"),
    });
    queue.offerOpen(1, untimed("10%\r20%\r100%"));
    queue.offer(lines(1, "10%\r20%\r100%"));
    queue.close();
    expect(await readAll(events)).toEqual([lines(1, "10%\r20%\r100%")]);
  });

  test("what was held is given before an error is thrown", async () => {
    const queue = createLineQueue(1);
    queue.offer(lines(1, "one"));
    queue.fail(new Error("refused"));
    const events = queue.read();
    expect((await events.next()).value).toMatchObject({ firstLine: 1 });
    await expect(events.next()).rejects.toThrow("refused");
  });
});
