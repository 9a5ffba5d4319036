/** `errand runs` and `errand instances` for people. */
import type { RunSummary } from "../core/view.ts";
import { type Palette, paintState } from "./palette.ts";
import { renderTable } from "./render-table.ts";
import { formatAgo, formatDuration, formatUsd, oneLine } from "./render-values.ts";

export function renderRuns(
  runs: readonly RunSummary[],
  { palette, now }: { readonly palette: Palette; readonly now: number },
): string[] {
  if (runs.length === 0) return ["no runs yet; submit one: errand submit DIR WORKFLOW"];
  const rows = runs.map((run) => {
    const createdAt = Date.parse(run.createdAt);
    const until = run.finishedAt === null ? now : Date.parse(run.finishedAt);
    return [
      palette.strong(oneLine(run.name)),
      palette.faint(run.id),
      paintState(run.state, palette),
      oneLine(run.workflows.join(", ")),
      formatAgo(now - createdAt),
      formatDuration(until - createdAt),
      formatUsd(run.costUsd),
    ];
  });
  return renderTable(
    [
      { title: "run" },
      { title: "id" },
      { title: "state" },
      { title: "workflows" },
      { title: "submitted" },
      { title: "time", align: "right" },
      { title: "cost", align: "right" },
    ],
    rows,
    palette.faint,
  );
}
