/**
 * What the bucket says of runs. Views come from `status/`; a drop that no daemon has taken in yet, and a run
 * of which the daemon has told nothing yet, show as queued. Nothing here asks a daemon, so it works while none is alive.
 */
import PQueue from "p-queue";
import { key, prefix, RUN_ID } from "../core/layout.ts";
import { type RunSummary, type RunView, viewRun } from "../core/view.ts";
import { parseDropKey } from "../daemon/drop-name.ts";
import { derivedRunId, runName } from "../daemon/names.ts";
import { readRun } from "../daemon/records.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";

const READS_AT_ONCE = 16;

/** A drop on its way in. */
export type Drop = {
  readonly key: string;
  /** The one it was dropped with, or the one that the daemon will derive for it. */
  readonly id: string;
  /** The workflow its key names; undefined for all that no other depends on. */
  readonly workflow: string | undefined;
};

export type Runs = {
  /** Ids of those that have a view, oldest first. */
  readonly told: readonly string[];
  /** What is known of the others. */
  readonly waiting: readonly RunView[];
};

/** All runs. Listed in the order of their way: one that goes on meanwhile is then found further on. */
export async function listRuns(store: Store): Promise<Runs> {
  const drops = await listDrops(store);
  const open = await store.list(prefix.open);
  const told = await listRunIds(store);
  const isTold = new Set(told);
  const untold = open.map((marker) => marker.key.slice(prefix.open.length));
  const taken = await Promise.all(
    untold.filter((id) => !isTold.has(id)).map((id) => viewTaken(store, id)),
  );
  const dropped = drops.filter(({ id }) => !isTold.has(id)).map(viewDrop);
  const waiting = [...dropped, ...taken.filter((view) => view !== undefined)];
  return { told, waiting: [...new Map(waiting.map((view) => [view.id, view])).values()] };
}

/** A run whose record is there. A marker may be without one, and may outlive its run for a moment. */
async function viewTaken(store: Store, id: string): Promise<RunView | undefined> {
  const saved = await readRun(store, id);
  if (saved === undefined || saved === "unreadable") return undefined;
  return viewRun(saved.run, { at: saved.run.createdAt, holds: [] });
}

/** Ids of all runs that have a view, oldest first. */
async function listRunIds(store: Store): Promise<string[]> {
  const infos = await store.list(prefix.status);
  return infos
    .map((info) => info.key.slice(prefix.status.length).replace(/\.json$/, ""))
    .filter((id) => RUN_ID.test(id));
}

/** Drops not taken in yet, oldest first. */
async function listDrops(store: Store): Promise<Drop[]> {
  const infos = (await store.list(prefix.drops)).filter((info) => !info.key.endsWith("/"));
  const drops = await Promise.all(infos.map((info) => dropOf(store, info.key)));
  return drops
    .filter((drop) => drop !== undefined)
    .sort((one, other) => (one.id < other.id ? -1 : 1));
}

async function dropOf(store: Store, dropKey: string): Promise<Drop | undefined> {
  const { name, workflow } = parseDropKey(dropKey);
  if (RUN_ID.test(name)) return { key: dropKey, id: name, workflow };
  // A listing has finer times than the object itself, which is what the daemon derives the id from.
  const info = await store.findInfo(dropKey);
  return info && { key: dropKey, id: derivedRunId(info), workflow };
}

/** Undefined when there is none. A view of a format that this version does not know is the user's error. */
export async function findView(store: Store, id: string): Promise<RunView | undefined> {
  const object = await store.find(key.status(id));
  if (!object) return undefined;
  const stored = parseView(id, object.body);
  if (stored.format !== 1) {
    throw new UserError(
      `run ${id} was written in format ${JSON.stringify(stored.format)}, which this version does not know`,
      "Use the version of Errand that the daemon runs.",
    );
  }
  const { format: _, ...view } = stored;
  // Views written before there was retention do not say it.
  return { ...view, prunedAt: view.prunedAt ?? null };
}

function parseView(id: string, body: Uint8Array): RunView & { readonly format?: number } {
  try {
    const stored: unknown = JSON.parse(new TextDecoder().decode(body));
    if (typeof stored === "object" && stored !== null) return stored as RunView;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new UserError(
    `${key.status(id)} in the bucket is damaged`,
    `The daemon writes it anew when the run goes on; a run that is over stands in ${key.record(id)}.`,
  );
}

/** Views of these runs, in their order; those that are gone are left out, and those that nobody can read told. */
export async function readViews(
  store: Store,
  ids: readonly string[],
  onUnreadable: (error: UserError) => void,
): Promise<RunView[]> {
  const queue = new PQueue({ concurrency: READS_AT_ONCE });
  const read = async (id: string): Promise<RunView | undefined> => {
    try {
      return await findView(store, id);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      onUnreadable(error);
      return undefined;
    }
  };
  const views = await Promise.all(ids.map((id) => queue.add(() => read(id))));
  return views.filter((view) => view !== undefined);
}

/** What is known of a run before it is taken in. Its jobs are not. */
export const viewDrop = ({ id, workflow }: Pick<Drop, "id" | "workflow">): RunView => ({
  id,
  name: runName(id),
  state: "queued",
  workflows: workflow === undefined ? [] : [workflow],
  createdAt: new Date(timeOf(id)).toISOString(),
  finishedAt: null,
  costUsd: 0,
  prunedAt: null,
  problems: [],
  warnings: [],
  jobs: [],
});

/** The second that a run id names, in milliseconds. */
function timeOf(id: string): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)/.exec(id) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

export const summaryOf = (view: RunView): RunSummary => ({
  id: view.id,
  name: view.name,
  state: view.state,
  workflows: view.workflows,
  createdAt: view.createdAt,
  finishedAt: view.finishedAt,
  costUsd: view.costUsd,
});
