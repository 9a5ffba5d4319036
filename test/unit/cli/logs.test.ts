import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRun } from "../../../src/cli/follow.ts";
import { mergeLogs } from "../../../src/cli/log-merge.ts";
import {
  createJsonPrinter,
  createPlainPrinter,
  createTerminalPrinter,
} from "../../../src/cli/log-printer.ts";
import { type LogRange, parseSince } from "../../../src/cli/log-range.ts";
import type { LogEncoding } from "../../../src/cli/log-reader.ts";
import { readTimes } from "../../../src/cli/log-times.ts";
import type { Output } from "../../../src/cli/output.ts";
import { createPalette } from "../../../src/cli/palette.ts";
import { key, logChunk } from "../../../src/core/layout.ts";
import { type LogLine, untimed } from "../../../src/core/log-lines.ts";
import type { Store } from "../../../src/ports.ts";
import { type MemoryStore, makeStore } from "../../support/memory-store.ts";
import { makeAttemptView, makeJobView, makeRunView, RUN, secondsIn } from "../../support/views.ts";

const encode = (text: string): string => deflateSync(text).toString("base64");

describe("the times of a chunk's lines", () => {
  it.each([
    ["are those of its spans", encode("1000 2\n5 1\n-3 1\n"), [1000, 1000, 1005, 1002]],
    ["are unknown where it has none", undefined, [null, null, null, null]],
    ["are unknown beyond its spans", encode("1000 1\n"), [1000, null, null, null]],
    ["end with its lines", encode("1000 9999999999\n"), [1000, 1000, 1000, 1000]],
    ["are unknown where they cannot be read", "nonsense", [null, null, null, null]],
    ["are unknown from what is no span on", encode("7 1\nx\n7 1\n"), [7, null, null, null]],
  ])("%s", (_, text, times) => {
    expect(readTimes(text, 4)).toEqual(times);
  });

  it("cost little, whatever somebody put there", () => {
    expect(readTimes(encode(`1 1\n${" ".repeat(2 << 20)}`), 1)).toEqual([null]);
  });
});

const timed = (...times: readonly (number | null)[]): LogLine[] =>
  times.map((at) => ({ at, text: String(at) }));

async function* batches(...given: readonly (readonly LogLine[] | Error)[]) {
  for (const batch of given) {
    if (batch instanceof Error) throw batch;
    yield batch;
  }
}

describe("logs of several jobs", () => {
  it("are one in the order of their times, with each job's own order, whatever its clock did", async () => {
    const logs = fc.array(fc.array(fc.array(fc.nat({ max: 50 })), { maxLength: 5 }), {
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(logs, async (jobs) => {
        const sources = jobs.map((chunks, job) => ({
          job: String(job),
          beganAt: 0,
          batches: batches(...chunks.map((chunk) => timed(...chunk))),
        }));
        const given = new Map<string, (number | null)[]>(sources.map(({ job }) => [job, []]));
        let now = 0;
        for await (const { job, lines } of mergeLogs(sources)) {
          const own = given.get(job) ?? [];
          for (const { at } of lines) {
            own.push(at);
            // A line whose clock went back stands where its log is.
            const place = Math.max(...own.map((each) => each ?? 0));
            expect(place).toBeGreaterThanOrEqual(now);
            now = place;
          }
        }
        expect([...given.values()]).toEqual(jobs.map((chunks) => chunks.flat()));
      }),
    );
  });

  it("are not read before their turn", async () => {
    let hasRead = false;
    async function* late() {
      hasRead = true;
      yield timed(9);
    }
    const first = { job: "a", beganAt: 1, batches: batches(timed(1, 2), timed(3)) };
    const merged = mergeLogs([first, { job: "b", beganAt: 9, batches: late() }]);
    await merged.next();
    await merged.next();
    expect(hasRead).toBe(false);
    expect((await merged.next()).value).toEqual({ job: "b", lines: timed(9) });
  });

  it("of which one cannot be read are given as far as they were before that is told", async () => {
    const broken = { job: "a", beganAt: 0, batches: batches(timed(1), new Error("broken")) };
    const whole = { job: "b", beganAt: 0, batches: batches(timed(0, 5, 6), timed(7)) };
    const given: string[] = [];
    const read = async () => {
      for await (const { lines } of mergeLogs([broken, whole]))
        given.push(...lines.map(({ text }) => text));
    };
    await expect(read()).rejects.toThrow("broken");
    expect(given).toEqual(["0", "1", "5", "6"]);
  });
});

const put = (
  store: Store,
  { job = "train", number = 1, firstLine }: { job?: string; number?: number; firstLine: number },
  lines: readonly [text: string, at: number][],
): Promise<string> =>
  store.put(
    key.log(RUN, job, number) + logChunk(firstLine),
    lines.map(([text]) => `${text}\n`).join(""),
    {
      metadata: {
        times: encode(
          lines.map(([, at], index) => `${at - (lines[index - 1]?.[1] ?? 0)} 1\n`).join(""),
        ),
      },
    },
  );

const view = makeRunView({
  jobs: [
    makeJobView({
      attempts: [1, 2].map((number) =>
        makeAttemptView({ number, startedAt: secondsIn(number), endedAt: secondsIn(number) }),
      ),
    }),
    makeJobView({
      name: "other",
      attempts: [makeAttemptView({ startedAt: secondsIn(1), endedAt: secondsIn(9) })],
    }),
  ],
});

async function read(
  store: MemoryStore,
  range: LogRange,
  more: { readonly job?: string; readonly encoding?: LogEncoding } = {},
): Promise<string[]> {
  const lines: string[] = [];
  const clock = { now: () => 0, sleep: async () => {} };
  await readRun({ store, clock, run: RUN, range, ...more }, view, {
    onLines: (job, some) => void lines.push(...some.map(({ text }) => `${job} ${text}`)),
  });
  return lines;
}

async function makeLogs(): Promise<MemoryStore> {
  const store = makeStore();
  const began = Date.parse(secondsIn(1));
  await put(store, { firstLine: 1 }, [
    ["one", began],
    ["two", began + 10],
  ]);
  await put(store, { firstLine: 3 }, [["three", began + 20]]);
  await put(store, { firstLine: 1, number: 2 }, [
    ["again one", began + 1_000],
    ["again two", began + 1_010],
  ]);
  await put(store, { job: "other", firstLine: 1 }, [
    ["beside", began + 5],
    ["after", began + 1_005],
  ]);
  store.calls.length = 0;
  return store;
}

describe("what the jobs of a run have written", () => {
  it("is told in the order of its times, each try after the one before", async () => {
    expect(await read(await makeLogs(), {})).toEqual([
      "train one",
      "other beside",
      "train two",
      "train three",
      "train again one",
      "other after",
      "train again two",
    ]);
  });

  it.each([
    [0, []],
    [1, ["again two"]],
    [2, ["again one", "again two"]],
    [3, ["three", "again one", "again two"]],
    [4, ["two", "three", "again one", "again two"]],
    [9, ["one", "two", "three", "again one", "again two"]],
  ])("has as its last %d lines those of all tries together", async (tail, texts) => {
    const lines = await read(await makeLogs(), { tail }, { job: "train" });
    expect(lines).toEqual(texts.map((text) => `train ${text}`));
  });

  it("is counted from the end for each job", async () => {
    expect(await read(await makeLogs(), { tail: 1 })).toEqual(["other after", "train again two"]);
  });

  it("is not read where it is older than is wanted", async () => {
    const store = await makeLogs();
    const first = key.log(RUN, "train", 1) + logChunk(1);
    const list: Store["list"] = async (...args) =>
      (await store.list(...args)).map((info) => ({
        ...info,
        modifiedAt: info.key === first ? 0 : 3_600_000,
      }));
    const lines = await read({ ...store, list }, { since: 3_600_000 }, { job: "train" });
    expect(lines).toEqual(["train three", "train again one", "train again two"]);
    expect(store.calls).not.toContain(`find ${first}`);
  });

  it("keeps every byte where it is written as it was read", async () => {
    const store = makeStore();
    const bytes = Buffer.from([0xff, 0x00, 0xc3, 0x28, 0x0d, 0x0a, 0xf0, 0x9f]);
    await store.put(key.log(RUN, "train", 1) + logChunk(1), bytes);
    const printed = makeOutput({ isTerminal: false });
    const options = { ...PRINTING, isOne: true, encoding: "latin1", endsLines: false } as const;
    const printer = createPlainPrinter(printed.output, options);
    const clock = { now: () => 0, sleep: async () => {} };
    await readRun({ store, clock, run: RUN, job: "train", encoding: "latin1" }, view, {
      onLines: printer.lines,
    });
    expect(printed.bytes()).toEqual(bytes);
  });
});

const NOW = Date.parse("2026-11-25T08:30:00Z");

describe("a time from which lines are wanted", () => {
  it.each([
    ["10m", "2026-11-25T08:20:00Z"],
    ["1h30m", "2026-11-25T07:00:00Z"],
    ["2026-11-25T08:00Z", "2026-11-25T08:00:00Z"],
    ["2026-11-25", "2026-11-25T00:00:00Z"],
    ["2026-11-25T08:00:00.5+01:00", "2026-11-25T07:00:00.500Z"],
  ])("may be %s", (text, time) => {
    expect(parseSince(text, NOW)).toBe(Date.parse(time));
  });

  it.each(["", "soon", "8:30", "2026-13-40", "-5m", "11/25/2026"])("is not %j", (text) => {
    expect(() => parseSince(text, NOW)).toThrow("is no time");
  });
});

const PRINTING = {
  jobs: ["train", "evaluate"],
  isOne: false,
  hasTimestamps: false,
  encoding: "utf8",
} as const;

function makeOutput({
  isTerminal,
  hasColours = false,
}: {
  isTerminal: boolean;
  hasColours?: boolean;
}) {
  const parts: Buffer[] = [];
  const notes: string[] = [];
  const output: Output = {
    line: () => {},
    write: (text) => void parts.push(Buffer.from(text as string)),
    note: (text) => void notes.push(text),
    json: () => {},
    drain: async () => {},
    isTerminal,
    size: () => ({ columns: 30, rows: 8 }),
    palette: createPalette(hasColours),
    notePalette: createPalette(false),
  };
  const bytes = () => Buffer.concat(parts);
  return { output, notes, bytes, text: () => bytes().toString("utf8") };
}

describe("lines in a pipe", () => {
  const plain = { ...PRINTING, endsLines: false };

  it("of several jobs come after their job's name, of a progress bar the last state", async () => {
    const { output, text } = makeOutput({ isTerminal: false });
    const printer = createPlainPrinter(output, plain);
    await printer.lines("train", ["10%\r100%", "\x1b[2Kdone"].map(untimed));
    await printer.lines("evaluate", [untimed("0.9")]);
    expect(text()).toBe("train    | 100%\ntrain    | done\nevaluate | 0.9\n");
  });

  it("of one job are as they were written, with their times where they are wanted", async () => {
    const { output, text } = makeOutput({ isTerminal: false });
    const printer = createPlainPrinter(output, { ...plain, isOne: true, hasTimestamps: true });
    await printer.lines("train", [{ at: NOW + 7, text: "10%\r100%" }, untimed("x")]);
    expect(text()).toBe(`2026-11-25T08:30:00.007Z 10%\r100%\n-${" ".repeat(23)} x\n`);
  });

  it("end without a newline as the log does, unless something follows", async () => {
    const { output, text } = makeOutput({ isTerminal: false });
    const printer = createPlainPrinter(output, { ...plain, isOne: true });
    await printer.lines("train", [untimed("one"), { at: null, text: "two", isCut: true }]);
    expect(text()).toBe("one\ntwo");
    await printer.lines("train", [untimed("three")]);
    expect(text()).toBe("one\ntwo\nthree\n");
  });

  it("have each job in a colour of its own where there are colours", async () => {
    const { output, text } = makeOutput({ isTerminal: false, hasColours: true });
    const printer = createPlainPrinter(output, plain);
    await printer.lines("train", [untimed("a")]);
    await printer.lines("evaluate", [untimed("b")]);
    expect(text()).toBe("\x1b[36mtrain    |\x1b[39m a\n\x1b[33mevaluate |\x1b[39m b\n");
  });

  it("are objects where they are asked for", async () => {
    const { output, text } = makeOutput({ isTerminal: false });
    await createJsonPrinter(output).lines("train", [{ at: NOW, text: 'a\r"b' }, untimed("c")]);
    expect(
      text()
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { job: "train", at: "2026-11-25T08:30:00.000Z", line: 'a\r"b' },
      { job: "train", at: null, line: "c" },
    ]);
  });

  it("that come late are told why, once for each reason", () => {
    const { output, notes } = makeOutput({ isTerminal: false });
    const printer = createPlainPrinter(output, plain);
    for (const reason of ["no agent", undefined, "no agent", "no permission"])
      printer.trouble("train", reason);
    expect(notes).toEqual([
      "train: lines come by way of the bucket, some seconds late: no agent",
      "train: lines come by way of the bucket, some seconds late: no permission",
    ]);
  });
});

/** What a terminal shows of it: only what our views write is understood. */
function screenOf(text: string): string[] {
  const rows: string[] = [""];
  let row = 0;
  for (const [part] of text.replaceAll("\x1b", "^").matchAll(/\^\[(\d+)A\r\^\[J|\n|[^\n^]+/g)) {
    const up = /\^\[(\d+)A/.exec(part);
    if (up) {
      row -= Number(up[1]);
      rows.length = row + 1;
      rows[row] = "";
    } else if (part === "\n") rows[++row] = "";
    else rows[row] += part;
  }
  return rows;
}

describe("lines on a terminal", () => {
  it("that are being written stand below the others until they end", async () => {
    const { output, text } = makeOutput({ isTerminal: true });
    const printer = createTerminalPrinter(output, PRINTING);
    await printer.lines("train", [untimed("one")]);
    printer.open("train", untimed("10%\r20%"));
    printer.open("evaluate", untimed("Continue? [y/N] "));
    await printer.lines("evaluate", [untimed("beside")]);
    expect(screenOf(text())).toEqual([
      "train    | one",
      "evaluate | beside",
      "train    | 20%",
      "evaluate | Continue? [y/N] ",
      "",
    ]);
    printer.open("train", undefined);
    await printer.lines("train", [untimed("10%\r20%\r100%")]);
    printer.open("evaluate", undefined);
    expect(screenOf(text())).toEqual([
      "train    | one",
      "evaluate | beside",
      "train    | 100%",
      "",
    ]);
  });

  it("that are being written are cut to its width, or redrawing would go astray", () => {
    const { output, text } = makeOutput({ isTerminal: true });
    const printer = createTerminalPrinter(output, { ...PRINTING, isOne: true });
    printer.open("train", untimed("x".repeat(100)));
    printer.open("train", untimed("y".repeat(100)));
    expect(screenOf(text())).toEqual([`${"y".repeat(28)}…`, ""]);
  });

  it("are tamed, also those of one job", async () => {
    const { output, text } = makeOutput({ isTerminal: true });
    const printer = createTerminalPrinter(output, { ...PRINTING, isOne: true });
    await printer.lines("train", [untimed("\x1b[2J10%\r100%\x07")]);
    expect(text()).toBe("100%\n");
  });
});
