/**
 * The job: what a provider compiles a workflow to, what a run's record keeps, and what an order
 * carries to the runner. Parsed with zod wherever it crosses a border.
 */
import { z } from "zod";

/** All are minimums. Memory and disk are bytes: "32GB" is decimal, "32GiB" binary. */
export const resourcesSchema = z.strictObject({
  cpu: z.number().int().positive().optional(),
  memoryBytes: z.number().int().positive().optional(),
  /** `count: 0` never appears: no GPU is no `gpu`. */
  gpu: z
    .strictObject({
      count: z.number().int().positive(),
      /** Compared without case, as in "A10G". */
      name: z.string().optional(),
      /** Of each GPU. */
      memoryBytes: z.number().int().positive().optional(),
    })
    .optional(),
  diskBytes: z.number().int().positive(),
  maxDurationMs: z.number().int().positive(),
  burstable: z.boolean(),
  arch: z.enum(["x86_64", "arm64"]),
  instanceType: z.string().optional(),
  /** A machine image, instead of the installation's own for the kind of machine. */
  image: z.string().optional(),
  /** US dollars an hour. */
  maxHourlyUsd: z.number().positive().optional(),
  /** Further tries: of an attempt whose machine was lost, and of one that failed. */
  retry: z.strictObject({
    lost: z.number().int().nonnegative(),
    failed: z.number().int().nonnegative(),
  }),
});
export type Resources = z.infer<typeof resourcesSchema>;

/** What the runner does for the job. `python` and `curl` have their own; all else are commands. */
export const taskSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("python"),
    /** Major and minor, as "3.10". */
    version: z.string(),
    /** The script and its arguments, already split as a POSIX shell splits words. */
    words: z.array(z.string()).min(1),
    /** A requirements file in the working directory, or packages. */
    requirements: z
      .union([
        z.strictObject({ file: z.string() }),
        z.strictObject({ packages: z.array(z.string()) }),
      ])
      .optional(),
  }),
  z.strictObject({
    type: z.literal("curl"),
    url: z.string(),
    /** Relative to the working directory. */
    output: z.string(),
    /** Hex, lower case. */
    sha256: z.string().optional(),
  }),
  /** One bash script, run as `bash -euo pipefail <file>`. */
  z.strictObject({ type: z.literal("commands"), script: z.string() }),
]);
export type Task = z.infer<typeof taskSchema>;

/** Artifacts of another job that appear at the same relative path in this one's working directory. */
export const inputSchema = z.discriminatedUnion("type", [
  /** Of a job of this run: the attempt that succeeded, whichever that will be. */
  z.strictObject({ type: z.literal("job"), job: z.string() }),
  /** Of an earlier run, fixed at submit by a tag. */
  z.strictObject({
    type: z.literal("set"),
    /** As the user wrote it, "prepare:latest". */
    reference: z.string(),
    run: z.string(),
    job: z.string(),
    attempt: z.number().int().positive(),
  }),
]);
export type Input = z.infer<typeof inputSchema>;

/** A value that only the job's machine gets to see: it reads it by its role, from where the operator keeps it. */
export const secretReferenceSchema = z.union([
  /** A parameter of Systems Manager, under `/errand/`. */
  z.strictObject({ ssm: z.string() }),
  /** A secret of Secrets Manager, under `errand/`; with `key`, one text of its JSON. */
  z.strictObject({ secret: z.string(), key: z.string().optional() }),
]);
export type SecretReference = z.infer<typeof secretReferenceSchema>;

export const jobSchema = z.strictObject({
  /** Unique in the run. The workflow's name, or `<workflow>.<part>` where a provider makes several. */
  name: z.string(),
  workflow: z.string(),
  provider: z.string(),
  /** Names of jobs of this run. */
  needs: z.array(z.string()),
  /** In the order listed: the last one wins where two bring the same path. */
  inputs: z.array(inputSchema),
  task: taskSchema,
  environment: z.record(z.string(), z.union([z.string(), secretReferenceSchema])),
  /** One of the operator's `jobRoles`, by name. */
  role: z.string().optional(),
  /** Relative to the bundle's root, "." for the root itself. */
  workingDir: z.string(),
  /** Files, folders or globs relative to the working directory, without a trailing slash. */
  artifacts: z.array(z.string()),
  resources: resourcesSchema,
});
export type Job = z.infer<typeof jobSchema>;
