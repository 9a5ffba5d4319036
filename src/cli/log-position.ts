/**
 * Where a reader is in one attempt's log, which comes from two sides: in chunks, complete and seconds behind, and as it is written. Line
 * numbers join them: no line is given twice, and none is left out.
 */

import { type LogLine, sizeOfLines, untimed } from "../core/log-lines.ts";

export type LogPosition = {
  nextLine(): number;
  /** Of a chunk; returns what is new. A hole before it is one of the log itself, and told. */
  take(firstLine: number, lines: readonly LogLine[]): LogLine[];
  /** As they are written; returns what is new and follows. What does not follow waits for the chunks between. */
  takeLive(firstLine: number, lines: readonly LogLine[]): LogLine[];
};

/** Of lines that wait (`sizeOfLines`); beyond it they come by chunks. */
const HELD_CHARS_MAX = 8 << 20;

export function createLogPosition(firstLine = 1): LogPosition {
  let next = firstLine;
  let held: { readonly firstLine: number; readonly lines: readonly LogLine[] }[] = [];
  let heldChars = 0;

  function accept(firstLine: number, lines: readonly LogLine[]): LogLine[] {
    const news = lines.slice(Math.max(0, next - firstLine));
    next = Math.max(next, firstLine + lines.length);
    return news;
  }

  /** What waits and follows now. */
  function release(): LogLine[] {
    const given: LogLine[] = [];
    for (let first = held[0]; first && first.firstLine <= next; first = held[0]) {
      held.shift();
      heldChars -= sizeOfLines(first.lines);
      given.push(...accept(first.firstLine, first.lines));
    }
    return given;
  }

  return {
    nextLine: () => next,
    take: (firstLine, lines) => {
      const before = release();
      const missing = firstLine > next ? [missingLines(next, firstLine - 1)] : [];
      return [...before, ...missing, ...accept(firstLine, lines), ...release()];
    },
    takeLive: (firstLine, lines) => {
      if (firstLine <= next) return [...accept(firstLine, lines), ...release()];
      held.push({ firstLine, lines });
      heldChars += sizeOfLines(lines);
      if (heldChars > HELD_CHARS_MAX) [held, heldChars] = [[], 0];
      return [];
    },
  };
}

const missingLines = (first: number, last: number): LogLine =>
  untimed(
    first === last
      ? `errand: line ${first} was not uploaded`
      : `errand: lines ${first} to ${last} were not uploaded`,
  );
