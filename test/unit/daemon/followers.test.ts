import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { untimed } from "../../../src/core/log-lines.ts";
import { createFollowers } from "../../../src/daemon/followers.ts";
import { createLineRing } from "../../../src/daemon/line-ring.ts";
import { CloudError } from "../../../src/errors.ts";
import { createLog } from "../../../src/log.ts";
import type { Clock, LogEvent, Logs } from "../../../src/ports.ts";

const clock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(Math.min(ms, 20), undefined, { signal }).catch(() => {}),
};
const log = createLog({ level: "error", format: "json" });

/** A log that the test writes, and how often it was followed from where. */
function makeSource() {
  const sessions: number[] = [];
  const queue: LogEvent[] = [];
  let wake = (): void => {};
  let ends = 0;
  const logs: Logs = {
    follow: async function* follow(_, firstLine, signal) {
      sessions.push(firstLine);
      signal.addEventListener("abort", () => wake(), { once: true });
      while (!signal.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      ends++;
    },
  };
  const write = (...events: LogEvent[]): void => {
    queue.push(...events);
    wake();
  };
  return { logs, write, sessions, ends: () => ends };
}

const lines = (firstLine: number, ...texts: string[]): LogEvent => ({
  type: "lines",
  firstLine,
  lines: texts.map(untimed),
});

async function read(source: AsyncIterable<LogEvent>, count: number): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for await (const event of source) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

describe("a log that several watch", () => {
  it("is followed by one session, and each watcher gets all from where it began", async () => {
    const source = makeSource();
    const followers = createFollowers({ logs: source.logs, clock, log });
    const { signal } = new AbortController();
    const first = read(followers.follow("i-1", 5, signal), 2);
    source.write({ type: "live" }, lines(5, "five", "six"));
    expect(await first).toEqual([{ type: "live" }, lines(5, "five", "six")]);
    const second = await read(followers.follow("i-1", 6, signal), 2);
    expect(second).toEqual([{ type: "live" }, lines(6, "six")]);
    expect(source.sessions).toEqual([5]);
    await followers.stop();
  });

  it("tells a watcher who begins before what is there of the lines that it must get elsewhere", async () => {
    const source = makeSource();
    const followers = createFollowers({ logs: source.logs, clock, log });
    const { signal } = new AbortController();
    const first = read(followers.follow("i-1", 100, signal), 1);
    source.write(lines(100, "here"));
    await first;
    expect(await read(followers.follow("i-1", 1, signal), 2)).toEqual([
      { type: "skipped", firstLine: 1, lastLine: 99 },
      lines(100, "here"),
    ]);
    await followers.stop();
  });

  it("is not followed any more a while after the last watcher has left", async () => {
    const source = makeSource();
    const followers = createFollowers({ logs: source.logs, clock, log });
    const reading = read(followers.follow("i-1", 1, new AbortController().signal), 1);
    source.write(lines(1, "one"));
    await reading;
    await expect.poll(source.ends).toBe(1);
    expect(followers.count()).toBe(0);
  });

  it("that cannot be followed is told to its watchers with the reason, and tried anew by the next", async () => {
    let tries = 0;
    const logs: Logs = {
      // biome-ignore lint/correctness/useYield: it is refused before it gives anything.
      follow: async function* follow() {
        tries++;
        throw new CloudError("refused", "allow ssm:StartSession");
      },
    };
    const quiet = { ...log, warn: () => log } as typeof log;
    const followers = createFollowers({ logs, clock, log: quiet });
    for (const expected of [1, 2]) {
      const reading = read(followers.follow("i-1", 1, new AbortController().signal), 1);
      await expect(reading).rejects.toThrow("allow ssm:StartSession");
      expect(tries).toBe(expected);
    }
  });
});

describe("the newest lines of a log", () => {
  it("are bounded, and a reader behind them is told what is gone", () => {
    const ring = createLineRing(600);
    for (let line = 1; line <= 50; line++) ring.add(line, [untimed("12 characters")]);
    expect(ring.read(1)).toEqual({ type: "skipped", firstLine: 1, lastLine: 41 });
    expect(ring.read(42)).toEqual(lines(42, "12 characters"));
    expect(ring.read(51)).toBeUndefined();
  });

  it("with a hole in them tell of it", () => {
    const ring = createLineRing();
    ring.add(1, ["one", "two"].map(untimed));
    ring.add(9, [untimed("nine")]);
    expect(ring.read(2)).toEqual(lines(2, "two"));
    expect(ring.read(3)).toEqual({ type: "skipped", firstLine: 3, lastLine: 8 });
  });
});
