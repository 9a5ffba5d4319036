/**
 * How `errand logs` prints lines. On a terminal they are tamed, and lines that are being written, such as progress bars and prompts, stand
 * below the others until they end. In a pipe the log of one job is as it was written; lines of several come with their job's name.
 */
import type { LogLine } from "../core/log-lines.ts";
import { createLiveView } from "./live-view.ts";
import type { LogEncoding } from "./log-reader.ts";
import type { Output } from "./output.ts";
import { createLinePrinter, stampOf, tameLine } from "./render-lines.ts";
import { clip } from "./render-table.ts";

export type LogPrinterOptions = {
  /** All jobs whose lines may come, in their order. */
  readonly jobs: readonly string[];
  /** One job was asked for: its name need not be said. */
  readonly isOne: boolean;
  readonly hasTimestamps: boolean;
  /** What text was decoded by, and is encoded by again. */
  readonly encoding: LogEncoding;
};

export type LogPrinter = {
  readonly lines: (job: string, lines: readonly LogLine[]) => Promise<void>;
  readonly open: (job: string, line: LogLine | undefined) => void;
  /** Why lines of a job come later than they could. */
  readonly trouble: (job: string, reason: string | undefined) => void;
};

/** One object a line: `{"job": "train", "at": "2026-11-25T08:30:00.123Z", "line": "epoch 1/8 …"}`. */
export function createJsonPrinter(output: Output): LogPrinter {
  return {
    lines: async (job, lines) => {
      const texts = lines.map(({ at, text }) => {
        const time = at === null ? null : new Date(at).toISOString();
        return `${JSON.stringify({ job, at: time, line: text })}\n`;
      });
      output.write(texts.join(""));
      await output.drain();
    },
    open: () => {},
    trouble: createTeller(output.note),
  };
}

/** `endsLines`: the last line, too, gets a newline if it has none. */
export function createPlainPrinter(
  output: Output,
  options: LogPrinterOptions & { readonly endsLines: boolean },
): LogPrinter {
  const format = createFormat(output, options);
  let isLineOpen = false;
  return {
    lines: async (job, lines) => {
      const texts = lines.map((line) => `${format(job, line)}\n`);
      if (isLineOpen) texts.unshift("\n");
      isLineOpen = false;
      if (options.isOne && !options.endsLines && lines.at(-1)?.isCut) {
        // The job's last line has no newline, and gets none unless something follows.
        isLineOpen = true;
        texts.push(texts.pop()?.slice(0, -1) ?? "");
      }
      output.write(Buffer.from(texts.join(""), options.encoding));
      await output.drain();
    },
    open: () => {},
    trouble: createTeller(output.note),
  };
}

/** Lines that are being written take at most half of the terminal. */
export function createTerminalPrinter(output: Output, options: LogPrinterOptions): LogPrinter {
  const format = createFormat(output, options);
  const live = createLiveView(output.write);
  const open = new Map<string, LogLine>();
  const draw = (): void => {
    const { rows, columns } = output.size();
    const shown = options.jobs.flatMap((job) => {
      const line = open.get(job);
      return line ? [clip(format(job, line), columns - 1)] : [];
    });
    live.draw(shown.slice(0, Math.max(1, Math.floor(rows / 2))));
  };
  return {
    lines: async (job, lines) => {
      live.print(lines.map((line) => format(job, line)));
      await output.drain();
    },
    open: (job, line) => {
      if (line) open.set(job, line);
      else open.delete(job);
      draw();
    },
    trouble: createTeller((text) => live.print([output.palette.warn(text)])),
  };
}

function createFormat(
  output: Output,
  { jobs, isOne, hasTimestamps }: LogPrinterOptions,
): (job: string, line: LogLine) => string {
  const prefixed = createLinePrinter(jobs, output.palette);
  const isRaw = isOne && !output.isTerminal;
  return (job, { at, text }) => {
    const tame = isRaw ? text : tameLine(text);
    const timed = hasTimestamps ? `${output.palette.faint(stampOf(at))} ${tame}` : tame;
    return isOne ? timed : prefixed(job, timed);
  };
}

/** Says each reason once. */
function createTeller(say: (text: string) => void): LogPrinter["trouble"] {
  const told = new Set<string>();
  return (job, reason) => {
    if (reason === undefined || told.has(`${job} ${reason}`)) return;
    told.add(`${job} ${reason}`);
    say(`${job}: lines come by way of the bucket, some seconds late: ${reason}`);
  };
}
