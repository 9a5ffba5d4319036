/** What has changed between two views, as plain lines for a log, a pipe or a CI. */
import type { JobView, RunView } from "../core/view.ts";
import { type Palette, paintState } from "./palette.ts";
import { whyOf } from "./render-run.ts";
import { formatDuration, formatHourlyUsd, oneLine } from "./render-values.ts";

/** One line for each job whose state, machine or reason to wait has changed. */
export function renderChanges(
  before: RunView | undefined,
  after: RunView,
  palette: Palette,
): string[] {
  const width = Math.max(0, ...after.jobs.map((job) => job.name.length));
  const old = new Map(before?.jobs.map((job) => [job.name, job]));
  return after.jobs
    .filter((job) => isWorthALine(old.get(job.name), job))
    .map((job) => `${job.name.padEnd(width)}   ${describeJob(old.get(job.name), job, palette)}`);
}

function isWorthALine(was: JobView | undefined, is: JobView): boolean {
  // That a job waits for those it needs is what the order of a DAG means: no line for it.
  if (!was && is.state === "waiting" && isOnlyNeeds(is)) return false;
  return !was || changeOf(was) !== changeOf(is);
}

const isOnlyNeeds = (job: JobView): boolean => job.holds.every((hold) => hold.reason === "needs");

/** What makes a line worth printing; times, cost and details of a hold move all the while. */
function changeOf(job: JobView): string {
  const last = job.attempts.at(-1);
  const holds = isOnlyNeeds(job) ? [] : job.holds.map((hold) => hold.reason);
  return JSON.stringify([job.state, job.reason, last?.number, holds]);
}

function describeJob(was: JobView | undefined, is: JobView, palette: Palette): string {
  const last = is.attempts.at(-1);
  const state = paintState(is.state, palette);
  const why = isOnlyNeeds(is) ? is.reason : whyOf(is);
  if (why !== "") return `${state}: ${oneLine(why)}`;
  if (!last) return state;
  if (is.state === "succeeded") {
    const { startedAt, endedAt } = last;
    if (startedAt === null || endedAt === null) return state;
    return `${state} in ${formatDuration(Date.parse(endedAt) - Date.parse(startedAt))}`;
  }
  const attempt = last.number > 1 ? ` (try ${last.number})` : "";
  // Its machine is named once, at the first that is seen of the attempt.
  if (was?.attempts.at(-1)?.number === last.number) return state + attempt;
  const id = last.instanceId === null ? "" : ` ${palette.faint(last.instanceId)}`;
  return `${state}${attempt} on ${last.instanceType} in ${last.zone}, ${formatHourlyUsd(last.hourlyUsd)}${id}`;
}
