/** `errand show` for people. */
import type { AttemptView, JobView, Phases, RunView } from "../core/view.ts";
import { type Palette, paintState } from "./palette.ts";
import { type Column, renderTable } from "./render-table.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatHourlyUsd,
  formatTime,
  formatUsd,
  oneLine,
} from "./render-values.ts";

export type RenderOptions = {
  readonly palette: Palette;
  /** Milliseconds. */
  readonly now: number;
};

/** `placeWords` are for commands that are named. */
export function renderRun(
  view: RunView,
  { placeWords, ...options }: RenderOptions & { readonly placeWords: string },
): string[] {
  const { palette } = options;
  return [
    renderTitle(view, options),
    ...renderPruned(view, palette),
    ...view.problems.map((problem) => `  ${palette.bad(oneLine(problem))}`),
    ...view.warnings.map((warning) => `  ${palette.warn(`warning: ${oneLine(warning)}`)}`),
    ...(view.jobs.length > 0 ? ["", ...indent(renderJobs(view, options))] : []),
    ...section("phases", renderPhases(view), palette),
    ...section("refused by EC2", renderRefusals(view), palette),
    ...section("artifacts", renderArtifacts(view), palette),
    ...section("notes", renderNotes(view, placeWords), palette),
  ];
}

/** What is listed below it is no more to be had. */
const renderPruned = (view: RunView, palette: Palette): string[] =>
  view.prunedAt === null
    ? []
    : [`  ${palette.warn(`logs and artifacts were pruned on ${view.prunedAt.slice(0, 10)}`)}`];

const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);

function section(title: string, lines: readonly string[], palette: Palette): string[] {
  return lines.length === 0 ? [] : ["", `  ${palette.strong(title)}`, ...indent(lines)];
}

/** `brave-otter-42 (20261123-211530-k3f9q2) succeeded in 12.3 s, $0.0021` */
export function renderTitle(view: RunView, { palette, now }: RenderOptions): string {
  const name = palette.strong(view.name);
  const id = view.id === "" || view.id === view.name ? "" : ` ${palette.faint(`(${view.id})`)}`;
  const until = view.finishedAt === null ? now : Date.parse(view.finishedAt);
  const elapsed = formatDuration(until - Date.parse(view.createdAt));
  const time = view.finishedAt === null ? `for ${elapsed}` : `in ${elapsed}`;
  return `${name}${id} ${paintState(view.state, palette)} ${time}, ${formatUsd(view.costUsd)}`;
}

function renderJobs(view: RunView, { palette, now }: RenderOptions): string[] {
  const columns: Column[] = [
    { title: "job" },
    { title: "state" },
    { title: "try", align: "right" },
    { title: "instance" },
    { title: "zone" },
    { title: "price", align: "right" },
    { title: "time", align: "right" },
    { title: "cost", align: "right" },
    { title: "why" },
  ];
  const rows = view.jobs.flatMap((job) => {
    const first = job.attempts.length > 1 ? job.attempts.slice(0, -1) : [];
    return [
      ...first.map((attempt) => attemptRow(job.name, attempt, { palette, now })),
      jobRow(job, { palette, now }),
    ];
  });
  return renderTable(columns, rows, palette.faint);
}

function jobRow(job: JobView, options: RenderOptions): string[] {
  const { palette } = options;
  const last = job.attempts.at(-1);
  const why = oneLine(whyOf(job));
  const row = last
    ? attemptRow(job.name, last, options)
    : [job.name, "", "", "", "", "", "", "", ""];
  row[1] = paintState(job.state, palette);
  row[8] = why;
  return row;
}

function attemptRow(name: string, attempt: AttemptView, { palette, now }: RenderOptions): string[] {
  const time = attemptMs(attempt, now);
  return [
    name,
    paintState(attempt.state, palette),
    attempt.number === 1 && attempt.state !== "lost" ? "" : String(attempt.number),
    attempt.instanceType,
    attempt.zone,
    formatHourlyUsd(attempt.hourlyUsd),
    time === null ? "" : formatDuration(time),
    formatUsd(attempt.costUsd),
    oneLine(attempt.reason),
  ];
}

/** From the runner's start to the end of the work; null before it. */
function attemptMs(attempt: AttemptView, now: number): number | null {
  if (attempt.startedAt === null) return null;
  const end = attempt.endedAt === null ? now : Date.parse(attempt.endedAt);
  return end - Date.parse(attempt.startedAt);
}

/** Why a job is where it is: its reason, or what holds it. */
export function whyOf(job: JobView): string {
  // "cancelled: cancelled" says nothing more.
  if (job.reason !== "" && job.reason !== job.state) return job.reason;
  return job.holds
    .map((hold) => {
      const again =
        hold.nextLookAt === null ? "" : `, next try ${formatTime(Date.parse(hold.nextLookAt))}`;
      return `${hold.detail || hold.reason}${again}`;
    })
    .join("; ");
}

const PHASES: readonly (keyof Phases)[] = [
  "queued",
  "api",
  "pending",
  "boot",
  "inputs",
  "setup",
  "run",
  "upload",
  "terminate",
];

function renderPhases(view: RunView): string[] {
  const rows = view.jobs.flatMap((job) =>
    job.attempts.map((attempt) => [
      attempt.number === 1 ? job.name : `${job.name} (try ${attempt.number})`,
      ...PHASES.map((phase) => formatDuration(attempt.phases[phase])),
    ]),
  );
  if (rows.length === 0) return [];
  const columns: Column[] = [
    { title: "" },
    ...PHASES.map((phase): Column => ({ title: phase, align: "right" })),
  ];
  return renderTable(columns, rows);
}

function renderArtifacts(view: RunView): string[] {
  const rows = view.jobs.flatMap((job) =>
    job.artifacts.map((artifact) => [
      job.name,
      oneLine(artifact.path),
      formatCount(artifact.files, "file"),
      formatBytes(artifact.bytes),
      view.prunedAt !== null ? "pruned" : job.state === "succeeded" ? "" : "partial",
    ]),
  );
  return renderTable(
    [
      { title: "" },
      { title: "" },
      { title: "", align: "right" },
      { title: "", align: "right" },
      { title: "" },
    ],
    rows,
  );
}

/** Of jobs that got their machine too: it says why that one. */
function renderRefusals(view: RunView): string[] {
  const rows = view.jobs.flatMap((job) =>
    (job.refusals ?? []).map((refusal) => [
      job.name,
      refusal.instanceType,
      refusal.zone,
      refusal.code || refusal.kind,
      formatCount(refusal.count, "time"),
      `last ${formatTime(Date.parse(refusal.lastAt))}`,
    ]),
  );
  return renderTable(Array<Column>(6).fill({ title: "" }), rows);
}

function renderNotes(view: RunView, placeWords: string): string[] {
  const rows = view.jobs.flatMap((job) => [
    ...job.notes.map((note) => [job.name, oneLine(note)]),
    ...job.attempts
      .filter(({ consoleBytes }) => (consoleBytes ?? 0) > 0)
      .map(({ number }) => [
        job.name,
        `try ${number} never began; what its machine said: errand logs ${view.id} ${job.name} --console${placeWords}`,
      ]),
  ]);
  return renderTable([{ title: "" }, { title: "" }], rows);
}
