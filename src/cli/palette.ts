/** Few colours, each with one meaning. Without colours every function returns its text. */

export type Palette = {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  /** Under way. */
  readonly busy: (text: string) => string;
  /** Needs a look. */
  readonly warn: (text: string) => string;
  /** There for whoever looks for it. */
  readonly faint: (text: string) => string;
  readonly strong: (text: string) => string;
  /** One colour for each of several things that are told apart, again and again from the first. */
  readonly series: (index: number) => (text: string) => string;
};

/** Those that can be read on light and on dark. */
const SERIES = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94] as const;

export function createPalette(hasColours: boolean): Palette {
  const paint = (code: number, end: number) => (text: string) =>
    hasColours && text !== "" ? `\x1b[${code}m${text}\x1b[${end}m` : text;
  return {
    good: paint(32, 39),
    bad: paint(31, 39),
    busy: paint(36, 39),
    warn: paint(33, 39),
    faint: paint(2, 22),
    strong: paint(1, 22),
    series: (index) => paint(SERIES[index % SERIES.length] ?? SERIES[0], 39),
  };
}

/** The colour of a state of a run, a job or an attempt. */
export function paintState(state: string, palette: Palette): string {
  switch (state) {
    case "succeeded":
      return palette.good(state);
    case "failed":
    case "timed-out":
    case "lost":
      return palette.bad(state);
    case "cancelled":
      return palette.warn(state);
    case "skipped":
    case "waiting":
    case "queued":
      return palette.faint(state);
    default:
      return palette.busy(state);
  }
}
