/** `.dstack/variables.yaml`: sections of variables, what they come to for one workflow, and what of them its jobs are given. */
import { isOwnName } from "../providers/environment.ts";
import { interpolate, type Scope } from "../providers/interpolate.ts";
import { suggest } from "../providers/near.ts";
import { type Place, quote, type Report } from "../providers/problem.ts";
import { reject, rejectKey } from "../providers/read.ts";
import {
  describeValue,
  type Entry,
  isNull,
  type Scalar,
  textScalar,
  type Value,
} from "../providers/value.ts";
import { nowhere } from "./files.ts";
import type { Override } from "./request.ts";

/** The section that all workflows see. */
export const GLOBAL = "global";

/** Of each section, its variables by name; one that is broken is there as unknown. */
export type Sections = ReadonlyMap<string, ReadonlyMap<string, Value>>;

export const VARIABLE_NAME_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$";
const VARIABLE_NAME = new RegExp(VARIABLE_NAME_PATTERN);
const NAME_HINT =
  "a variable's name has letters, digits, dashes and underscores, and begins with a letter";
/** A job cannot do without these as they are. */
const KEPT_FROM_EXPORT = new Set([
  "PATH",
  "HOME",
  "LD_PRELOAD",
  "LD_LIBRARY_PATH",
  "BASH_ENV",
  "PYTHONHOME",
]);
/** References from variable to variable; each is a level of recursion. */
const CHAIN_MAX = 50;

/** `batch-size` is BATCH_SIZE in a job's environment. */
export const exportedName = (name: string): string => name.toUpperCase().replaceAll("-", "_");

export function readSections(
  file: Value | undefined,
  workflows: readonly string[],
  report: Report,
): Sections {
  const none: Sections = new Map();
  if (!file) return none;
  if (file.type !== "map") {
    reject(file, { what: "a map with the key variables" }, report);
    return none;
  }
  for (const entry of file.entries) {
    if (entry.key !== "variables") rejectKey(entry, ["variables"], report);
  }
  const root = file.entries.find(({ key }) => key === "variables")?.value;
  if (!root || isNull(root)) return none;
  if (root.type !== "map") {
    reject(root, { what: "a map of sections, one for each workflow or global" }, report);
    return none;
  }
  return new Map(root.entries.map((entry) => [entry.key, readSection(entry, workflows, report)]));
}

function readSection(
  { key, place, value }: Entry,
  workflows: readonly string[],
  report: Report,
): ReadonlyMap<string, Value> {
  if (key !== GLOBAL && !workflows.includes(key)) {
    const isVariable = value.type === "scalar" && value.value !== null;
    const hint = isVariable
      ? `variables stand in the section of a workflow, or in ${GLOBAL}`
      : suggest(key, [...workflows, GLOBAL], "sections");
    report(place, `there is no workflow ${quote(key)}`, hint);
    return new Map();
  }
  if (isNull(value)) return new Map();
  if (value.type !== "map") {
    reject(value, { what: "a map of variables", hint: "write name: value, one a line" }, report);
    return new Map();
  }
  const names = new Map<string, string>();
  return new Map(value.entries.map((entry) => [entry.key, readVariable(entry, names, report)]));
}

/** `names` are those of the section so far, by exported name. */
function readVariable(entry: Entry, names: Map<string, string>, report: Report): Value {
  const { key, place, value } = entry;
  const unknown: Value = { type: "unknown", place: value.place };
  const exported = exportedName(key);
  const twin = names.get(exported);
  names.set(exported, key);
  if (!VARIABLE_NAME.test(key)) {
    report(place, `${quote(key)} is no name for a variable`, NAME_HINT);
    return unknown;
  }
  if (twin !== undefined) {
    report(place, `${key} and ${twin} are both ${exported} in a job's environment`, "rename one");
    return unknown;
  }
  if (value.type !== "scalar" || value.value === null) {
    const hint = isNull(value) ? 'write "" for an empty text' : "";
    reject(value, { what: "a text, a number, true or false", hint }, report);
    return unknown;
  }
  if (!value.source.includes("\0")) return value;
  report(value.place, "holds a NUL character", "take it out");
  return unknown;
}

export type ScopeInput = {
  readonly sections: Sections;
  readonly workflow: string;
  /** `run.id`, `run.name` and `workflow.name`. */
  readonly builtins: Readonly<Record<string, string>>;
  /** By exported name. */
  readonly overrides: ReadonlyMap<string, Override>;
  /** Is told the exported names of overrides that are referred to, and declared nowhere. */
  readonly undeclared: Set<string>;
  readonly budget: Scope["budget"];
};

/** The variables that a workflow sees. Each is filled in once; one in a circle is unknown, and reported. */
export function openScope(input: ScopeInput, report: Report): Scope {
  const own = input.sections.get(input.workflow) ?? new Map<string, Value>();
  const global = input.sections.get(GLOBAL) ?? new Map<string, Value>();
  const known = new Map<Value, Value>();
  const chain: { readonly name: string; readonly value: Value }[] = [];
  const builtins = new Map(
    Object.entries(input.builtins).map(([name, text]) => [name, textScalar(text, nowhere("run"))]),
  );
  const base = { owner: `workflow ${quote(input.workflow)}`, budget: input.budget };

  /** Variables of the global section see that section alone: they mean the same everywhere. */
  const globalScope: Scope = {
    ...base,
    names: [...global.keys(), ...builtins.keys()],
    find: (name) => {
      const value = global.get(name);
      return builtins.get(name) ?? (value && evaluate(name, value, globalScope));
    },
  };
  const scope: Scope = {
    ...base,
    names: [...new Set([...own.keys(), ...globalScope.names])],
    hintFor: (name) => {
      if (!input.overrides.has(exportedName(name))) return undefined;
      input.undeclared.add(exportedName(name));
      return "give it a value in .dstack/variables.yaml, which can then be replaced";
    },
    find: (name) => {
      const value = own.get(name);
      return value ? evaluate(name, value, scope) : globalScope.find(name);
    },
  };

  const evaluate = (name: string, value: Value, from: Scope): Value => {
    const before = known.get(value);
    if (before) return before;
    const start = chain.findIndex((link) => link.value === value);
    if (start >= 0 || chain.length >= CHAIN_MAX) {
      reportChain([...chain.slice(Math.max(start, 0)), { name, value }], start >= 0, report);
      return { type: "unknown", place: value.place };
    }
    chain.push({ name, value });
    const filled = interpolate(value, from, report);
    chain.pop();
    const override = input.overrides.get(exportedName(name));
    const result = override ? coerce(override, filled, report) : filled;
    known.set(value, result);
    return result;
  };
  return scope;
}

function reportChain(
  chain: readonly { readonly name: string; readonly value: Value }[],
  isCircle: boolean,
  report: Report,
): void {
  const [first] = chain;
  if (!first) return;
  const names = chain.map(({ name }) => name);
  if (isCircle) {
    report(
      first.value.place,
      `variables refer to each other in a circle: ${names.join(" -> ")}`,
      "give one of them a value of its own",
    );
  } else {
    report(first.value.place, `a chain of over ${CHAIN_MAX} variables begins here`, "shorten it");
  }
}

const NUMBER = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$|^0x[0-9a-fA-F]+$|^0o[0-7]+$/;

/** The override's text as the type of the variable's own value; a text takes anything. */
function coerce(override: Override, value: Value, report: Report): Value {
  if (value.type !== "scalar") return value;
  const { text } = override;
  const place = { ...value.place, givenAt: override.place };
  if (typeof value.value === "string") return textScalar(text, place);
  if (typeof value.value === "number" && NUMBER.test(text)) {
    return { ...value, place, value: Number(text), source: text };
  }
  if (typeof value.value === "boolean" && /^(?:true|false)$/i.test(text)) {
    return { ...value, place, value: text.toLowerCase() === "true", source: text };
  }
  const wanted = typeof value.value === "number" ? "a number" : "true or false";
  report(
    override.place,
    `must be ${wanted}, found ${describeValue(textScalar(text, place))}`,
    `the variable is ${describeValue(value)} in ${whereIs(value)}`,
  );
  return { type: "unknown", place: value.place };
}

const whereIs = (value: Scalar): string =>
  `${value.place.file}:${value.place.line}:${value.place.column}`;

/** What a workflow's jobs find in their environment: each variable as written, under its exported name. */
export function exportVariables(
  scope: Scope,
  sections: Sections,
  workflow: string,
  { report, warn }: { readonly report: Report; readonly warn: Report },
): Readonly<Record<string, string>> {
  const names = [GLOBAL, workflow].flatMap((section) => [...(sections.get(section)?.keys() ?? [])]);
  const exported = new Map<string, string>();
  for (const name of names) {
    const value = scope.find(name);
    if (value?.type !== "scalar") continue;
    scope.budget.characters -= name.length + value.source.length;
    if (scope.budget.characters < 0) {
      report(
        value.place,
        "the variables of all jobs come to too much",
        "use fewer or shorter ones",
      );
      break;
    }
    const isKept = KEPT_FROM_EXPORT.has(exportedName(name)) || isOwnName(exportedName(name));
    if (isKept) warnOfKept(name, sections, workflow, warn);
    else exported.set(exportedName(name), value.source);
  }
  return Object.fromEntries(exported);
}

function warnOfKept(name: string, sections: Sections, workflow: string, warn: Report): void {
  const place: Place | undefined = (
    sections.get(workflow)?.get(name) ?? sections.get(GLOBAL)?.get(name)
  )?.place;
  if (!place) return;
  const exported = exportedName(name);
  const hint = isOwnName(exported) ? "" : ", or set it under environment";
  warn(
    place,
    `${name} is not exported: a job needs ${exported} as it is`,
    `rename the variable${hint}`,
  );
}

/**
 * Every override must be declared by a section that the run uses; those of run.yaml by any. Of `undeclared` ones, by
 * exported name, it has been said where they are referred to.
 */
export function checkOverrides(
  overrides: ReadonlyMap<string, Override>,
  sections: Sections,
  { closure, undeclared }: { closure: readonly string[]; undeclared: ReadonlySet<string> },
  report: Report,
): void {
  const used = [GLOBAL, ...closure];
  const namesOf = (section: string) => [...(sections.get(section)?.keys() ?? [])];
  const declared = used.flatMap(namesOf);
  for (const [exported, { name, place, isDefault }] of overrides) {
    if (undeclared.has(exported)) continue;
    const isSame = (each: string) => exportedName(each) === exported;
    if (declared.some(isSame)) continue;
    const elsewhere = [...sections.keys()].find((section) => namesOf(section).some(isSame));
    if (isDefault && elsewhere !== undefined) continue;
    const hint =
      elsewhere === undefined
        ? suggest(name, [...new Set(declared)], "variables")
        : `${elsewhere} does, which is not part of this run`;
    report(place, `no workflow of this run declares a variable ${quote(name)}`, hint);
  }
}
