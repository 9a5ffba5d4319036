/**
 * Between a session, which sends as fast as it reads, and a reader of ours: holds a bounded amount of text and drops the oldest
 * lines beyond it, telling which. Lines may be offered more than once, as by two sessions that overlap; each is given once.
 */
import { type LogLine, sizeOfLines } from "../../core/log-lines.ts";
import type { LogEvent } from "../../ports.ts";
import type { Piece } from "./lines.ts";

export type LineQueue = {
  offer(piece: Piece): void;
  /** Replaces what was said of the open line before. */
  offerOpen(number: number, line: LogLine): void;
  /** The line that is wanted next. */
  nextLine(): number;
  report(event: LogEvent & { readonly type: "live" | "waiting" }): void;
  /** What is held is still given. */
  close(): void;
  fail(error: unknown): void;
  read(): AsyncGenerator<LogEvent, void, void>;
};

const HELD_CHARS_MAX = 4 << 20;
/** Lines are given in blocks, so that a fast log does not cost a turn of the event loop for each kilobyte. */
const BLOCK_CHARS = 64 << 10;

export function createLineQueue(firstLine: number, charsMax = HELD_CHARS_MAX): LineQueue {
  const held = createHeldLines(charsMax);
  let next = firstLine;
  let status: LogEvent | undefined;
  let open: (LogEvent & { readonly type: "open" }) | undefined;
  let end: { readonly error?: unknown } | undefined;
  let wake = (): void => {};

  function take(): LogEvent | undefined {
    const event = status ?? held.take() ?? open;
    if (event === status) status = undefined;
    if (event === open) open = undefined;
    return event;
  }

  function finish(how: { readonly error?: unknown }): void {
    end ??= how;
    wake();
  }

  return {
    offer: (piece) => {
      next = Math.max(
        next,
        piece.type === "long" ? held.addLong(piece, next) : held.add(piece, next),
      );
      if (open && open.number < next) open = undefined;
      wake();
    },
    offerOpen: (number, line) => {
      if (number >= next) open = { type: "open", number, line };
      wake();
    },
    nextLine: () => next,
    report: (event) => {
      status = event;
      wake();
    },
    close: () => finish({}),
    fail: (error) => finish({ error }),
    async *read() {
      for (;;) {
        const event = take();
        if (event) yield event;
        else if (end) break;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      if (end?.error !== undefined) throw end.error;
    },
  };
}

type Block = { readonly firstLine: number; readonly lines: LogLine[]; chars: number };
type Long = { readonly line: number };

type HeldLines = {
  /** Those from `next` on; returns the number after the last. */
  add(
    piece: { readonly firstLine: number; readonly lines: readonly LogLine[] },
    next: number,
  ): number;
  addLong(piece: Long, next: number): number;
  take(): LogEvent | undefined;
};

function createHeldLines(charsMax: number): HeldLines {
  const held: (Block | Long)[] = [];
  let chars = 0;
  /** What was dropped since the last taking; always before all that is held. */
  let gap: { readonly firstLine: number; readonly lastLine: number } | undefined;

  function dropOldest(): void {
    while (chars > charsMax) {
      const oldest = held.shift();
      if (oldest === undefined) return;
      const { firstLine, lastLine } = rangeOf(oldest);
      gap = { firstLine: gap?.firstLine ?? firstLine, lastLine };
      if ("lines" in oldest) chars -= oldest.chars;
    }
  }

  return {
    add: (piece, next) => {
      const lines = piece.lines.slice(Math.max(0, next - piece.firstLine));
      if (lines.length === 0) return next;
      const size = sizeOfLines(lines);
      const last = held.at(-1);
      if (last && "lines" in last && last.chars + size <= BLOCK_CHARS) {
        for (const line of lines) last.lines.push(line);
        last.chars += size;
      } else held.push({ firstLine: next, lines, chars: size });
      chars += size;
      dropOldest();
      return next + lines.length;
    },
    addLong: ({ line }, next) => {
      if (line < next) return next;
      held.push({ line });
      return line + 1;
    },
    take: () => {
      if (gap) {
        const event: LogEvent = { type: "skipped", ...gap };
        gap = undefined;
        return event;
      }
      const first = held.shift();
      if (first === undefined) return undefined;
      if (!("lines" in first)) return { type: "skipped", ...rangeOf(first) };
      chars -= first.chars;
      return { type: "lines", firstLine: first.firstLine, lines: first.lines };
    },
  };
}

const rangeOf = (held: Block | Long): { firstLine: number; lastLine: number } =>
  "lines" in held
    ? { firstLine: held.firstLine, lastLine: held.firstLine + held.lines.length - 1 }
    : { firstLine: held.line, lastLine: held.line };
