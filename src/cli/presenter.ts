/** How a run is shown while it goes on: as a live view on a terminal, as plain lines elsewhere. */
import type { RunView } from "../core/view.ts";
import { createLiveView } from "./live-view.ts";
import type { Output } from "./output.ts";
import { renderChanges } from "./render-changes.ts";
import { createLinePrinter, tameLine } from "./render-lines.ts";
import { renderFrame } from "./render-live.ts";
import { renderTitle } from "./render-run.ts";
import { formatBytes, formatCount, oneLine } from "./render-values.ts";

export type Presenter = {
  readonly view: (view: RunView) => void;
  /** All lines that belong to the last view have been shown. */
  readonly caughtUp: () => void;
  readonly lines: (job: string, lines: readonly string[]) => Promise<void>;
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
  { view, isSilent }: { readonly view: RunView; readonly isSilent: boolean },
): Presenter {
  if (isSilent) return silent;
  return output.isTerminal ? createLivePresenter(output, view) : createPlainPresenter(output, view);
}

const silent: Presenter = {
  view: () => {},
  caughtUp: () => {},
  lines: async () => {},
  note: () => {},
  finish: () => {},
  stop: () => {},
};

function createLivePresenter(output: Output, first: RunView): Presenter {
  const { palette } = output;
  const live = createLiveView(output.write);
  let current = first;
  let isStopped = false;
  const draw = () => {
    if (!isStopped) live.draw(renderFrame(current, { palette, now: Date.now(), ...output.size() }));
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
      live.print(lines.map((line) => format(job, tameLine(line))));
      await output.drain();
    },
    note: (text) => live.print([palette.warn(text)]),
    finish: (view) => {
      stop();
      // The last frame stays: it is shown whole, however narrow the terminal.
      const { rows } = output.size();
      live.draw(renderFrame(view, { palette, now: Date.now(), rows, columns: FRAME_COLUMNS_MAX }));
      for (const line of renderEnd(view, output)) output.line(line);
    },
    stop,
  };
}

function createPlainPresenter(output: Output, first: RunView): Presenter {
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
      output.write(lines.map((line) => `${format(job, line)}\n`).join(""));
      await output.drain();
    },
    note: (text) => output.note(text),
    finish: (view) => {
      output.line(renderTitle(view, { palette, now: Date.now() }));
      for (const line of renderEnd(view, output)) output.line(line);
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
function renderEnd(view: RunView, { palette }: Output): string[] {
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
            `  ${formatCount(files, "artifact file")}, ${formatBytes(bytes)}: errand artifacts ${view.id} --download DIR`,
          ),
        ];
  return [...problems, ...notes, ...where];
}
