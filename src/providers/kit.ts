/**
 * What an operator's provider module is written with: the readers that the built-in providers use, and the
 * types. Published as `errand/providers`; handed to `createProvider` too, so that a module needs no import.
 */
import { environment } from "./environment.ts";
import { toPlain } from "./json-schema.ts";
import { artifacts, innerPath } from "./paths.ts";
import type { Context, JobPart } from "./provider.ts";
import {
  boolean,
  byShape,
  fields,
  integer,
  type JsonSchema,
  list,
  mapped,
  oneOf,
  optional,
  reject,
  required,
  scalar,
  text,
} from "./read.ts";
import { readResources, resourcesSchema } from "./resources.ts";
import { role } from "./role.ts";
import { findEntry, type MapValue, type Value } from "./value.ts";

export type { Report } from "./problem.ts";
export type { Context, JobPart, Provider } from "./provider.ts";
export type { JsonSchema, Reader } from "./read.ts";
export type { MapValue, Value } from "./value.ts";

export const kit = {
  artifacts,
  boolean,
  byShape,
  environment,
  fields,
  findEntry,
  innerPath,
  integer,
  list,
  mapped,
  oneOf,
  optional,
  readResources,
  reject,
  required,
  resourcesSchema,
  role,
  scalar,
  text,
  toPlain,
  /** Any value, to be read later. */
  anything: { schema: {}, read: (value: Value) => value },
} as const;
export type ProviderKit = typeof kit;

/** A job as a module returns it: what it leaves out is as in a workflow that does not say it. */
export type ModulePart = Pick<JobPart, "task"> & Partial<JobPart>;

/** As the built-in providers are, but that parts may be left out of a job. */
export type ModuleProvider = {
  readonly name: string;
  /** JSON Schema of type object, with `properties`. */
  readonly parameters: JsonSchema;
  readonly compile: (parameters: MapValue, context: Context) => readonly ModulePart[] | undefined;
};

/** A module exports one of these. `default` stands for `provider`. */
export type ProviderModule =
  | { readonly provider: ModuleProvider }
  | { readonly createProvider: (kit: ProviderKit) => ModuleProvider };
