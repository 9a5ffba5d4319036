/**
 * Output as numbered lines. Text is decoded over the borders of messages, and only newlines count: the agent rewrites U+FFFD to
 * one byte that decodes to U+FFFD again, so counts of bytes would not agree with the file, while text and lines do.
 */

export type Piece =
  | { readonly type: "lines"; readonly firstLine: number; readonly lines: readonly string[] }
  /** A line too long to be held: it is left to the durable log. */
  | { readonly type: "long"; readonly line: number };

export type LineSplitter = {
  push(bytes: Uint8Array): readonly Piece[];
  /** The number of the line that is being written. */
  nextLine(): number;
  /** What there is of it. */
  openText(): string;
};

export const LINE_CHARS_MAX = 1 << 20;

export function createLineSplitter(firstLine: number): LineSplitter {
  // A byte order mark is the job's, at whatever line we begin.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let next = firstLine;
  let open = "";
  let isLong = false;

  function append(text: string): void {
    if (isLong || text === "") return;
    if (open.length + text.length <= LINE_CHARS_MAX) {
      open += text;
      return;
    }
    isLong = true;
    open = "";
  }

  return {
    push: (bytes) => {
      const [first = "", ...rest] = decoder.decode(bytes, { stream: true }).split("\n");
      append(first);
      const last = rest.pop();
      if (last === undefined) return [];
      const pieces: Piece[] = [];
      if (isLong) pieces.push({ type: "long", line: next });
      const lines = isLong ? rest : [open, ...rest];
      const firstLine = isLong ? next + 1 : next;
      if (lines.length > 0) pieces.push({ type: "lines", firstLine, lines });
      next = firstLine + lines.length;
      [open, isLong] = ["", false];
      append(last);
      return pieces;
    },
    nextLine: () => next,
    openText: () => open,
  };
}
