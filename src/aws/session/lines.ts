/**
 * Output as numbered lines. Text is decoded over the borders of messages, and only newlines count: the agent rewrites U+FFFD to
 * one byte that decodes to U+FFFD again, so counts of bytes would not agree with the file, while text and lines do. In the file each line has
 * its time before it, in eleven hexadecimal digits and a space (docs/formats.md).
 */
import type { LogLine } from "../../core/log-lines.ts";

export type Piece =
  | { readonly type: "lines"; readonly firstLine: number; readonly lines: readonly LogLine[] }
  /** A line too long to be held: it is left to the durable log. */
  | { readonly type: "long"; readonly line: number };

export type LineSplitter = {
  push(bytes: Uint8Array): readonly Piece[];
  /** The number of the line that is being written. */
  nextLine(): number;
  /** Whether something of it is there. */
  isOpen(): boolean;
  /** What there is of it, at most its last characters; undefined while there is nothing but its time. */
  openLine(): LogLine | undefined;
};

export const LINE_CHARS_MAX = 1 << 20;
/** What is shown of a line that is being written. */
export const OPEN_CHARS_MAX = 8 << 10;
const STAMP = /^[0-9a-f]{11} /;
const STAMP_CHARS = 12;

export function createLineSplitter(firstLine: number): LineSplitter {
  // A byte order mark is the job's, at whatever line we begin.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let next = firstLine;
  /** With its time before it. */
  let open = "";
  let isLong = false;

  function append(text: string): void {
    open += text;
    if (open.length <= (isLong ? 2 * OPEN_CHARS_MAX : LINE_CHARS_MAX)) return;
    isLong = true;
    open = open.slice(0, STAMP_CHARS) + open.slice(-OPEN_CHARS_MAX);
  }

  return {
    push: (bytes) => {
      const [first = "", ...rest] = decoder.decode(bytes, { stream: true }).split("\n");
      append(first);
      const last = rest.pop();
      if (last === undefined) return [];
      const pieces: Piece[] = [];
      if (isLong) pieces.push({ type: "long", line: next });
      const lines = (isLong ? rest : [open, ...rest]).map(readLine);
      const firstLine = isLong ? next + 1 : next;
      if (lines.length > 0) pieces.push({ type: "lines", firstLine, lines });
      next = firstLine + lines.length;
      [open, isLong] = ["", false];
      append(last);
      return pieces;
    },
    nextLine: () => next,
    isOpen: () => open !== "",
    openLine: () => {
      if (open.length <= STAMP_CHARS) return undefined;
      const { at, text } = readLine(open);
      return { at, text: text.slice(-OPEN_CHARS_MAX) };
    },
  };
}

const readLine = (stamped: string): LogLine =>
  STAMP.test(stamped)
    ? { at: Number.parseInt(stamped.slice(0, STAMP_CHARS), 16), text: stamped.slice(STAMP_CHARS) }
    : { at: null, text: stamped };
