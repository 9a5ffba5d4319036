/**
 * Taking a drop in, once. Every step may be repeated: a repeated event or a crash in between meets the
 * same run id, the same copy and the same record. A key that is overwritten meanwhile is a second drop.
 */
import { key, prefix, RUN_ID } from "../core/layout.ts";
import type { Limits } from "../core/limits.ts";
import { sourcesOf } from "../core/retention.ts";
import type { Run } from "../core/run.ts";
import { isFinished } from "../core/states.ts";
import { viewRun } from "../core/view.ts";
import { CloudError, describeError, isCloudError, UserError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, ObjectInfo, Store } from "../ports.ts";
import type { Provider } from "../providers/provider.ts";
import { type CompiledDrop, compileDrop } from "./compile-drop.ts";
import { type DropName, parseDropKey } from "./drop-name.ts";
import { derivedRunId, runName } from "./names.ts";
import { createRun, markOpen, readRun } from "./records.ts";
import { keepRun, pin, unpin } from "./retention.ts";

export type Intake = {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  /** Those that the operator has added. */
  readonly providers: readonly Provider[];
};

type Drop = ObjectInfo & { readonly metadata: Readonly<Record<string, string>> };

/** Takes in what lies at a key under `drops/`. Nothing there, or a folder's placeholder: nothing to do. */
export async function takeIn(intake: Intake, dropKey: string): Promise<void> {
  const { store, log } = intake;
  const drop = await store.findInfo(dropKey);
  if (!drop || (drop.bytes === 0 && dropKey.endsWith("/"))) return;
  const name = parseDropKey(dropKey);
  const found = await findRun(intake, drop, name);
  if (found.isNew) {
    const run = await begin(intake, drop, { name, id: found.id });
    if (!run) return;
    // Only now: the record is there, and open, and speaks for what it needs itself.
    if (run.rejected || sourcesOf(run.jobs).length > 0) await unpin(store, run.id);
    log.info("drop taken in", { run: run.id, name: run.name, key: dropKey, jobs: run.jobs.length });
  } else {
    await unpin(store, found.id);
    log.info("drop seen again", { run: found.id, key: dropKey });
  }
  await removeDrop(store, drop);
}

/** The id this drop has, or will have. A chosen id that another drop took first does not count. */
async function findRun(
  { store }: Intake,
  drop: Drop,
  name: DropName,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  const derived = derivedRunId(drop);
  const candidates = RUN_ID.test(name.name) ? [name.name, derived] : [derived];
  for (const id of candidates) {
    const saved = await readRun(store, id);
    if (saved === undefined) return { id, isNew: true };
    // It may be this drop's own: taken in under another id, it would be two runs.
    if (saved === "unreadable") {
      throw new CloudError("conflict", `taking in ${drop.key}: the record of ${id} is unreadable`);
    }
    if (!isOf(saved.run, drop)) continue;
    // The daemon before us came as far as the record: see to what follows it.
    if (!isFinished(saved.run)) await markOpen(store, id);
    else await writeStatus(store, saved.run);
    return { id, isNew: false };
  }
  const ids = candidates.join(" and ");
  throw new CloudError("conflict", `taking in ${drop.key}: ${ids} are other runs`);
}

const isOf = (run: Run, drop: Drop): boolean =>
  run.drop.key === drop.key && run.drop.etag === drop.etag;

async function begin(
  intake: Intake,
  drop: Drop,
  { name, id }: { name: DropName; id: string },
): Promise<Run | undefined> {
  const { store, clock } = intake;
  const bundleKey = key.bundle(id, name.isZip ? "zip" : "tar.gz");
  try {
    await store.copy(drop, bundleKey);
  } catch (error) {
    // Overwritten or taken away since we looked: what is there now is another drop.
    if (isCloudError(error, "conflict", "not-found")) return undefined;
    throw error;
  }
  const run = await makeRun(intake, drop, { name, id, bundleKey, at: clock.now() });
  try {
    if (run.rejected) await keepRejected(store, run, drop);
    await createRun(store, run);
    if (run.rejected) await close(store, run);
  } catch (error) {
    // Another intake of the same drop, or our own write whose reply was lost; if it is another drop's
    // run, the next event or sweep finds another id for this one.
    if (!isCloudError(error, "conflict")) throw error;
    const saved = await readRun(store, id);
    if (saved === undefined || saved === "unreadable" || !isOf(saved.run, drop)) throw error;
    await markOpen(store, id);
    return saved.run;
  }
  return run;
}

async function makeRun(
  intake: Intake,
  drop: Drop,
  { name, id, bundleKey, at }: { name: DropName; id: string; bundleKey: string; at: number },
): Promise<Run> {
  const run = {
    format: 1,
    id,
    name: runName(id),
    createdAt: at,
    drop: { key: drop.key, etag: drop.etag },
    bundle: { key: bundleKey, bytes: drop.bytes },
    attempts: [],
    refusals: [],
    verdicts: [],
  } as const;
  const compiled = await compile(intake, drop, { name, id, bundleKey });
  return { ...run, attempts: [], refusals: [], verdicts: [], ...compiled };
}

type Compiled = CompiledDrop & { readonly rejected?: string[] };

/** What the user can mend ends as a failed run with its reasons. */
async function compile(
  { store, clock, limits, providers, log }: Intake,
  drop: Drop,
  { name, id, bundleKey }: { name: DropName; id: string; bundleKey: string },
): Promise<Compiled> {
  const run = { id, name: runName(id) };
  try {
    if (name.problem) throw new UserError(name.problem);
    const compiled = await compileDrop(
      { store, limits, providers },
      { drop, name, run, bundleKey },
    );
    await holdInputs({ store, clock }, id, compiled);
    return compiled;
  } catch (error) {
    if (isCloudError(error)) throw error;
    const workflows = name.workflow === undefined ? [] : [name.workflow];
    return { workflows, jobs: [], warnings: [], rejected: reasonsOf(error, drop, log) };
  }
}

/** Until the record stands, a pin keeps what its tags named: one may be moved, and retention come by, meanwhile. */
async function holdInputs(
  { store, clock }: Pick<Intake, "store" | "clock">,
  run: string,
  { jobs }: CompiledDrop,
): Promise<void> {
  const sources = sourcesOf(jobs);
  await pin(store, run, sources);
  for (const source of sources) {
    if (await keepRun(store, source, clock)) continue;
    const input = jobs
      .flatMap(({ inputs }) => inputs)
      .find((each) => each.type === "set" && each.run === source);
    const reference = input?.type === "set" ? input.reference : source;
    throw new UserError(
      `${reference} stands for run ${source}, whose artifacts have been pruned`,
      "Run that workflow again with the tag, or put the tag on a younger run.",
    );
  }
}

/** One drop that we cannot deal with must not keep the daemon from all others, so a bug ends here too, in the log. */
function reasonsOf(error: unknown, drop: Drop, log: Log): string[] {
  if (error instanceof UserError) {
    const text = error.hint === "" ? error.message : `${error.message}\n${error.hint}`;
    return text.split("\n");
  }
  const stack = error instanceof Error ? error.stack : String(error);
  log.error("drop rejected for a bug", { key: drop.key, stack });
  return [`a bug in Errand: ${describeError(error)}`];
}

/** Of a run that failed before it began, the bundle is kept to look at. */
async function keepRejected(store: Store, run: Run, drop: Drop): Promise<void> {
  const dropName = drop.key.slice(prefix.drops.length);
  const copied = await store.findInfo(run.bundle.key);
  if (copied) await store.copy(copied, key.rejected(run.id, dropName));
}

/** Told at once: there is nothing to look at. A crash before this leaves it to the next look. */
async function close(store: Store, run: Run): Promise<void> {
  await writeStatus(store, run);
  await store.remove(key.open(run.id));
}

async function writeStatus(store: Store, run: Run): Promise<void> {
  const view = viewRun(run, { at: run.createdAt, holds: [] });
  await store.put(key.status(run.id), JSON.stringify({ format: 1, ...view }), {
    contentType: "application/json",
  });
}

async function removeDrop(store: Store, drop: Drop): Promise<void> {
  // The same bytes dropped again have the same ETag; only their time tells them apart.
  const current = await store.findInfo(drop.key);
  if (current?.modifiedAt !== drop.modifiedAt) return;
  try {
    await store.remove(drop.key, { ifEtag: drop.etag });
  } catch (error) {
    // Overwritten meanwhile: a second drop, which has its own event, and the sweep.
    if (!isCloudError(error, "conflict", "not-found")) throw error;
  }
}
