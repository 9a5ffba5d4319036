/** A plan as people read it: a table of jobs, and why nothing cheaper was chosen. */
import type { PassedOver } from "../core/passed-over.ts";
import type { PlannedJob } from "./commands/plan.ts";
import type { Palette } from "./palette.ts";
import { renderTable } from "./render-table.ts";
import { formatCount, formatHourlyUsd, formatUsd } from "./render-values.ts";

export type ExplainedJob = PlannedJob & { readonly passedOver: readonly PassedOver[] };

export function renderPlan(jobs: readonly ExplainedJob[], palette: Palette): readonly string[] {
  const rows = jobs.map((job) => [
    job.name,
    job.instanceType,
    job.zones.join(" "),
    formatHourlyUsd(job.hourlyUsd),
    formatUsd(job.worstCaseUsd),
    job.runnersUp
      .map((other) => `${other.instanceType} ${formatHourlyUsd(other.hourlyUsd)}`)
      .join(", "),
  ]);
  const columns = [
    { title: "job" },
    { title: "instance" },
    { title: "zones" },
    { title: "price", align: "right" },
    { title: "at worst", align: "right" },
    { title: "then" },
  ] as const;
  const totalUsd = jobs.reduce((sum, job) => sum + job.worstCaseUsd, 0);
  const total =
    jobs.length > 1 ? [`all jobs, each once and to its max_duration: ${formatUsd(totalUsd)}`] : [];
  return [
    ...renderTable(columns, rows, palette.faint),
    ...total,
    ...renderGiven(jobs, palette),
    ...renderReasons(jobs, palette),
  ];
}

function renderGiven(jobs: readonly ExplainedJob[], palette: Palette): readonly string[] {
  const rows = jobs.flatMap(({ name, secrets = {}, role }) => [
    ...Object.entries(secrets).map(([variable, from]) => [name, variable, `from ${from}`]),
    ...(role === undefined ? [] : [[name, "role", role]]),
  ]);
  if (rows.length === 0) return [];
  const columns = [{ title: "" }, { title: "" }, { title: "" }] as const;
  return ["", palette.faint("secrets and roles:"), ...indent(renderTable(columns, rows))];
}

const indent = (lines: readonly string[]): readonly string[] => lines.map((line) => `  ${line}`);

/** Jobs for which the same holds share what is said of them. */
function renderReasons(jobs: readonly ExplainedJob[], palette: Palette): readonly string[] {
  const groups = new Map<string, ExplainedJob[]>();
  for (const job of jobs) {
    if (job.passedOver.length === 0) continue;
    const alike = JSON.stringify([job.instanceType, job.passedOver]);
    groups.set(alike, [...(groups.get(alike) ?? []), job]);
  }
  return [...groups.values()].flatMap((group) => {
    const [job] = group;
    if (!job) return [];
    const names = group.slice(0, NAMES_MAX).map(({ name }) => name);
    const more = group.length > NAMES_MAX ? ` and ${group.length - NAMES_MAX} more` : "";
    const rows = job.passedOver.map((type) => [
      type.instanceType,
      formatHourlyUsd(type.hourlyUsd),
      type.reasons.join(", "),
      type.others > 0 ? palette.faint(`and ${formatCount(type.others, "other")}`) : "",
    ]);
    const columns = [
      { title: "" },
      { title: "", align: "right" },
      { title: "" },
      { title: "" },
    ] as const;
    const head = `cheaper than ${job.instanceType}, and not for ${names.join(", ")}${more}:`;
    return ["", palette.faint(head), ...renderTable(columns, rows).map((line) => `  ${line}`)];
  });
}

const NAMES_MAX = 8;
