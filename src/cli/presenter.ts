/** How a run is shown while it goes on: as a live view on a terminal, as plain lines elsewhere. */
import type { LogLine } from "../core/log-lines.ts";
import type { RunView } from "../core/view.ts";
import { createLiveView } from "./live-view.ts";
import type { Output } from "./output.ts";
import { renderChanges } from "./render-changes.ts";
import { createLinePrinter, tameLine } from "./render-lines.ts";
import { renderFrame } from "./render-live.ts";
import { renderTitle } from "./render-run.ts";
import { clip } from "./render-table.ts";
import { formatBytes, formatCount, oneLine } from "./render-values.ts";

export type Presenter = {
  readonly view: (view: RunView) => void;
  /** All lines that belong to the last view have been shown. */
  readonly caughtUp: () => void;
  readonly lines: (job: string, lines: readonly LogLine[]) => Promise<void>;
  /** What there is of the line that a job is writing; undefined when it has ended. */
  readonly open: (job: string, line: LogLine | undefined) => void;
  readonly note: (text: string) => void;
  /** The last that is said of the run. */
  readonly finish: (view: RunView) => void;
  /** Draws no more; may be called more than once. */
  readonly stop: () => void;
};

const FRAME_COLUMNS_MAX = 1_000;

/** Often enough for times to run on, seldom enough to be calm. */
const REDRAW_MS = 500;

export function createPresenter(
  output: Output,
  { isSilent, ...shown }: Shown & { readonly isSilent: boolean },
): Presenter {
  if (isSilent) return silent;
  return output.isTerminal
    ? createLivePresenter(output, shown)
    : createPlainPresenter(output, shown);
}

/** `placeWords` are for commands that are named. */
type Shown = { readonly view: RunView; readonly placeWords: string };

const silent: Presenter = {
  view: () => {},
  caughtUp: () => {},
  lines: async () => {},
  open: () => {},
  note: () => {},
  finish: () => {},
  stop: () => {},
};

function createLivePresenter(output: Output, { view: first, placeWords }: Shown): Presenter {
  const { palette } = output;
  const live = createLiveView(output.write);
  let current = first;
  let isStopped = false;
  const open = new Map<string, LogLine>();
  const draw = () => {
    if (isStopped) return;
    const size = output.size();
    const frame = renderFrame(current, { palette, now: Date.now(), ...size });
    live.draw([...renderOpen(open, current, output), ...frame]);
  };
  const timer = setInterval(draw, REDRAW_MS);
  const stop = () => {
    clearInterval(timer);
    isStopped = true;
  };
  draw();
  return {
    view: (view) => {
      current = view;
      draw();
    },
    caughtUp: () => {},
    lines: async (job, lines) => {
      const format = createLinePrinter(namesOf(current), palette);
      live.print(lines.map(({ text }) => format(job, tameLine(text))));
      await output.drain();
    },
    open: (job, line) => {
      if (line) open.set(job, line);
      else open.delete(job);
      draw();
    },
    note: (text) => live.print([palette.warn(text)]),
    finish: (view) => {
      stop();
      // The last frame stays: it is shown whole, however narrow the terminal.
      const { rows } = output.size();
      live.draw(renderFrame(view, { palette, now: Date.now(), rows, columns: FRAME_COLUMNS_MAX }));
      for (const line of renderEnd({ view, placeWords }, output)) output.line(line);
    },
    stop,
  };
}

/** Lines that are being written, as far as a quarter of the terminal has room for them. */
function renderOpen(
  open: ReadonlyMap<string, LogLine>,
  view: RunView,
  { palette, size }: Output,
): string[] {
  const { rows, columns } = size();
  const format = createLinePrinter(namesOf(view), palette);
  return [...open]
    .slice(0, Math.max(1, Math.floor(rows / 4)))
    .map(([job, { text }]) => clip(format(job, tameLine(text)), columns - 1));
}

function createPlainPresenter(output: Output, { view: first, placeWords }: Shown): Presenter {
  const { palette } = output;
  output.line(`${palette.strong(first.name)} ${palette.faint(`(${first.id})`)} submitted`);
  let before: RunView | undefined;
  let latest = first;
  const tell = (view: RunView) => {
    for (const line of renderChanges(before, view, palette)) output.line(line);
    before = view;
  };
  return {
    view: (view) => {
      if (!before) for (const warning of view.warnings) output.line(`warning: ${warning}`);
      latest = view;
      tell(runningOnly(before, view));
    },
    caughtUp: () => tell(latest),
    lines: async (job, lines) => {
      const format = createLinePrinter(before ? namesOf(before) : [job], palette);
      output.write(lines.map(({ text }) => `${format(job, tameLine(text))}\n`).join(""));
      await output.drain();
    },
    open: () => {},
    note: (text) => output.note(text),
    finish: (view) => {
      output.line(renderTitle(view, { palette, now: Date.now() }));
      for (const line of renderEnd({ view, placeWords }, output)) output.line(line);
    },
    stop: () => {},
  };
}

/** That a job runs is told before its lines; all else, such as its end, after them. */
const runningOnly = (before: RunView | undefined, after: RunView): RunView => ({
  ...after,
  jobs: after.jobs.map((job) => {
    if (job.state === "running") return job;
    const known = before?.jobs.find((each) => each.name === job.name);
    return known ?? { ...job, state: "waiting", reason: "", holds: [], attempts: [] };
  }),
});

const namesOf = (view: RunView): string[] => view.jobs.map((job) => job.name);

/** What the end leaves to be known: why it never began, what others should know, where the artifacts are. */
function renderEnd({ view, placeWords }: Shown, { palette }: Output): string[] {
  const problems = view.problems.map((problem) => `  ${palette.bad(oneLine(problem))}`);
  const notes = view.jobs.flatMap((job) =>
    job.notes.map((note) => palette.faint(`  ${job.name}: ${oneLine(note)}`)),
  );
  const brought = view.jobs.flatMap((job) => job.artifacts);
  const files = brought.reduce((sum, artifact) => sum + artifact.files, 0);
  const bytes = brought.reduce((sum, artifact) => sum + artifact.bytes, 0);
  const where =
    files === 0
      ? []
      : [
          palette.faint(
            `  ${formatCount(files, "artifact file")}, ${formatBytes(bytes)}: errand artifacts ${view.id}${placeWords} --download DIR`,
          ),
        ];
  return [...problems, ...notes, ...where];
}
