/**
 * Retention at work. A pass finds runs that finished long ago, asks what keeps them, and takes away what
 * nobody refers to: bundle, logs, artifacts, manifests, orders. The record and the status stay, and say so.
 * Every step may be repeated, and any number of passes may run at once: `retention.ts` says why that is safe.
 */
import PQueue from "p-queue";
import { key, prefix, RUN_ID, runId } from "../core/layout.ts";
import { isDue } from "../core/retention.ts";
import type { Run } from "../core/run.ts";
import { finishedAt } from "../core/states.ts";
import { viewRun } from "../core/view.ts";
import { isCloudError } from "../errors.ts";
import type { Clock, ObjectInfo, Store } from "../ports.ts";
import { readRun, saveRun } from "./records.ts";
import { readReferences } from "./references.ts";
import { moveMark, readMark } from "./retention.ts";

export type Pruner = {
  readonly store: Store;
  readonly clock: Pick<Clock, "now">;
  /** Fresh random text. */
  readonly newToken: () => string;
};

export type Limit = {
  /** Runs that finished before this, in milliseconds since 1970. */
  readonly before: number;
  /** A pass ends after the run that reaches one of these. */
  readonly runsMax: number;
  readonly objectsMax: number;
};

export type PruneCandidate = {
  readonly run: string;
  readonly name: string;
  readonly finishedAt: number;
  readonly objects: number;
  readonly bytes: number;
};

/** Old enough to go, and why it stays. */
export type Kept = { readonly run: string; readonly why: string };

export type Survey = {
  /** Oldest first. */
  readonly due: readonly PruneCandidate[];
  readonly kept: readonly Kept[];
  /** Keys that nobody can read. Those of records protect themselves, any other protects all runs. */
  readonly unreadable: readonly string[];
  /** Nothing may be pruned while these cannot be read. */
  readonly blockedBy: readonly string[];
  /** A bound was reached: there may be more. */
  readonly hasMore: boolean;
};

const NOTHING: Survey = { due: [], kept: [], unreadable: [], blockedBy: [], hasMore: false };

/** What a pass would take away. Changes nothing. */
export async function survey(pruner: Pruner, limit: Limit): Promise<Survey> {
  const { store, clock } = pruner;
  const { keptBy, unreadable: blockedBy } = await readReferences(store, clock);
  if (blockedBy.length > 0) return { ...NOTHING, blockedBy };
  const due: PruneCandidate[] = [];
  const kept: Kept[] = [];
  const unreadable: string[] = [];
  let objects = 0;
  for (const id of await listOld(store, limit.before)) {
    if (due.length >= limit.runsMax || objects >= limit.objectsMax) {
      return { due, kept, unreadable, blockedBy, hasMore: true };
    }
    const judged = await judge(store, id, { why: keptBy.get(id), before: limit.before });
    if (judged === "unreadable") unreadable.push(key.record(id));
    else if (judged && "why" in judged) kept.push(judged);
    else if (judged) {
      due.push(judged);
      objects += judged.objects;
    }
  }
  return { due, kept, unreadable, blockedBy, hasMore: false };
}

/** Undefined for a run that is too young, or was removed by hand. */
async function judge(
  store: Store,
  id: string,
  { why, before }: { readonly why: string | undefined; readonly before: number },
): Promise<PruneCandidate | Kept | "unreadable" | undefined> {
  const isBegun = await isPruning(store, id);
  if (why !== undefined && !isBegun) return { run: id, why };
  const saved = await readRun(store, id);
  if (!saved || saved === "unreadable") return saved;
  return isBegun || isDue(saved.run, before) ? measure(store, saved.run) : undefined;
}

/** A pass before this one began to take it away, and died: nothing keeps what is half gone. */
async function isPruning(store: Store, run: string): Promise<boolean> {
  const mark = await readMark(store, run);
  return mark.type === "found" && mark.content.stage === "pruning";
}

/** Runs that began before a time and are not done with. Ids sort by time, so younger ones are not even looked at. */
async function listOld(store: Store, before: number): Promise<readonly string[]> {
  const marks = await store.list(prefix.pruned);
  const done = new Set(marks.map((each) => each.key.slice(prefix.pruned.length)));
  const end = runId(new Date(before).toISOString(), "zzzzzz");
  return (await store.list(prefix.records))
    .map((info) => info.key.slice(prefix.records.length).replace(/\.json$/, ""))
    .filter((id) => RUN_ID.test(id) && id <= end && !done.has(id));
}

async function measure(store: Store, run: Run): Promise<PruneCandidate> {
  const objects = await listObjects(store, run);
  return {
    run: run.id,
    name: run.name,
    finishedAt: finishedAt(run) ?? run.createdAt,
    objects: objects.length,
    bytes: objects.reduce((sum, object) => sum + object.bytes, 0),
  };
}

/**
 * What a run has in the bucket beside its record and status. A launch that several runs share keeps its
 * frozen input until the last of them goes.
 */
async function listObjects(store: Store, run: Run): Promise<readonly ObjectInfo[]> {
  const own = await store.list(prefix.run(run.id));
  const rejected = await store.list(prefix.rejected(run.id));
  const orders: ObjectInfo[] = [];
  for (const token of new Set(run.attempts.map(({ launch }) => launch.token))) {
    const listed = await store.list(prefix.launch(token));
    const indexes = run.attempts.filter(({ launch }) => launch.token === token);
    const isOwn = (info: ObjectInfo) =>
      indexes.some(({ launch }) => info.key.startsWith(`${prefix.launch(token)}${launch.index}.`));
    const ofRun = listed.filter(isOwn);
    // Beside ours there is but the launch itself: the orders of other runs went with them.
    orders.push(...(listed.length <= ofRun.length + 1 ? listed : ofRun));
  }
  return [...orders, ...own, ...rejected];
}

export type Pruned = Survey & {
  /** Those of `due` that are gone now. */
  readonly pruned: readonly PruneCandidate[];
};

/** One pass. What it does not come to, or what somebody took hold of meanwhile, is left for the next. */
export async function prune(pruner: Pruner, limit: Limit): Promise<Pruned> {
  const found = await survey(pruner, limit);
  if (found.due.length === 0) return { ...found, pruned: [] };
  const marks = new Map<string, string | undefined>();
  for (const { run } of found.due) marks.set(run, await condemn(pruner, run));
  // Read anew, after the marks are there: whoever refers from now on sees a mark, whoever did before is seen here.
  const { keptBy, unreadable: blockedBy } = await readReferences(pruner.store, pruner.clock);
  const kept = [...found.kept];
  const pruned: PruneCandidate[] = [];
  for (const candidate of found.due) {
    const { run } = candidate;
    const etag = marks.get(run);
    if (etag === undefined) continue;
    const why = blockedBy.length > 0 ? "not all references can be read" : keptBy.get(run);
    if (why !== undefined && etag !== PRUNING) {
      await moveMark(pruner.store, run, { from: etag, to: stageAt(pruner, "kept") });
      kept.push({ run, why });
    } else if (await takeAway(pruner, candidate, etag)) pruned.push(candidate);
  }
  return { ...found, kept, blockedBy, pruned };
}

/** Stands for the version of a mark from which nothing leads back. */
const PRUNING = "pruning";

const stageAt = ({ clock }: Pruner, stage: "kept" | "pruning") => ({ stage, at: clock.now() });

/** The version of the mark to go on from; undefined when somebody moves it at the same time. */
async function condemn(
  { store, clock, newToken }: Pruner,
  run: string,
): Promise<string | undefined> {
  const mark = await readMark(store, run);
  if (mark.type === "unreadable") return undefined;
  if (mark.type === "found" && mark.content.stage === "pruning") return PRUNING;
  // One that is condemned already is condemned anew: what its pruner has seen since is not known here.
  const to = { stage: "condemned", at: clock.now(), nonce: newToken() } as const;
  return moveMark(store, run, { from: mark.type === "found" ? mark.etag : undefined, to });
}

/** False when somebody took hold of the run. */
async function takeAway(pruner: Pruner, candidate: PruneCandidate, etag: string): Promise<boolean> {
  const { store, clock } = pruner;
  const { run: id, objects, bytes } = candidate;
  if (etag !== PRUNING) {
    const moved = await moveMark(store, id, { from: etag, to: stageAt(pruner, "pruning") });
    if (moved === undefined) return false;
  }
  const saved = await readRun(store, id);
  if (!saved || saved === "unreadable") return false;
  // The record says so before the first object goes: nobody is shown artifacts that are going.
  const run = saved.run.pruned
    ? saved.run
    : { ...saved.run, pruned: { at: clock.now(), objects, bytes } };
  try {
    if (run !== saved.run) await saveRun(store, run, saved.etag);
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
    return false;
  }
  const view = viewRun(run, { at: run.createdAt, holds: [] });
  await store.put(key.status(id), JSON.stringify({ format: 1, ...view }), {
    contentType: "application/json",
  });
  await removeAll(store, await listObjects(store, run));
  await store.put(key.pruned(id), "");
  return true;
}

const CALLS_AT_ONCE = 16;

/** Orders before the claims that stand for them: a machine that comes late finds nothing to do. */
async function removeAll(store: Store, objects: readonly ObjectInfo[]): Promise<void> {
  const [claims, others] = [true, false].map((isClaim) =>
    objects.filter(({ key: name }) => name.endsWith(".claim") === isClaim),
  );
  const queue = new PQueue({ concurrency: CALLS_AT_ONCE });
  for (const each of [others, claims]) {
    await Promise.all((each ?? []).map((object) => queue.add(() => store.remove(object.key))));
  }
}
