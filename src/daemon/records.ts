/** Records in the bucket: read, created, saved by compare-and-swap, and marked open until their run is finished. */
import { key, prefix } from "../core/layout.ts";
import { type Run, runSchema } from "../core/run.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readAgain, readDocument } from "./documents.ts";

export type SavedRun = { readonly run: Run; readonly etag: string };

/** How many objects are read at once in one look. */
const READS_AT_ONCE = 32;

export type OpenRuns = {
  readonly saved: readonly SavedRun[];
  /** Ids whose record cannot be read: of another format, or damaged. Their instances are left alone. */
  readonly unreadable: readonly string[];
};

/** Every run that is marked open, read now. Those that are as they were `before` are the same objects. */
export async function readOpenRuns(
  store: Store,
  before: readonly SavedRun[] = [],
): Promise<OpenRuns> {
  const known = new Map(before.map((each) => [each.run.id, each]));
  const markers = await store.list(prefix.open);
  const ids = markers.map((marker) => marker.key.slice(prefix.open.length));
  const saved: SavedRun[] = [];
  const unreadable: string[] = [];
  for (let start = 0; start < ids.length; start += READS_AT_ONCE) {
    const batch = ids.slice(start, start + READS_AT_ONCE);
    const read = await Promise.all(batch.map((id) => readRun(store, id, known.get(id))));
    read.forEach((each, index) => {
      if (each === "unreadable") unreadable.push(batch[index] ?? "");
      // A marker without a record: intake has not come that far, or never will.
      else if (each) saved.push(each);
    });
  }
  return { saved, unreadable };
}

export async function readRun(
  store: Store,
  id: string,
  before?: SavedRun,
): Promise<SavedRun | "unreadable" | undefined> {
  const place = key.record(id);
  const document = before
    ? await readAgain(store, place, runSchema, { content: before.run, etag: before.etag })
    : await readDocument(store, place, runSchema);
  if (document.type === "found") return { run: document.content, etag: document.etag };
  return document.type === "absent" ? undefined : "unreadable";
}

/**
 * Marks the run open and creates the record. Throws `conflict` when there is a record of this id. The marker
 * is first: a record without one would never be looked at again, once a crash came between them and its drop
 * was overwritten. A marker without a record is harmless, and swept.
 */
export async function createRun(store: Store, run: Run): Promise<void> {
  await markOpen(store, run.id);
  await store.put(key.record(run.id), JSON.stringify(run), { condition: { ifAbsent: true } });
}

/** Marking twice is harmless: a marker of a finished run is taken away again by the next look. */
export async function markOpen(store: Store, id: string): Promise<void> {
  await store.put(key.open(id), '{"format":1}');
}

/** Returns the new ETag. A lost reply of our own write is recognised by its content. */
export async function saveRun(store: Store, run: Run, etag: string): Promise<string> {
  const body = JSON.stringify(run);
  try {
    return await store.put(key.record(run.id), body, { condition: { ifEtag: etag } });
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
    const current = await store.find(key.record(run.id));
    if (current && new TextDecoder().decode(current.body) === body) return current.etag;
    throw error;
  }
}
