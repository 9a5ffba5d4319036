/** What a command writes to. Answers go to stdout; hints, progress and errors to stderr. */
import { once } from "node:events";
import { createPalette, type Palette } from "./palette.ts";

export type Output = {
  /** One line, or several, of the answer. */
  readonly line: (text: string) => void;
  /** As it is, with no newline added. */
  readonly write: (text: string | Uint8Array) => void;
  /** A line beside the answer: a hint, a warning, progress. */
  readonly note: (text: string) => void;
  readonly json: (value: unknown) => void;
  /** Resolves once the reader of stdout has room again. */
  readonly drain: () => Promise<void>;
  /** The answer is read by a person, in place. */
  readonly isTerminal: boolean;
  /** How wide and high that terminal is, now. */
  readonly size: () => { readonly columns: number; readonly rows: number };
  /** Colours of the answer, and of notes: none where a file or NO_COLOR stands behind. */
  readonly palette: Palette;
  readonly notePalette: Palette;
};

/** A stream that has no terminal behind it is as wide as a line may be. */
const COLUMNS_DEFAULT = 120;
const ROWS_DEFAULT = 40;

export function createOutput(): Output {
  const { stdout, stderr } = process;
  // A reader that has seen enough (`| head`) is no error.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    stderr.write(`error: writing the answer: ${error.message}\n`);
    process.exit(2);
  });
  // Notes and the log go there. A full disk behind them must not end the daemon that they tell of.
  stderr.on("error", () => {});
  return {
    line: (text) => void stdout.write(`${text}\n`),
    write: (text) => void stdout.write(text),
    note: (text) => void stderr.write(`${text}\n`),
    json: (value) => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    drain: async () => {
      if (stdout.writableNeedDrain) await once(stdout, "drain");
    },
    isTerminal: stdout.isTTY === true,
    size: () => ({
      // A terminal that does not know its size says 0.
      columns: stdout.columns || COLUMNS_DEFAULT,
      rows: stdout.rows || ROWS_DEFAULT,
    }),
    palette: createPalette(stdout.isTTY === true && stdout.hasColors()),
    notePalette: createPalette(stderr.isTTY === true && stderr.hasColors()),
  };
}
