/**
 * Who may take a run's artifacts away, and when: the protocol between retention and those that refer to
 * artifacts (a tag, a run that is being taken in). Nobody holds a lock, each may die at any call, and the
 * command prunes beside the daemon. S3 gives strong reads and compare-and-swap, and that is enough:
 *
 * - whoever refers writes the reference first (the tag, the pin) and then reads the run's mark;
 * - whoever prunes writes the mark `condemned` first and then reads all references.
 *
 * So of the two at least one sees the other. A pruner that sees a reference puts the mark back to `kept`.
 * A referrer that sees `condemned` puts it to `kept` too. Both do it by compare-and-swap, and so does the
 * pruner with its next stage, `pruning`: one of them wins. From `pruning` on nothing leads back, a referrer
 * is told no, and only then is the first object deleted. A pruner that dies leaves `condemned`, which
 * anybody may lift and the next pass takes up, or `pruning`, which the next pass finishes.
 */
import { z } from "zod";
import { key, prefix } from "../core/layout.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { type Document, readDocument } from "./documents.ts";

const markSchema = z.object({
  format: z.literal(1),
  stage: z.enum(["condemned", "kept", "pruning"]),
  at: z.number(),
  /** Makes each condemning another object, so that an old one is never taken for it. */
  nonce: z.string().optional(),
});
export type Mark = z.infer<typeof markSchema>;
export type Stage = Mark["stage"];

export const readMark = (store: Store, run: string): Promise<Document<Mark>> =>
  readDocument(store, key.mark(run), markSchema);

/** From nothing, or from the version `etag`, to another stage. Returns the new ETag; undefined when somebody else was first. */
export async function moveMark(
  store: Store,
  run: string,
  { from, to }: { readonly from: string | undefined; readonly to: Omit<Mark, "format"> },
): Promise<string | undefined> {
  const condition = from === undefined ? { ifAbsent: true as const } : { ifEtag: from };
  const body = JSON.stringify({ format: 1, ...to });
  try {
    return await store.put(key.mark(run), body, { condition, contentType: "application/json" });
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
    return undefined;
  }
}

/** Each turn somebody else has moved the mark; who does so for ever is no pruner of ours. */
const TURNS_MAX = 20;

/**
 * To be called after a reference to the run was written. True: its artifacts stay as long as the
 * reference does. False: they are going, or gone, and the reference has to be taken back.
 */
export async function keepRun(
  store: Store,
  run: string,
  { now }: { readonly now: () => number },
): Promise<boolean> {
  for (let turn = 0; turn < TURNS_MAX; turn += 1) {
    const mark = await readMark(store, run);
    if (mark.type === "absent") return true;
    // Of another version of Errand: what it means by it is not ours to guess.
    if (mark.type === "unreadable") return false;
    if (mark.content.stage === "kept") return true;
    if (mark.content.stage !== "condemned") return false;
    await moveMark(store, run, { from: mark.etag, to: { stage: "kept", at: now() } });
  }
  return false;
}

/** Says that a run which is being taken in needs artifacts of others, until `unpin`. */
export async function pin(store: Store, run: string, sources: readonly string[]): Promise<void> {
  await Promise.all(sources.map((source) => store.put(key.pin(run, source), "")));
}

/** After the record is there and marked open, never before: from then on the record speaks for its inputs. */
export async function unpin(store: Store, run: string): Promise<void> {
  const pins = await store.list(`${prefix.pins}${run}/`);
  await Promise.all(pins.map((each) => store.remove(each.key)));
}
