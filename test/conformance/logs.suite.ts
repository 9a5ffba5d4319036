/** What every Logs promises: numbered lines, each once and in order, from any line on, until nobody wants them any more. */
import { describe, expect, test } from "vitest";
import type { LogLine } from "../../src/core/log-lines.ts";
import { isCloudError } from "../../src/errors.ts";
import type { LogEvent, Logs } from "../../src/ports.ts";

export type LogsUnderTest = {
  readonly logs: Logs;
  /** An instance whose job has written nothing yet. */
  readonly instanceId: string;
  /** Appends to its log. */
  readonly write: (text: string) => Promise<void>;
  /** When the line of that number was begun. */
  readonly timeOf: (line: number) => number;
  /** Logs of somebody who may not follow any. */
  readonly refused: Logs;
};

const EVENTS_MAX = 10_000;

/** `makeWorld` is called for each test. */
export function logsConformance(name: string, makeWorld: () => Promise<LogsUnderTest>): void {
  describe(`logs: ${name}`, () => {
    test("lines that were there and lines that come are given in order, with their numbers and times", async () => {
      const { logs, instanceId, write, timeOf } = await makeWorld();
      await write("one\ntwo\n");
      const reading = readUntil(logs, { instanceId, firstLine: 1, lastLine: 4 });
      await write("thr");
      await write("ee\nfour\n");
      expect(await reading).toEqual([
        { at: timeOf(1), text: "one" },
        { at: timeOf(2), text: "two" },
        { at: timeOf(3), text: "three" },
        { at: timeOf(4), text: "four" },
      ]);
    });

    test("following begins at the line that is asked for", async () => {
      const { logs, instanceId, write, timeOf } = await makeWorld();
      await write("one\ntwo\nthree\n");
      expect(await readUntil(logs, { instanceId, firstLine: 3, lastLine: 3 })).toEqual([
        { at: timeOf(3), text: "three" },
      ]);
    });

    test("a log that does not exist yet is followed from its first line", async () => {
      const { logs, instanceId, write } = await makeWorld();
      const reading = readUntil(logs, { instanceId, firstLine: 1, lastLine: 1 });
      await write("late\n");
      expect((await reading).map(({ text }) => text)).toEqual(["late"]);
    });

    test("characters, carriage returns, empty lines and byte order marks come as they were written", async () => {
      const { logs, instanceId, write } = await makeWorld();
      const lines = [
        "10%\r20%\r100%",
        "",
        "snow ☃ 🎈",
        "\uFEFFmark",
        "\uFFFD broken \uFFFD",
        "\t end ",
      ];
      await write(`${lines.join("\n")}\n`);
      const read = await readUntil(logs, { instanceId, firstLine: 1, lastLine: 6 });
      expect(read.map(({ text }) => text)).toEqual(lines);
    });

    test("a line that is being written is told before it has ended", async () => {
      const { logs, instanceId, write, timeOf } = await makeWorld();
      await write("one\nloading 10%");
      const open = await findEvent(logs, instanceId, (event) => event.type === "open");
      const line = { at: timeOf(2), text: "loading 10%" };
      expect(open).toEqual({ type: "open", number: 2, line });
    });

    test("nothing more comes once nobody wants it", async () => {
      const { logs, instanceId, write } = await makeWorld();
      await write("one\n");
      const leaving = new AbortController();
      const events: LogEvent[] = [];
      for await (const event of logs.follow(instanceId, 1, leaving.signal)) {
        events.push(event);
        if (event.type === "lines") leaving.abort();
      }
      expect(events.filter(({ type }) => type === "lines")).toHaveLength(1);
    });

    test("whoever may not follow is refused with the reason", async () => {
      const { refused, instanceId } = await makeWorld();
      const following = findEvent(refused, instanceId, () => false);
      const error = await following.catch((each: unknown) => each);
      expect(isCloudError(error, "refused") && error.message).toMatch(/\w/);
    });
  });
}

/** All lines from the first to the last; fails when numbers do not follow each other. */
async function readUntil(
  logs: Logs,
  { instanceId, firstLine, lastLine }: { instanceId: string; firstLine: number; lastLine: number },
): Promise<readonly LogLine[]> {
  const lines: LogLine[] = [];
  for await (const event of logs.follow(instanceId, firstLine, AbortSignal.timeout(30_000))) {
    if (event.type !== "lines") continue;
    expect(event.firstLine).toBe(firstLine + lines.length);
    lines.push(...event.lines);
    if (firstLine + lines.length > lastLine) return lines;
  }
  throw new Error(`only ${lines.length} lines came`);
}

async function findEvent(
  logs: Logs,
  instanceId: string,
  isWanted: (event: LogEvent) => boolean,
): Promise<LogEvent> {
  let count = 0;
  for await (const event of logs.follow(instanceId, 1, AbortSignal.timeout(30_000))) {
    if (isWanted(event)) return event;
    if (++count > EVENTS_MAX) break;
  }
  throw new Error("the event did not come");
}
