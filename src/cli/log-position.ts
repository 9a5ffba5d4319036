/**
 * Where a reader is in one attempt's log, which comes from two sides: in chunks, complete and seconds behind, and as it is written. Line
 * numbers join them: no line is given twice, and none is left out.
 */

export type LogPosition = {
  nextLine(): number;
  /** Of a chunk; returns what is new. A hole before it is one of the log itself, and told. */
  take(firstLine: number, lines: readonly string[]): string[];
  /** As they are written; returns what is new and follows. What does not follow waits for the chunks between. */
  takeLive(firstLine: number, lines: readonly string[]): string[];
};

/** Of lines that wait; beyond it they come by chunks. */
const HELD_CHARS_MAX = 8 << 20;

export function createLogPosition(): LogPosition {
  let next = 1;
  let held: { readonly firstLine: number; readonly lines: readonly string[] }[] = [];
  let heldChars = 0;

  function accept(firstLine: number, lines: readonly string[]): string[] {
    const news = lines.slice(Math.max(0, next - firstLine));
    next = Math.max(next, firstLine + lines.length);
    return news;
  }

  /** What waits and follows now. */
  function release(): string[] {
    const given: string[] = [];
    for (let first = held[0]; first && first.firstLine <= next; first = held[0]) {
      held.shift();
      heldChars -= sizeOf(first.lines);
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
      heldChars += sizeOf(lines);
      if (heldChars > HELD_CHARS_MAX) [held, heldChars] = [[], 0];
      return [];
    },
  };
}

const sizeOf = (lines: readonly string[]): number =>
  lines.reduce((sum, line) => sum + line.length + 1, 0);

const missingLines = (first: number, last: number): string =>
  first === last
    ? `errand: line ${first} was not uploaded`
    : `errand: lines ${first} to ${last} were not uploaded`;
