/** `errand runs`, `errand show RUN` and `errand cancel RUN`. */
import { key } from "../../core/layout.ts";
import type { RunView } from "../../core/view.ts";
import { UserError } from "../../errors.ts";
import { type ConnectOptions, connect } from "../connect.ts";
import { isDaemonAlive, startHint } from "../daemon-alive.ts";
import type { Output } from "../output.ts";
import { listRuns, readViews, summaryOf } from "../read-runs.ts";
import { tellOldPrices } from "../render-prices.ts";
import { renderRun } from "../render-run.ts";
import { renderRuns } from "../render-runs.ts";
import { findRun } from "../select-run.ts";
import { systemClock } from "../system-clock.ts";

export type CommonOptions = ConnectOptions & { readonly json?: boolean };

/** Newest first. */
export async function runs(
  output: Output,
  options: CommonOptions & { readonly limit: number },
): Promise<number> {
  const connection = await connect(options);
  const { store } = connection;
  const { told, waiting } = await listRuns(store);
  const newest = [...told, ...waiting.map((view) => view.id)].sort().reverse();
  const shown = new Set(newest.slice(0, options.limit));
  const views = await readViews(
    store,
    told.filter((id) => shown.has(id)),
    ({ message }) => output.note(output.notePalette.warn(`warning: ${message}`)),
  );
  const summaries = [...views, ...waiting.filter((view) => shown.has(view.id))]
    .map(summaryOf)
    .sort((one, other) => (one.id < other.id ? 1 : -1));
  if (options.json) {
    output.json(summaries);
    return 0;
  }
  const { palette } = output;
  for (const line of renderRuns(summaries, { palette, now: systemClock.now() })) output.line(line);
  tellOldPrices(output, views, connection);
  const hidden = newest.length - shown.size;
  if (hidden > 0) output.note(`and ${hidden} older; --limit ${newest.length} shows all`);
  const needsDaemon = summaries.some((run) => run.finishedAt === null);
  if (needsDaemon && !(await isDaemonAlive(store, systemClock.now()))) {
    output.note(output.notePalette.warn(startHint(connection)));
  }
  return 0;
}

export async function show(
  output: Output,
  reference: string,
  options: CommonOptions,
): Promise<number> {
  const connection = await connect(options);
  const { store, placeWords } = connection;
  const view = await findRun(store, reference);
  if (options.json) {
    output.json(view);
    return 0;
  }
  const { palette } = output;
  const now = systemClock.now();
  for (const line of renderRun(view, { palette, now, placeWords })) output.line(line);
  tellOldPrices(output, [view], connection);
  if (view.finishedAt === null && !(await isDaemonAlive(store, now))) {
    output.note(output.notePalette.warn(startHint(connection)));
  }
  return 0;
}

/** Asks for the run's end; the daemon sees to it. */
export async function cancel(
  output: Output,
  reference: string,
  options: CommonOptions & { readonly now?: boolean },
): Promise<number> {
  const connection = await connect(options);
  const { store } = connection;
  const view = await findRun(store, reference);
  if (view.finishedAt !== null) throw alreadyFinished(view);
  const isNow = options.now === true;
  const at = systemClock.now();
  await store.put(key.cancel(view.id), JSON.stringify({ now: isNow, at }), {
    contentType: "application/json",
  });
  if (options.json) {
    output.json({ id: view.id, name: view.name, now: isNow });
    return 0;
  }
  output.line(
    isNow
      ? `${view.name} is being ended at once: what its jobs have not synced yet is gone`
      : `${view.name} is being cancelled: its jobs have 30 s to end, then their artifacts are kept`,
  );
  if (!(await isDaemonAlive(store, at)))
    output.note(output.notePalette.warn(startHint(connection)));
  return 0;
}

const alreadyFinished = (view: RunView): UserError =>
  new UserError(
    `${view.name} (${view.id}) ${view.state === "cancelled" ? "is" : "has"} ${view.state} already`,
    "Nothing was changed.",
  );
