/** The run's jobs as a small block at the bottom of a terminal, redrawn in place under the log. */
import type { JobView, RunView } from "../core/view.ts";
import { type Palette, paintState } from "./palette.ts";
import { renderTitle, whyOf } from "./render-run.ts";
import { clip, renderTable } from "./render-table.ts";
import { formatDuration, oneLine } from "./render-values.ts";

export type FrameOptions = {
  readonly palette: Palette;
  /** Milliseconds. */
  readonly now: number;
  readonly columns: number;
  readonly rows: number;
};

/** Never wider than the terminal, never higher than half of it: jobs that are at rest give way first. */
export function renderFrame(view: RunView, options: FrameOptions): string[] {
  const { palette, now, columns, rows } = options;
  const room = Math.max(3, Math.floor(rows / 2) - 2);
  const shown = view.jobs.length <= room ? view.jobs : mostAlive(view.jobs, room - 1);
  const lines = renderTable(
    [{ title: "" }, { title: "" }, { title: "" }, { title: "", align: "right" }, { title: "" }],
    shown.map((job) => jobRow(job, options)),
  );
  const hidden = view.jobs.length - shown.length;
  return [
    renderTitle(view, { palette, now }),
    ...lines.map((line) => `  ${line}`),
    ...(hidden > 0 ? [palette.faint(`  and ${hidden} more`)] : []),
  ].map((line) => clip(line, columns - 1));
}

function mostAlive(jobs: readonly JobView[], count: number): readonly JobView[] {
  const kept = new Set([...jobs].sort((one, other) => restOf(one) - restOf(other)).slice(0, count));
  return jobs.filter((job) => kept.has(job));
}

/** Under way, then ended badly, then still to come, then done. */
function restOf(job: JobView): number {
  switch (job.state) {
    case "starting":
    case "running":
    case "uploading":
      return 0;
    case "failed":
    case "timed-out":
    case "lost":
      return 1;
    case "waiting":
      return 2;
    case "succeeded":
    case "skipped":
    case "cancelled":
      return 3;
  }
}

function jobRow(job: JobView, { palette, now }: FrameOptions): string[] {
  const last = job.attempts.at(-1);
  return [
    job.name,
    `${markOf(job, palette)} ${paintState(job.state, palette)}`,
    last?.instanceType ?? "",
    elapsedOf(job, now),
    palette.faint(oneLine(whyOf(job))),
  ];
}

function markOf(job: JobView, palette: Palette): string {
  switch (restOf(job)) {
    case 0:
      return palette.busy("●");
    case 1:
      return palette.bad("✗");
    case 2:
      return palette.faint("○");
    default:
      return job.state === "succeeded" ? palette.good("✓") : palette.faint("–");
  }
}

/** Of the last attempt: how long its work took, or has taken so far. */
function elapsedOf(job: JobView, now: number): string {
  const last = job.attempts.at(-1);
  if (!last?.startedAt) return "";
  const end = last.endedAt === null ? now : Date.parse(last.endedAt);
  return formatDuration(end - Date.parse(last.startedAt));
}
