/**
 * What events and looks leave behind: instances that no open run wants, and inbox entries of runs that
 * are over. A sweep terminates only what it knows to be unwanted, on a complete reading of EC2 and of a
 * bucket that is this installation's.
 */

import { type Launch, launchSchema } from "../core/launches.ts";
import { key, prefix } from "../core/layout.ts";
import { type Instance, isAlive } from "../core/observation.ts";
import { isFinished } from "../core/states.ts";
import type { Log, LogFields } from "../log.ts";
import type { Clock, Cloud, Store, Uploads } from "../ports.ts";
import { readDocument } from "./documents.ts";
import { readInbox } from "./inbox.ts";
import { readInstallation } from "./installation.ts";
import { readRun } from "./records.ts";
import { rejectedNoteKey } from "./rejected.ts";
import { type LeftoverProgress, sweepLeftovers } from "./sweep-leftovers.ts";

/** A launch is absent only when it was missing twice, this far apart. */
export const ABSENT_LAUNCH_MS = 5 * 60_000;
/** More orphans than this at once look like our own mistake: hold, and ask. */
export const ORPHANS_MAX = 5;

/** Far longer than an intake takes from the marker to the record. */
const BARE_MARKER_MS = 60 * 60_000;
/** A report of a run that has no record until then is of no run of ours. */
const STRAY_REPORT_MS = 24 * 60 * 60_000;
/** A run may wait for a daemon to be taken in, and its cancel with it. */
const STRAY_CANCEL_MS = 30 * STRAY_REPORT_MS;

export type Sweeper = {
  readonly cloud: Cloud;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly installation: string;
  /** Since when each token's launch has been missing. */
  readonly missingLaunches: Map<string, number>;
  readonly uploads?: Uploads;
  readonly leftovers: LeftoverProgress;
  /** What stays as it is, and was told already. */
  readonly told: Set<string>;
};

export async function sweep(sweeper: Sweeper): Promise<void> {
  // Instances before records, as in every look.
  const instances = await sweeper.cloud.listInstances();
  await sweepInstances(sweeper, instances);
  await sweepInbox(sweeper);
  await sweepMarkers(sweeper);
  await sweepLeftovers({ ...sweeper, progress: sweeper.leftovers }, instances);
}

/** Once, for as long as it is so. */
function tellOnce({ told, log }: Sweeper, message: string, fields: LogFields): void {
  const name = `${message} ${JSON.stringify(fields)}`;
  if (told.has(name)) return;
  // What it says now is all that holds of it.
  for (const each of told) if (each.startsWith(`${message} `)) told.delete(each);
  told.add(name);
  log.error(message, fields);
}

async function sweepInstances(sweeper: Sweeper, instances: readonly Instance[]): Promise<void> {
  const { cloud, store, log } = sweeper;
  const living = instances.filter((each) => isAlive(each) && each.state !== "shutting-down");
  if (living.length === 0) return;
  if ((await readInstallation(store)) !== sweeper.installation) {
    tellOnce(sweeper, "bucket of another installation", { hint: "no instance is touched" });
    return;
  }
  const orphans = await orphansAmong(living, sweeper);
  if (orphans.length === 0) return;
  const ids = orphans.map((each) => each.id);
  if (orphans.length > ORPHANS_MAX || (orphans.length > 1 && orphans.length * 2 > living.length)) {
    tellOnce(sweeper, "orphans held", {
      instanceIds: ids,
      hint: "check them; errand doctor --reap ends them",
    });
    return;
  }
  await cloud.terminate(ids);
  log.warn("orphans terminated", { instanceIds: ids });
}

/** Of one who looks once: a machine this old whose launch is not there now has none. */
const OLD_MS = 2 * ABSENT_LAUNCH_MS;

/** Living instances that nobody wants, for a person to decide about, however many they are. */
export async function findOrphans({
  cloud,
  store,
  clock,
}: Pick<Sweeper, "cloud" | "store" | "clock">): Promise<readonly Instance[]> {
  const living = (await cloud.listInstances()).filter(
    (each) => isAlive(each) && each.state !== "shutting-down",
  );
  const old = living.filter((each) => clock.now() - each.launchedAt > OLD_MS);
  const missingLaunches = new Map(old.map(({ token }) => [token, Number.NEGATIVE_INFINITY]));
  return orphansAmong(living, { store, clock, missingLaunches });
}

type Looking = Pick<Sweeper, "store" | "clock" | "missingLaunches">;

async function orphansAmong(living: readonly Instance[], looking: Looking): Promise<Instance[]> {
  const orphans: Instance[] = [];
  for (const instance of living) {
    if (await isOrphan(instance, looking)) orphans.push(instance);
  }
  return orphans;
}

/** True only when it is certain that nobody wants the instance. */
async function isOrphan(instance: Instance, sweeper: Looking): Promise<boolean> {
  if (instance.token === "") return false;
  const launch = await readLaunch(instance.token, sweeper);
  if (launch === "unreadable") return false;
  if (launch === "absent") return true;
  if (launch === "perhaps absent") return false;
  const member = launch.attempts[instance.index];
  if (!member) return false;
  const saved = await readRun(sweeper.store, member.run);
  if (saved === "unreadable") return false;
  // A launch is written before the record that names it, in the same tick: one that is older than
  // this and in no record never will be.
  if (!saved) return sweeper.clock.now() - launch.createdAt > ABSENT_LAUNCH_MS;
  const attempt = saved.run.attempts.find(
    (each) => each.launch.token === instance.token && each.launch.index === instance.index,
  );
  if (!attempt) return sweeper.clock.now() - launch.createdAt > ABSENT_LAUNCH_MS;
  // While its run is open, each look sees to it.
  return isFinished(saved.run);
}

type FoundLaunch = Launch | "unreadable" | "absent" | "perhaps absent";

async function readLaunch(token: string, sweeper: Looking): Promise<FoundLaunch> {
  const { store, clock, missingLaunches } = sweeper;
  const document = await readDocument(store, key.launch(token), launchSchema);
  if (document.type !== "absent") {
    missingLaunches.delete(token);
    return document.type === "found" ? document.content : "unreadable";
  }
  const since = missingLaunches.get(token);
  if (since === undefined) missingLaunches.set(token, clock.now());
  return since !== undefined && clock.now() - since >= ABSENT_LAUNCH_MS
    ? "absent"
    : "perhaps absent";
}

/** Reports and cancels of runs that are over, and reports that nobody can read or is waiting for, are put away. */
async function sweepInbox(sweeper: Sweeper): Promise<void> {
  const inbox = await readInbox(sweeper.store);
  for (const objectKey of inbox.unreadable) await rejectReport(sweeper, objectKey, 0);
  for (const { key: objectKey, content } of inbox.reports) {
    const fate = await fateOf(sweeper.store, content.run);
    if (fate === "over") await sweeper.store.remove(objectKey);
    if (fate === "unknown") await rejectReport(sweeper, objectKey, STRAY_REPORT_MS);
  }
  for (const [run, { content }] of inbox.cancels) await sweepCancel(sweeper, run, content.at);
}

/** Puts one away that is as old as that by S3's clock. */
async function rejectReport(
  { store, clock, log }: Sweeper,
  objectKey: string,
  ageMs: number,
): Promise<void> {
  const info = await store.findInfo(objectKey);
  if (!info || clock.now() - info.modifiedAt < ageMs) return;
  const kept = rejectedNoteKey(objectKey);
  await store.copy(info, kept);
  await store.remove(objectKey, { ifEtag: info.etag });
  log.error("report rejected", { key: objectKey, kept });
}

async function sweepCancel({ store, clock, log }: Sweeper, run: string, at: number): Promise<void> {
  const fate = await fateOf(store, run);
  if (fate === "over") await store.remove(key.cancel(run));
  // A cancel of a run not yet taken in is kept for it.
  if (fate !== "unknown" || clock.now() - at <= STRAY_CANCEL_MS) return;
  await store.remove(key.cancel(run));
  log.warn("cancel without a run removed", { run });
}

/** An intake that died before it wrote the record leaves a marker; if its drop was overwritten, for ever. */
async function sweepMarkers({ store, clock, log }: Sweeper): Promise<void> {
  for (const marker of await store.list(prefix.open)) {
    if (clock.now() - marker.modifiedAt < BARE_MARKER_MS) continue;
    const run = marker.key.slice(prefix.open.length);
    if ((await readRun(store, run)) !== undefined) continue;
    await store.remove(marker.key, { ifEtag: marker.etag });
    log.warn("marker without a record removed", { run });
  }
}

/** An unreadable record may be of either. */
async function fateOf(store: Store, run: string): Promise<"open" | "over" | "unknown"> {
  const saved = await readRun(store, run);
  if (saved === undefined) return "unknown";
  return saved !== "unreadable" && isFinished(saved.run) ? "over" : "open";
}
