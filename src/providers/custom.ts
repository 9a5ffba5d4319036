/**
 * A bundle's own provider, `.dstack/providers/<name>.yaml`: parameters as a JSON Schema, and jobs of
 * commands into which they are filled. Nothing of it runs before it is on the job's machine.
 */
import { environment } from "./environment.ts";
import { interpolate, parseTemplate, type Scope } from "./interpolate.ts";
import { conform, type ParameterSchema, parameterSchema, toPlain } from "./json-schema.ts";
import { artifacts, innerPath } from "./paths.ts";
import { quote, type Report } from "./problem.ts";
import type { Context, JobPart, Provider } from "./provider.ts";
import {
  byShape,
  defined,
  fields,
  list,
  mapped,
  optional,
  type Reader,
  reject,
  rejectKey,
  required,
  text,
} from "./read.ts";
import { readResources, resourcesSchema } from "./resources.ts";
import { checkRole, role } from "./role.ts";
import { findEntry, type MapValue, textScalar, type Value } from "./value.ts";

const KEYS = ["parameters", "jobs"];
const JOB_KEYS = [
  "name",
  "each",
  "commands",
  "environment",
  "role",
  "working_dir",
  "artifacts",
  "resources",
];
const PART = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

type Declaration = {
  readonly name: string;
  readonly schema: ParameterSchema;
  readonly jobs: readonly MapValue[];
};

/** Undefined after problems have been reported. */
export function readCustomProvider(
  name: string,
  file: Value,
  report: Report,
): Provider | undefined {
  if (file.type !== "map") {
    return reject(file, { what: "a map of parameters and jobs" }, report);
  }
  for (const entry of file.entries) {
    if (!KEYS.includes(entry.key)) rejectKey(entry, KEYS, report);
  }
  const none: MapValue = { type: "map", entries: [], place: file.place };
  const declared = findEntry(file, "parameters")?.value ?? none;
  const schema = parameterSchema.read(declared, report);
  const jobs = readJobs(file, report);
  if (!schema || !jobs) return undefined;
  if (schema.type !== undefined && schema.type !== "object") {
    return report(declared.place, "describes no map", "write type: object and properties:");
  }
  const declaration = { name, schema: { ...schema, isClosed: true }, jobs };
  const properties = schema.properties ? findEntry(declared as MapValue, "properties") : undefined;
  const parameters = {
    type: "object",
    properties: properties ? toPlain(properties.value) : {},
    required: schema.required ?? [],
    additionalProperties: false,
  };
  return { name, parameters, compile: (map, context) => compile(declaration, map, context) };
}

function readJobs(file: MapValue, report: Report): readonly MapValue[] | undefined {
  const entry = findEntry(file, "jobs");
  if (entry?.value.type === "unknown") return undefined;
  if (entry?.value.type !== "list" || entry.value.items.length === 0) {
    return report(
      entry?.place ?? file.place,
      "declares no jobs",
      "list them below jobs:, each with commands:",
    );
  }
  const jobs = entry.value.items.flatMap((item) => readJob(item, report) ?? []);
  return jobs.length === entry.value.items.length ? jobs : undefined;
}

/** Its keys alone are checked here: the rest is, once parameters are filled in. */
function readJob(item: Value, report: Report): MapValue | undefined {
  if (item.type !== "map") {
    return reject(item, { what: "a map with commands", hint: "write commands: …" }, report);
  }
  for (const each of item.entries) {
    if (!JOB_KEYS.includes(each.key)) rejectKey(each, JOB_KEYS, report);
  }
  return item;
}

function compile(
  declaration: Declaration,
  given: MapValue,
  context: Context,
): readonly JobPart[] | undefined {
  let isWhole = true;
  const report: Report = (...problem) => {
    isWhole = false;
    return context.report(...problem);
  };
  const map = conform(given, declaration.schema, report);
  if (!isWhole || map.type !== "map") return undefined;
  const parts: JobPart[] = [];
  for (const [index, job] of declaration.jobs.entries()) {
    const isOnly = declaration.jobs.length === 1;
    const made = compileJob(declaration, { job, index, isOnly }, map, { ...context, report });
    parts.push(...(made ?? []));
    if (parts.length > context.limits.jobsMax) {
      const message = `makes more than ${context.limits.jobsMax} jobs`;
      return context.report(given.place, message, "give it fewer values");
    }
  }
  return isWhole ? parts : undefined;
}

type Place = { readonly job: MapValue; readonly index: number; readonly isOnly: boolean };

/** One job, or one for each value of `each`. */
function compileJob(
  declaration: Declaration,
  { job, index, isOnly }: Place,
  parameters: MapValue,
  context: Context,
): readonly JobPart[] | undefined {
  const scopeWith = (item: Value | undefined) => openScope(declaration, parameters, item, context);
  const each = findEntry(job, "each");
  const name = isOnly ? "" : String(index + 1);
  if (!each) {
    const part = compilePart(job, name, scopeWith(undefined), context);
    return part && [part];
  }
  const values = interpolate(each.value, scopeWith(undefined), context.report);
  const wanted = { what: "a list", hint: "name a parameter of type array" };
  if (values.type !== "list") return reject(values, wanted, context.report);
  if (values.items.length === 0) {
    // Where one parameter gave none, that is what is to be mended.
    const { place } = givenBy(each.value, parameters) ?? values;
    return context.report(place, "must be a list of one value or more", "add a value");
  }
  return values.items.slice(0, context.limits.jobsMax + 1).flatMap((item, number) => {
    const part = name === "" ? String(number + 1) : `${name}.${number + 1}`;
    return compilePart(job, part, scopeWith(item), context) ?? [];
  });
}

/** The parameter that a text refers to and holds nothing else. */
function givenBy(value: Value, parameters: MapValue): Value | undefined {
  if (value.type !== "scalar" || typeof value.value !== "string") return undefined;
  const [only, ...others] = parseTemplate(value.value);
  if (only?.type !== "reference" || others.length > 0) return undefined;
  return findEntry(parameters, only.name)?.value;
}

/** Parameters, `item` and the names that all texts know. */
function openScope(
  declaration: Declaration,
  parameters: MapValue,
  item: Value | undefined,
  context: Context,
): Scope {
  const builtins = Object.entries(context.builtins).map(
    ([name, value]) => [name, textScalar(value, context.place)] as const,
  );
  const known = new Map<string, Value>([
    ...parameters.entries.map(({ key, value }) => [key, value] as const),
    ...(item ? [["item", item] as const] : []),
    ...builtins,
  ]);
  return {
    find: (name) => known.get(name),
    names: [...new Set([...(declaration.schema.properties?.keys() ?? []), ...known.keys()])],
    owner: `provider ${quote(declaration.name)}`,
    budget: context.budget,
  };
}

const WANTED_COMMANDS = { what: "a text of commands, or a list of them" };
const command = text("a command", "put it in quotes");
const anything: Reader<Value> = { schema: resourcesSchema, read: (value) => value };

/** A job but for `each`. */
export const parts = fields(
  {
    name: optional(text("a name", "put it in quotes")),
    commands: required(
      byShape(
        {
          scalar: command,
          list: mapped(list(command, WANTED_COMMANDS), (lines) => lines.join("\n")),
        },
        WANTED_COMMANDS,
      ),
    ),
    environment: optional(environment),
    role: optional(role),
    working_dir: optional(innerPath({ root: "the bundle", allowsRoot: true })),
    artifacts: optional(artifacts),
    resources: optional(anything),
  },
  { what: "a map with commands" },
);

function compilePart(
  job: MapValue,
  number: string,
  scope: Scope,
  context: Context,
): JobPart | undefined {
  const entries = job.entries.filter(({ key }) => key !== "each" && JOB_KEYS.includes(key));
  const filled = interpolate({ ...job, entries }, scope, context.report);
  const read = parts.read(filled, context.report);
  const value = filled.type === "map" ? findEntry(filled, "resources")?.value : undefined;
  const resources = readResources(value, { burstable: false }, context);
  checkRole(filled, context);
  if (!read || !resources) return undefined;
  const part = read.name ?? number;
  if (part !== "" && !PART.test(part)) {
    const hint = "a part of a name has letters, digits, dots, dashes and underscores";
    return context.report(
      findEntry(job, "name")?.value.place ?? job.place,
      `${quote(part)} is no name for a job`,
      hint,
    );
  }
  return {
    part,
    task: { type: "commands", script: read.commands },
    environment: { ...read.environment },
    workingDir: read.working_dir ?? ".",
    artifacts: [...(read.artifacts ?? [])],
    resources,
    ...defined({ role: read.role }),
  };
}
