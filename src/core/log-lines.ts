/** Lines of a job's log. docs/formats.md says where their times stand, in chunks and on the machine. */

export type LogLine = {
  /** When its first byte was written, by the machine's clock, in milliseconds; null where that is not known. */
  readonly at: number | null;
  /** Without its newline. */
  readonly text: string;
  /** The log ended before it did: it has no newline. */
  readonly isCut?: true;
};

/** What a line takes beside its text, so that a bound on characters bounds empty lines, too. */
const LINE_CHARS = 48;

/** About what they take in memory, in characters. */
export const sizeOfLines = (lines: readonly LogLine[]): number =>
  lines.reduce((sum, { text }) => sum + text.length + LINE_CHARS, 0);

export const untimed = (text: string): LogLine => ({ at: null, text });
