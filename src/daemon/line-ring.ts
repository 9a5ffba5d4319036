/** The newest lines of one log, of a bounded size, for any number of readers that each go at their own pace. */
import { type LogLine, sizeOfLines } from "../core/log-lines.ts";
import type { LogEvent } from "../ports.ts";

export type LineRing = {
  add(firstLine: number, lines: readonly LogLine[]): void;
  /** What a reader at this line is told next: lines, or those that are gone. Undefined when it has all. */
  read(line: number): (LogEvent & { readonly type: "lines" | "skipped" }) | undefined;
};

type Block = {
  readonly firstLine: number;
  readonly lines: readonly LogLine[];
  readonly chars: number;
};

const CHARS_MAX = 4 << 20;

export function createLineRing(charsMax = CHARS_MAX): LineRing {
  const blocks: Block[] = [];
  let chars = 0;
  return {
    add: (firstLine, lines) => {
      const size = sizeOfLines(lines);
      blocks.push({ firstLine, lines, chars: size });
      chars += size;
      // The newest is kept whatever its size: who sent it bounds that.
      while (chars > charsMax && blocks.length > 1) chars -= blocks.shift()?.chars ?? 0;
    },
    read: (line) => {
      const block = blocks.findLast(({ firstLine }) => firstLine <= line) ?? blocks[0];
      if (!block) return undefined;
      if (line < block.firstLine) {
        return { type: "skipped", firstLine: line, lastLine: block.firstLine - 1 };
      }
      const lines = block.lines.slice(line - block.firstLine);
      if (lines.length > 0) return { type: "lines", firstLine: line, lines };
      const next = blocks[blocks.indexOf(block) + 1];
      return next && { type: "skipped", firstLine: line, lastLine: next.firstLine - 1 };
    },
  };
}
