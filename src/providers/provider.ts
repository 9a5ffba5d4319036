/** A provider turns the parameters of a workflow into jobs. `python`, `curl` and those of a bundle are all this. */
import type { Job } from "../core/workflow.ts";
import type { Scope } from "./interpolate.ts";
import type { Place, Report } from "./problem.ts";
import type { JsonSchema } from "./read.ts";
import type { MapValue } from "./value.ts";

export type Provider = {
  readonly name: string;
  /** JSON Schema of the parameters: everything in the workflow but its name, provider and depends-on. */
  readonly parameters: JsonSchema;
  /** Checks the parameters, variables already filled in. Undefined after problems have been reported. */
  readonly compile: (parameters: MapValue, context: Context) => readonly JobPart[] | undefined;
};

/** What of a job its provider decides; the rest follows from the workflow and those it depends on. */
export type JobPart = Pick<
  Job,
  "task" | "environment" | "role" | "workingDir" | "artifacts" | "resources"
> & {
  /** Makes the job's name `<workflow>.<part>`; empty where there is one job alone. */
  readonly part: string;
  /** What of the bundle, or of its inputs, it cannot do without: for whoever has the files at hand. */
  readonly wants?: readonly WantedFile[];
};

export type WantedFile = {
  readonly what: "script" | "requirements file" | "working directory";
  /** Relative to the bundle's root. */
  readonly path: string;
  /** Where the workflow names it. */
  readonly place: Place;
};

/** What the installation allows, as far as a bundle can be held to it. */
export type CompileLimits = {
  readonly maxDurationMs: number;
  readonly jobsMax: number;
  /** Names of roles that jobs may have; undefined where nobody knows. */
  readonly jobRoles?: readonly string[] | undefined;
};

export type Context = {
  /** Of the workflow, for what has no place of its own. */
  readonly place: Place;
  readonly report: Report;
  /** For what will work and may still surprise. */
  readonly warn: Report;
  /** Values known by name, such as `run.id`, for providers that fill in texts of their own. */
  readonly builtins: Readonly<Record<string, string>>;
  readonly budget: Scope["budget"];
  readonly limits: CompileLimits;
};
