/** Drops that come to nothing: where they are kept, and those that S3 refuses to give out. */
import { createHash } from "node:crypto";
import { key, prefix } from "../core/layout.ts";
import { CloudError, isCloudError } from "../errors.ts";
import type { ObjectInfo, Store } from "../ports.ts";

/** S3's own limit. */
const KEY_BYTES_MAX = 1_024;

/** A key below `rejected/`, made of another one. That may be as long as keys can be: then a hash stands for it. */
export function rejectedKey(folder: string, name: string): string {
  const whole = `${folder}${name}`;
  if (Buffer.byteLength(whole) <= KEY_BYTES_MAX) return whole;
  return `${folder}%long/${createHash("sha256").update(name).digest("hex")}`;
}

/** Of a drop that became no run. */
export const rejectedDropKey = (run: string, dropKey: string): string =>
  rejectedKey(prefix.rejected(run), dropKey.slice(prefix.drops.length));

/** Of what somebody put into the inbox. */
export const rejectedNoteKey = (noteKey: string): string => rejectedKey("rejected/", noteKey);

export type Drop = ObjectInfo & { readonly metadata: Readonly<Record<string, string>> };

/**
 * What lies at a key. A drop whose HEAD is refused (it is encrypted with a key that the sender did not leave us) is
 * known by its place in the list alone.
 */
export async function findDrop(store: Store, dropKey: string): Promise<Drop | undefined> {
  try {
    return await store.findInfo(dropKey);
  } catch (error) {
    if (!isCloudError(error, "refused")) throw error;
    const [first] = await store.list(dropKey, { limit: 1 });
    if (first?.key !== dropKey) throw error;
    return { ...first, metadata: {} };
  }
}

/**
 * Copies a drop to where its run keeps it. Undefined when that is done; S3's words when it refuses this very object
 * for good. Throws CloudError otherwise: a refusal of all copies is for the operator to mend, and the drop waits.
 */
export async function copyUnlessRefused(
  store: Store,
  drop: ObjectInfo,
  to: string,
): Promise<string | undefined> {
  try {
    await store.copy(drop, to);
    return undefined;
  } catch (error) {
    if (!isCloudError(error, "refused") || !(await copiesAnother(store, to))) throw error;
    return error.message;
  }
}

/** Whether the same copy of an object that is certainly ours succeeds. */
async function copiesAnother(store: Store, to: string): Promise<boolean> {
  try {
    const control = await store.findInfo(key.errand);
    if (!control) return false;
    await store.copy(control, to);
    await store.remove(to);
    return true;
  } catch (error) {
    if (error instanceof CloudError && error.kind === "refused") return false;
    throw error;
  }
}
