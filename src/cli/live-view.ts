/** Keeps a block of lines at the bottom of a terminal while other lines scroll by above it. */

export type LiveView = {
  /** Prints lines above the block. */
  readonly print: (lines: readonly string[]) => void;
  /** Replaces the block. */
  readonly draw: (frame: readonly string[]) => void;
  /** Leaves the cursor where the block stood; what follows is written over it. */
  readonly clear: () => void;
};

export function createLiveView(write: (text: string) => void): LiveView {
  let frame: readonly string[] = [];

  const erase = (): string => (frame.length === 0 ? "" : `\x1b[${frame.length}A\r\x1b[J`);
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");

  return {
    // One write each, so that the terminal never shows the block half erased.
    print: (lines) => write(erase() + text(lines) + text(frame)),
    draw: (next) => {
      if (next.length === frame.length && next.every((line, at) => line === frame[at])) return;
      write(erase() + text(next));
      frame = next;
    },
    clear: () => {
      write(erase());
      frame = [];
    },
  };
}
