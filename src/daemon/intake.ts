/**
 * Taking a drop in, once. Every step may be repeated: a repeated event or a crash in between meets the
 * same run id, the same copy and the same record. A key that is overwritten meanwhile is a second drop.
 */
import { key, RUN_ID } from "../core/layout.ts";
import type { Limits } from "../core/limits.ts";
import { sourcesOf } from "../core/retention.ts";
import type { Run } from "../core/run.ts";
import { isFinished } from "../core/states.ts";
import { viewRun } from "../core/view.ts";
import { CloudError, describeError, isCloudError, UserError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Store } from "../ports.ts";
import type { Provider } from "../providers/provider.ts";
import { type CompiledDrop, compileDrop } from "./compile-drop.ts";
import { type DropName, parseDropKey } from "./drop-name.ts";
import { derivedRunId, runName } from "./names.ts";
import { createRun, markOpen, readRun } from "./records.ts";
import { copyUnlessRefused, type Drop, findDrop, rejectedDropKey } from "./rejected.ts";
import { keepRun, pin, unpin } from "./retention.ts";

export type Intake = {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  /** Those that the operator has added. */
  readonly providers: readonly Provider[];
  /** Called once for a drop that takes long; it goes on when the promise resolves. */
  readonly goAside?: () => Promise<void>;
};

/** Copying more than this, and reading it, takes long. */
const LONG_DROP_BYTES = 64e6;

/** Takes in what lies at a key under `drops/`. Nothing there, or a folder's placeholder: nothing to do. */
export async function takeIn(intake: Intake, dropKey: string): Promise<void> {
  const { store, log } = intake;
  const drop = await findDrop(store, dropKey);
  if (!drop || (drop.bytes === 0 && dropKey.endsWith("/"))) return;
  const name = parseDropKey(dropKey);
  const found = await findRun(intake, drop, name);
  if (found.type === "left") return;
  if (found.type === "taken") {
    await unpin(store, found.id);
    log.info("drop seen again", { run: found.id, key: dropKey });
    await removeDrop(store, drop);
    return;
  }
  const run = await begin(intake, drop, { name, id: found.id });
  if (!run) return;
  // Only now: the record is there, and open, and speaks for what it needs itself.
  if (run.rejected || sourcesOf(run.jobs).length > 0) await unpin(store, run.id);
  log.info("drop taken in", { run: run.id, name: run.name, key: dropKey, jobs: run.jobs.length });
  if (!isLeft(run)) await removeDrop(store, drop);
}

/** True of a run whose bundle S3 does not give out: it has failed, and its drop lies where it was. */
const isLeft = (run: Run): boolean => run.bundle.key === run.drop.key;

type FoundRun = { readonly id: string; readonly type: "new" | "taken" | "left" };

/** The id this drop has, or will have. A chosen id that another drop took first does not count. */
async function findRun({ store }: Intake, drop: Drop, name: DropName): Promise<FoundRun> {
  const derived = derivedRunId(drop);
  const candidates = RUN_ID.test(name.name) ? [name.name, derived] : [derived];
  for (const id of candidates) {
    const saved = await readRun(store, id);
    if (saved === undefined) return { id, type: "new" };
    // It may be this drop's own: taken in under another id, it would be two runs.
    if (saved === "unreadable") {
      throw new CloudError("conflict", `taking in ${drop.key}: the record of ${id} is unreadable`);
    }
    if (!isOf(saved.run, drop)) continue;
    await seeToTheRest(store, saved.run);
    return { id, type: isLeft(saved.run) ? "left" : "taken" };
  }
  const ids = candidates.join(" and ");
  throw new CloudError("conflict", `taking in ${drop.key}: ${ids} are other runs`);
}

/** The daemon before us came as far as the record. */
async function seeToTheRest(store: Store, run: Run): Promise<void> {
  if (!isFinished(run)) await markOpen(store, run.id);
  // One that is left is met by each sweep.
  else if (!isLeft(run) || !(await store.findInfo(key.status(run.id))))
    await writeStatus(store, run);
}

const isOf = (run: Run, drop: Drop): boolean =>
  run.drop.key === drop.key && run.drop.etag === drop.etag;

async function begin(
  intake: Intake,
  drop: Drop,
  { name, id }: { name: DropName; id: string },
): Promise<Run | undefined> {
  const { store } = intake;
  const run = await copyAndMakeRun(intake, drop, { name, id });
  if (!run) return undefined;
  try {
    if (run.rejected && !isLeft(run)) await keepRejected(store, run, drop);
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

async function copyAndMakeRun(
  intake: Intake,
  drop: Drop,
  { name, id }: { name: DropName; id: string },
): Promise<Run | undefined> {
  const bundleKey = key.bundle(id, name.isZip ? "zip" : "tar.gz");
  if (drop.bytes > LONG_DROP_BYTES) await intake.goAside?.();
  try {
    const refusal = await copyUnlessRefused(intake.store, drop, bundleKey);
    if (refusal !== undefined) return makeRefusedRun(intake, drop, { name, id, refusal });
  } catch (error) {
    // Overwritten or taken away since we looked: what is there now is another drop.
    if (isCloudError(error, "conflict", "not-found")) return undefined;
    throw error;
  }
  return makeRun(intake, drop, { name, id, bundleKey });
}

async function makeRun(
  intake: Intake,
  drop: Drop,
  { name, id, bundleKey }: { name: DropName; id: string; bundleKey: string },
): Promise<Run> {
  const at = intake.clock.now();
  const compiled = await compile(intake, drop, { name, id, bundleKey });
  return { ...emptyRun(drop, { id, at, bundleKey }), ...compiled };
}

/** Without its bundle there is nothing to run, and nothing to keep: the drop stays, and its owner is told. */
function makeRefusedRun(
  { clock }: Intake,
  drop: Drop,
  { name, id, refusal }: { name: DropName; id: string; refusal: string },
): Run {
  const rejected = [
    `S3 does not give it out: ${refusal}`,
    `It still lies at ${drop.key}. Let the daemon's role read it (kms:Decrypt of its key, where it is encrypted with KMS), or store it in another way; then drop it again.`,
  ];
  const empty = emptyRun(drop, { id, at: clock.now(), bundleKey: drop.key });
  return { ...empty, ...nothingCompiled(name), rejected };
}

function emptyRun(
  drop: Drop,
  { id, at, bundleKey }: { id: string; at: number; bundleKey: string },
): Omit<Run, keyof CompiledDrop> {
  return {
    format: 1,
    id,
    name: runName(id),
    createdAt: at,
    drop: { key: drop.key, etag: drop.etag },
    bundle: { key: bundleKey, bytes: drop.bytes },
    attempts: [],
    refusals: [],
    verdicts: [],
  };
}

const nothingCompiled = ({ workflow }: DropName): CompiledDrop => ({
  workflows: workflow === undefined ? [] : [workflow],
  jobs: [],
  warnings: [],
});

type Compiled = CompiledDrop & { readonly rejected?: string[] };

/** What the user can mend ends as a failed run with its reasons. */
async function compile(
  { store, clock, limits, providers, log, goAside }: Intake,
  drop: Drop,
  { name, id, bundleKey }: { name: DropName; id: string; bundleKey: string },
): Promise<Compiled> {
  const run = { id, name: runName(id) };
  try {
    if (name.problem) throw new UserError(name.problem);
    const compiled = await compileDrop(
      {
        store,
        clock,
        limits,
        providers,
        goAside: drop.bytes > LONG_DROP_BYTES ? undefined : goAside,
      },
      { drop, name, run, bundleKey },
    );
    await holdInputs({ store, clock }, id, compiled);
    return compiled;
  } catch (error) {
    if (isCloudError(error)) throw error;
    return { ...nothingCompiled(name), rejected: reasonsOf(error, drop, log) };
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
  const copied = await store.findInfo(run.bundle.key);
  if (copied) await store.copy(copied, rejectedDropKey(run.id, drop.key));
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
