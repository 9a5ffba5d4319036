/**
 * Launches and orders: one RunInstances call for attempts of one shape, frozen before it is made,
 * and what the runner on each of its instances will find.
 */
import { z } from "zod";
import { key } from "./layout.ts";
import type { Catalog, Image, Offer } from "./offers.ts";
import type { Attempt, Run } from "./run.ts";
import { GRACE_MS, SETUP_MS, UPLOAD_MS } from "./settle.ts";
import { UV, uvPinSchema } from "./uv.ts";
import { type Job, jobSchema } from "./workflow.ts";

/** All or nothing is a reason to keep a launch small: one missing machine refuses them all. */
export const LAUNCH_SIZE_MAX = 50;

/** The whole RunInstances input. Nothing is left to choose when it is sent, or sent again. */
export const launchSchema = z.strictObject({
  format: z.literal(1),
  /** Also the ClientToken. */
  token: z.string(),
  createdAt: z.number(),
  /** By index. MinCount = MaxCount = their number. */
  attempts: z
    .array(
      z.strictObject({ run: z.string(), job: z.string(), number: z.number().int().positive() }),
    )
    .min(1),
  input: z.strictObject({
    instanceType: z.string(),
    zone: z.string(),
    subnetId: z.string(),
    imageId: z.string(),
    rootDeviceName: z.string(),
    diskGib: z.number().int().positive(),
    /** Name or ARN; empty for none. */
    instanceProfile: z.string(),
    securityGroupIds: z.array(z.string()),
    tags: z.record(z.string(), z.string()),
    /** The user-data is these header values and the constant script of this sha256, kept in `tools/bootstrap/`. */
    userData: z.strictObject({
      bucket: z.string(),
      region: z.string(),
      /** Empty on AWS: the endpoint follows from the region. */
      endpoint: z.string(),
      scriptSha256: z.string(),
    }),
  }),
});
export type Launch = z.infer<typeof launchSchema>;

/** What the runner carries out: `launches/<token>/<index>.json`. */
export const orderSchema = z.strictObject({
  format: z.literal(1),
  run: z.string(),
  runName: z.string(),
  attempt: z.number().int().positive(),
  job: jobSchema,
  /** `runs/<run>/bundle.tar.gz` or `.zip`. */
  bundle: z.string(),
  /** Resolved inputs, in the order they are laid down; the manifest says what is in them. */
  inputs: z.array(z.strictObject({ from: z.string(), prefix: z.string(), manifest: z.string() })),
  /** `runs/<run>/<job>/<attempt>/`. */
  prefix: z.string(),
  /** Milliseconds counted from the claim: what each part may take before the machine powers off. */
  limits: z.strictObject({
    setupMs: z.number().int().positive(),
    runMs: z.number().int().positive(),
    uploadMs: z.number().int().positive(),
    /** From SIGTERM to SIGKILL. */
    graceMs: z.number().int().positive(),
  }),
  /** How often what is written. */
  every: z.strictObject({
    logMs: z.number().int().positive(),
    heartbeatMs: z.number().int().positive(),
    syncMs: z.number().int().positive(),
    stopMs: z.number().int().positive(),
  }),
  /** On the local cloud alone, the host's Python may stand in for one that is not to be had. */
  allowsHostPython: z.boolean(),
  /** ARN of the role that the job has on AWS. */
  role: z.string().optional(),
  /** For tasks of type python: the uv to fetch where the machine has none. */
  uv: uvPinSchema.optional(),
});
export type Order = z.infer<typeof orderSchema>;

/** Launches being put together in one look. Immutable: each run's step sees what those before it opened. */
export type Batches = {
  /** Random tokens not used yet. */
  readonly tokens: readonly string[];
  readonly open: readonly Batch[];
};

/** Attempts that one call can start. */
export type Batch = { readonly shape: string; readonly token: string; readonly size: number };

/** What attempts must share to be started by one call, and how many of them one call may start. */
export type Shape = { readonly name: string; readonly sizeMax: number };

export function shapeOf(job: Job, offer: Offer, sizeMax: number): Shape {
  const { image = "" } = job.resources;
  const machine = `${offer.instanceType} ${offer.subnetId} ${diskGibOf(job)} ${image}`;
  return { name: `${machine} ${sizeMax}`, sizeMax };
}

/** A place in a batch of this shape: the one that has room, or a new one under the next token. */
export function joinBatch(
  batches: Batches,
  shape: Shape,
): { readonly batches: Batches; readonly launch: Attempt["launch"] } {
  const batch = batches.open.find(
    (each) => each.shape === shape.name && each.size < Math.min(shape.sizeMax, LAUNCH_SIZE_MAX),
  );
  if (batch) {
    const open = batches.open.map((each) =>
      each === batch ? { ...each, size: each.size + 1 } : each,
    );
    return {
      batches: { ...batches, open },
      launch: { token: batch.token, index: batch.size },
    };
  }
  const [token, ...tokens] = batches.tokens;
  if (token === undefined) throw new Error("more launches in one look than tokens were drawn");
  const opened = { shape: shape.name, token, size: 1 };
  return { batches: { tokens, open: [...batches.open, opened] }, launch: { token, index: 0 } };
}

/** What a launch takes from the installation. */
export type LaunchSettings = {
  readonly installation: string;
  readonly bucket: string;
  readonly region: string;
  readonly endpoint: string;
  readonly scriptSha256: string;
  readonly instanceProfile: string;
  readonly securityGroupIds: readonly string[];
  /** The operator's own tags. */
  readonly instanceTags: Readonly<Record<string, string>>;
  readonly every: Order["every"];
  readonly allowsHostPython: boolean;
  /** ARNs of roles that jobs may have, by name. */
  readonly jobRoles?: Readonly<Record<string, string>>;
};

/** An attempt, and the run it is of. */
export type Member = { readonly run: Run; readonly attempt: Attempt };

/** The frozen input of a launch: its members share a shape and stand in the order of their indexes. */
export function makeLaunch(
  token: string,
  members: readonly Member[],
  { catalog, settings, at }: { catalog: Catalog; settings: LaunchSettings; at: number },
): Launch {
  const [first] = members;
  if (!first) throw new Error(`launch ${token} has no attempts`);
  const { offer } = first.attempt;
  const job = jobOf(first);
  const image = findImage(job, offer, catalog);
  if (!image) throw new Error(`launch ${token} has no image for ${offer.instanceType}`);
  return {
    format: 1,
    token,
    createdAt: at,
    attempts: members.map(({ run, attempt }) => ({
      run: run.id,
      job: attempt.job,
      number: attempt.number,
    })),
    input: {
      instanceType: offer.instanceType,
      zone: offer.zone,
      subnetId: offer.subnetId,
      imageId: image.imageId,
      rootDeviceName: image.rootDeviceName,
      diskGib: diskGibOf(job, image),
      instanceProfile: settings.instanceProfile,
      securityGroupIds: [...settings.securityGroupIds],
      tags: tagsOf(token, members, settings),
      userData: {
        bucket: settings.bucket,
        region: settings.region,
        endpoint: settings.endpoint,
        scriptSha256: settings.scriptSha256,
      },
    },
  };
}

/** EBS sells whole GiB, and no volume that an image does not fit on. */
export const diskGibOf = (job: Job, image?: Image): number =>
  Math.max(Math.ceil(job.resources.diskBytes / 2 ** 30), image?.diskGib ?? 0);

/** The image that the job names, or the one for its kind of machine; undefined where there is none for the offer's type. */
export function findImage(job: Job, offer: Offer, catalog: Catalog): Image | undefined {
  const type = catalog.types.find((each) => each.name === offer.instanceType);
  const { image } = job.resources;
  return catalog.images.find(
    (each) =>
      each.arch === type?.arch &&
      each.namedAs === image &&
      // What is on an image of the job's own is the job's affair.
      (image !== undefined || each.hasGpuDriver === offer.gpus > 0),
  );
}

function tagsOf(
  token: string,
  members: readonly Member[],
  settings: LaunchSettings,
): Record<string, string> {
  const runs = new Set(members.map(({ run }) => run.id));
  const [first] = members;
  const isOne = members.length === 1 && first;
  return {
    ...settings.instanceTags,
    "errand:daemon": settings.installation,
    "errand:launch": token,
    ...(runs.size === 1 && first ? { "errand:run": first.run.id } : {}),
    Name: isOne ? `errand ${first.run.name} ${first.attempt.job}` : `errand ${token}`,
  };
}

/** What the runner of a member will find. Everything it needs to know, and nothing to look up. */
export function makeOrder({ run, attempt }: Member, settings: LaunchSettings): Order {
  const job = jobOf({ run, attempt });
  return {
    format: 1,
    run: run.id,
    runName: run.name,
    attempt: attempt.number,
    job,
    bundle: run.bundle.key,
    inputs: job.inputs.map((input) => resolveInput(run, input)),
    prefix: key.attempt(run.id, job.name, attempt.number),
    limits: {
      setupMs: SETUP_MS,
      runMs: job.resources.maxDurationMs,
      uploadMs: UPLOAD_MS,
      graceMs: GRACE_MS,
    },
    every: settings.every,
    allowsHostPython: settings.allowsHostPython,
    ...(job.role !== undefined && { role: roleOf(job.role, settings) }),
    ...(job.task.type === "python" && { uv: UV }),
  };
}

function roleOf(name: string, { jobRoles = {} }: LaunchSettings): string {
  const arn = jobRoles[name];
  if (arn === undefined) throw new Error(`the role "${name}" was planned and is in no jobRoles`);
  return arn;
}

function resolveInput(run: Run, input: Job["inputs"][number]): Order["inputs"][number] {
  const source =
    input.type === "set"
      ? { run: input.run, job: input.job, attempt: input.attempt }
      : { run: run.id, job: input.job, attempt: succeededAttempt(run, input.job) };
  return {
    from: input.type === "set" ? input.reference : input.job,
    prefix: key.artifacts(source.run, source.job, source.attempt),
    manifest: key.manifest(source.run, source.job, source.attempt),
  };
}

function succeededAttempt(run: Run, job: string): number {
  const attempt = run.attempts.find(
    (each) => each.job === job && each.outcome?.type === "succeeded",
  );
  if (!attempt) throw new Error(`run ${run.id} uses ${job} before it succeeded`);
  return attempt.number;
}

function jobOf({ run, attempt }: Member): Job {
  const job = run.jobs.find((each) => each.name === attempt.job);
  if (!job) throw new Error(`run ${run.id} has no job "${attempt.job}"`);
  return job;
}
