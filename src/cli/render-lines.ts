/** Lines of several jobs in one stream: `train   | epoch 1/8 …`, each job in a colour of its own. */
import type { Palette } from "./palette.ts";

/** Names line up as long as they are not very long. */
const NAME_WIDTH_MAX = 24;

export function createLinePrinter(
  jobs: readonly string[],
  palette: Palette,
): (job: string, line: string) => string {
  const width = Math.min(NAME_WIDTH_MAX, Math.max(0, ...jobs.map((job) => job.length)));
  const prefixes = new Map(
    jobs.map((job, index) => [job, palette.series(index)(`${job.padEnd(width)} |`)]),
  );
  return (job, line) => `${prefixes.get(job) ?? palette.faint(`${job} |`)} ${line}`;
}

/** ISO 8601, UTC, as wide for a line of which it is not known. */
export const stampOf = (at: number | null): string =>
  at === null ? "-".padEnd(24) : new Date(at).toISOString();

/** Written with names, since control characters cannot be read. */
const ESC = "\\u001b";
const CONTROL = new RegExp(
  [
    `${ESC}\\[[0-9;:]*m`,
    `${ESC}\\[[0-9;?]*[ -/]*[@-~]`,
    // A title or a link: up to BEL or ESC \\.
    `${ESC}\\][^\\u0007\\u001b]*(?:\\u0007|${ESC}\\\\)?`,
    `${ESC}.`,
    "(?!\\t)\\p{Cc}",
  ].join("|"),
  "gu",
);

/**
 * A line that leaves the cursor where it belongs: of a progress bar its last state, of escape sequences colours alone,
 * which end with the line.
 */
export function tameLine(line: string): string {
  const last = line.replace(/\r+$/, "").split("\r").at(-1) ?? "";
  let hasColour = false;
  const tame = last.replace(CONTROL, (sequence) => {
    const isColour = sequence.startsWith("\x1b[") && sequence.endsWith("m");
    hasColour ||= isColour;
    return isColour ? sequence : "";
  });
  return hasColour ? `${tame}\x1b[0m` : tame;
}
