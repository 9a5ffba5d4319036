/**
 * What is left in the bucket when something broke off at the wrong moment, and what nobody would ever look at again: orders that no
 * record holds, and uploads in parts. Old enough that nobody can be about to use it, a bounded part in each sweep.
 */
import { launchSchema } from "../core/launches.ts";
import { key, prefix } from "../core/layout.ts";
import { type Instance, isAlive } from "../core/observation.ts";
import { isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Store, Upload, Uploads } from "../ports.ts";
import { voidOrder } from "./claims.ts";
import { readDocument } from "./documents.ts";
import { readRun } from "./records.ts";

export type LeftoverSweeper = {
  readonly store: Store;
  readonly uploads?: Uploads;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: LeftoverProgress;
};

/** Kept between sweeps. */
export type LeftoverProgress = {
  nextAt: number;
  /** Behind this key the next part of the launches begins. */
  after: string;
  /** S3 does not let us list uploads; told once. */
  isRefused: boolean;
};

export const LEFTOVER_EACH_MS = 3_600_000;
const DAY_MS = 24 * 3_600_000;
const KEYS_AT_ONCE = 5_000;
const LAUNCHES_AT_ONCE = 200;
const UPLOADS_AT_ONCE = 100;
/** Where we, and our machines, write. What is being put below `drops/` may take its sender long. */
const UPLOADED: readonly { readonly prefix: string; readonly ageMs: number }[] = [
  { prefix: "runs/", ageMs: DAY_MS },
  { prefix: "rejected/", ageMs: DAY_MS },
  { prefix: prefix.tools, ageMs: DAY_MS },
  { prefix: prefix.drops, ageMs: 7 * DAY_MS },
];

export const beginLeftovers = (now: number): LeftoverProgress => ({
  nextAt: now + LEFTOVER_EACH_MS,
  after: "",
  isRefused: false,
});

/** `instances` are all that EC2 lists, read before this. */
export async function sweepLeftovers(
  sweeper: LeftoverSweeper,
  instances: readonly Instance[],
): Promise<void> {
  const { clock, progress } = sweeper;
  if (clock.now() < progress.nextAt) return;
  progress.nextAt = clock.now() + LEFTOVER_EACH_MS;
  await sweepLaunches(sweeper, instances);
  await sweepUploads(sweeper);
}

/** A launch whose record could not be saved is voided before it is sent, but nobody knows of it afterwards. */
async function sweepLaunches(
  { store, clock, log, progress }: LeftoverSweeper,
  instances: readonly Instance[],
): Promise<void> {
  const listed = await store.list("launches/", { after: progress.after, limit: KEYS_AT_ONCE });
  progress.after = listed.length < KEYS_AT_ONCE ? "" : (listed.at(-1)?.key ?? "");
  const old = listed.filter(
    ({ key: each, modifiedAt }) =>
      each.endsWith("/launch.json") && clock.now() - modifiedAt > DAY_MS,
  );
  const living = new Set(instances.filter(isAlive).map(({ token }) => token));
  let left = LAUNCHES_AT_ONCE;
  for (const { key: launchKey } of old) {
    const token = launchKey.split("/")[1] ?? "";
    if (living.has(token) || !(await isForgotten(store, token))) continue;
    const objects = await removeLaunch(store, token, clock.now());
    log.warn("orders without attempts removed", { token, objects });
    left -= 1;
    if (left === 0) return;
  }
}

/** True only when every record that could hold one of its orders was read, and none does. */
async function isForgotten(store: Store, token: string): Promise<boolean> {
  const launch = await readDocument(store, key.launch(token), launchSchema);
  if (launch.type !== "found") return false;
  for (const run of new Set(launch.content.attempts.map((each) => each.run))) {
    const saved = await readRun(store, run);
    if (saved === "unreadable") return false;
    if (saved?.run.attempts.some((attempt) => attempt.launch.token === token)) return false;
  }
  return true;
}

/** The claims first and last: as long as there is an order, it is voided. The launch goes at the end, so that a crash has this done again. */
async function removeLaunch(store: Store, token: string, at: number): Promise<number> {
  const objects = (await store.list(prefix.launch(token))).map((info) => info.key);
  const orders = objects.filter((each) => /\/\d+\.json$/.test(each));
  for (const order of orders) {
    const index = Number(/\/(\d+)\.json$/.exec(order)?.[1]);
    await voidOrder(store, { token, index, at });
    await store.remove(order);
  }
  const rest = await store.list(prefix.launch(token));
  for (const { key: each } of rest) if (each !== key.launch(token)) await store.remove(each);
  await store.remove(key.launch(token));
  return objects.length;
}

/** Parts of an upload that is neither completed nor aborted are paid for until somebody finds them. */
async function sweepUploads({ uploads, clock, log, progress }: LeftoverSweeper): Promise<void> {
  if (!uploads || progress.isRefused) return;
  const aborted: Upload[] = [];
  try {
    for (const { prefix: below, ageMs } of UPLOADED) {
      const listed = await uploads.list(below, UPLOADS_AT_ONCE);
      const old = listed.filter(({ startedAt }) => clock.now() - startedAt > ageMs);
      for (const upload of old) {
        await uploads.abort(upload);
        aborted.push(upload);
      }
    }
  } catch (error) {
    if (!isCloudError(error, "refused")) throw error;
    progress.isRefused = true;
    log.warn("uploads not swept", { error });
  }
  if (aborted.length === 0) return;
  const keys = aborted.slice(0, 10).map((upload) => upload.key);
  log.warn("uploads left open aborted", { count: aborted.length, keys });
}
