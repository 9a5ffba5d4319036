/** Who this bucket belongs to: an id made once, so that two installations never touch each other's instances. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import type { Limits } from "../core/limits.ts";
import { QUOTA_GROUPS } from "../core/quotas.ts";
import { isCloudError, UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

const errandSchema = z.object({ format: z.literal(1), installation: z.string().min(1) });

/**
 * Reads the installation's id, or makes the bucket ours with `freshId`. `wanted` is the one that the daemon's rights go by: another
 * in the bucket throws UserError, for it could launch nothing and end nothing.
 */
export async function ensureInstallation(
  store: Store,
  freshId: string,
  wanted?: string,
): Promise<string> {
  const installation = await claimBucket(store, wanted ?? freshId);
  if (wanted === undefined || installation === wanted) return installation;
  throw new UserError(
    `the bucket belongs to the installation ${installation}, and the configuration says ${wanted}`,
    `Deploy the stack with InstallationId=${installation}, or leave the bucket to the other installation and use one of your own.`,
  );
}

async function claimBucket(store: Store, freshId: string): Promise<string> {
  try {
    const body = JSON.stringify({ format: 1, installation: freshId });
    await store.put(key.errand, body, { condition: { ifAbsent: true } });
    return freshId;
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
  }
  const installation = await readInstallation(store);
  if (installation === undefined) {
    throw new UserError(
      "errand.json in the bucket is damaged, or of a format this version does not know",
      "Run the version of Errand that wrote it, or a newer one.",
    );
  }
  return installation;
}

/** Undefined when the bucket does not say, or nobody can read what it says. */
export async function readInstallation(store: Store): Promise<string | undefined> {
  const document = await readDocument(store, key.errand, errandSchema);
  return document.type === "found" ? document.content.installation : undefined;
}

const limitsSchema = z.object({
  format: z.literal(1),
  instancesMax: z.number(),
  hourlyUsdMax: z.number(),
  runUsdMax: z.number().optional(),
  dayUsdMax: z.number().optional(),
  vcpusMax: z.partialRecord(z.enum(QUOTA_GROUPS), z.number()).optional(),
  maxDurationMs: z.number(),
  maxWaitMs: z.number(),
  jobsMax: z.number(),
  offerBandPercent: z.number(),
  jobRoles: z.array(z.string()).optional(),
});

/** Tells those who send bundles what this installation allows, so that they hear it before they send. */
export async function publishLimits(store: Store, limits: Limits): Promise<void> {
  const body = JSON.stringify({ format: 1, ...limits });
  await store.put(key.limits, body, { contentType: "application/json" });
}

/** As the daemon that planned last has published them; undefined when none has, or nobody can read them. */
export async function readPublishedLimits(store: Store): Promise<Limits | undefined> {
  const document = await readDocument(store, key.limits, limitsSchema);
  if (document.type !== "found") return undefined;
  const { format: _, ...limits } = document.content;
  return limits;
}

/** Keeps the script that instances run under its hash, so that a launch can be repeated after an upgrade. */
export async function keepScript(
  store: Store,
  { script, sha256 }: { readonly script: string; readonly sha256: string },
): Promise<void> {
  try {
    await store.put(key.bootstrap(sha256), script, { condition: { ifAbsent: true } });
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
  }
}
