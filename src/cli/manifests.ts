/** Manifests of artifacts: what an attempt brought back, as its runner wrote it down. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import { artifactSetSchema } from "../core/run.ts";
import type { JobView, RunView } from "../core/view.ts";
import { readDocument } from "../daemon/documents.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";

const entrySchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("file"),
    path: z.string().min(1),
    /** Below `artifacts/`, where it differs from the path. */
    key: z.string().optional(),
    mode: z.number().int(),
    size: z.number().int().nonnegative(),
    sha256: z.string(),
  }),
  z.object({ type: z.literal("directory"), path: z.string().min(1), mode: z.number().int() }),
  z.object({ type: z.literal("link"), path: z.string().min(1), target: z.string() }),
]);
export type ManifestEntry = z.infer<typeof entrySchema>;

const manifestSchema = z.object({
  format: z.literal(1),
  complete: z.boolean(),
  artifacts: z.array(artifactSetSchema),
  entries: z.array(entrySchema),
});

/** `errand artifacts --json` is a list of these. */
export type JobArtifacts = {
  readonly job: string;
  readonly attempt: number;
  /** False for what is left of an attempt that did not succeed. */
  readonly complete: boolean;
  readonly artifacts: readonly { path: string; bytes: number; files: number }[];
  readonly entries: readonly ManifestEntry[];
};

/** Of the last attempt of each job that has a manifest; jobs without one are left out. */
export async function readArtifacts(
  store: Store,
  view: RunView,
  jobs: readonly JobView[],
): Promise<JobArtifacts[]> {
  const found = await Promise.all(jobs.map((job) => findManifest(store, view.id, job)));
  return found.filter((each) => each !== undefined);
}

async function findManifest(
  store: Store,
  run: string,
  job: JobView,
): Promise<JobArtifacts | undefined> {
  for (const attempt of job.attempts.toReversed()) {
    const manifestKey = key.manifest(run, job.name, attempt.number);
    const manifest = await readDocument(
      store,
      manifestKey,
      manifestSchema,
      Number.POSITIVE_INFINITY,
    );
    if (manifest.type === "absent") continue;
    if (manifest.type === "unreadable") {
      throw new UserError(
        `${manifestKey} is damaged, or of a format that this version does not know`,
        "Use the version of Errand that the daemon runs.",
      );
    }
    const { complete, artifacts, entries } = manifest.content;
    return { job: job.name, attempt: attempt.number, complete, artifacts, entries };
  }
  return undefined;
}
