/** `.dstack/workflows.yaml`: the list of workflows, their names, what they depend on. */
import { nearNames, suggest } from "../providers/near.ts";
import { type Place, quote, type Report } from "../providers/problem.ts";
import type { Provider } from "../providers/provider.ts";
import { reject, rejectKey, text } from "../providers/read.ts";
import { unknownProvider } from "../providers/unknown.ts";
import { type Entry, findEntry, isNull, type MapValue, type Value } from "../providers/value.ts";
import { isName, NAME_RULE } from "./names.ts";
import { GLOBAL } from "./variables.ts";

/** Also a bound on every walk along dependencies. */
const WORKFLOWS_MAX = 1_000;
const OWN_KEYS = ["name", "provider", "depends-on"];

/** A workflow as written, its references not filled in. */
export type RawWorkflow = {
  /** As written, and empty without one. */
  readonly name: string;
  readonly place: Place;
  readonly map: MapValue;
  /** No other has it, and it is allowed; else that has been reported, and nothing can be run. */
  readonly hasGoodName: boolean;
};

export type Dependency = {
  readonly workflow: string;
  /** Undefined: it runs first, in the same run. */
  readonly tag: string | undefined;
  /** As the user wrote it, "prepare:latest". */
  readonly reference: string;
  readonly place: Place;
};

/** By name; undefined for one that is broken, which has been reported. */
export type Providers = ReadonlyMap<string, Provider | undefined>;

export type Workflow = {
  readonly name: string;
  readonly place: Place;
  readonly dependsOn: readonly Dependency[];
  /** Undefined when it is broken, which has been reported; one to check by when it is unknown. */
  readonly provider: Provider | undefined;
  /** What the provider reads: everything but name, provider and depends-on. */
  readonly parameters: MapValue;
};

/** In the order of the file. Those without a usable name are reported, and there to be checked. */
export function readWorkflows(file: Value, report: Report): readonly RawWorkflow[] {
  if (file.type !== "map") {
    reject(
      file,
      { what: "a map with the key workflows", hint: "write workflows: on a line of its own" },
      report,
    );
    return [];
  }
  for (const entry of file.entries) {
    if (entry.key !== "workflows") rejectKey(entry, ["workflows"], report);
  }
  const entry = findEntry(file, "workflows");
  if (entry) return readList(entry, report);
  if (file.entries.length === 0) {
    report(file.place, 'needs "workflows"', "add workflows: and a list");
  }
  return [];
}

function readList({ place, value }: Entry, report: Report): readonly RawWorkflow[] {
  const hint = "write each workflow after a dash, as in - name: train";
  if (value.type !== "list" && !isNull(value)) {
    reject(value, { what: "a list of workflows", hint }, report);
    return [];
  }
  const items = value.type === "list" ? value.items : [];
  if (items.length === 0) report(place, "lists no workflows", hint);
  if (items.length > WORKFLOWS_MAX) {
    const message = `lists ${items.length} workflows, ${WORKFLOWS_MAX} are allowed`;
    report(place, message, "split the bundle");
    return [];
  }
  const names = new Map<string, string>();
  return items.flatMap((item) => readWorkflow(item, names, report) ?? []);
}

/** `names` are those so far, by lower case. */
function readWorkflow(
  item: Value,
  names: Map<string, string>,
  report: Report,
): RawWorkflow | undefined {
  if (item.type !== "map") {
    const hint = "write name: and provider: on lines of their own";
    return reject(item, { what: "a map that describes a workflow", hint }, report);
  }
  const name = readName(item, names, report);
  const written = findEntry(item, "name")?.value;
  const source = written?.type === "scalar" && !isNull(written) ? written.source : "";
  const hasGoodName = name !== undefined;
  return { name: name ?? source, place: item.place, map: item, hasGoodName };
}

function readName(item: MapValue, names: Map<string, string>, report: Report): string | undefined {
  const entry = findEntry(item, "name");
  if (!entry || isNull(entry.value)) {
    return report(entry?.place ?? item.place, 'needs "name"', "add name: …");
  }
  const { value } = entry;
  const name = text("a name", "put it in quotes").read(value, report);
  if (name === undefined) return undefined;
  if (!isName(name))
    return report(value.place, `${quote(name)} is no name for a workflow`, NAME_RULE);
  if (name.toLowerCase() === GLOBAL) {
    return report(
      value.place,
      `${quote(name)} is the section of variables that all see`,
      "choose another name",
    );
  }
  const twin = names.get(name.toLowerCase());
  if (twin === undefined) {
    names.set(name.toLowerCase(), name);
    return name;
  }
  const isSame = twin === name ? "" : `, but for case, as ${quote(twin)}`;
  return report(value.place, `the name ${quote(name)} is taken${isSame}`, "choose another name");
}

/** A workflow whose references have been filled in. `names` are those of all, also of those with a bad one. */
export function openWorkflow(
  { name, place }: RawWorkflow,
  map: MapValue,
  { providers, names }: { readonly providers: Providers; readonly names: readonly string[] },
  report: Report,
): Workflow {
  const provider = readProvider(map, providers, report);
  const dependsOn = findEntry(map, "depends-on")?.value;
  return {
    name,
    place,
    provider,
    dependsOn: dependsOn && !isNull(dependsOn) ? readDependencies(dependsOn, names, report) : [],
    parameters: readParameters(map, provider, report),
  };
}

/** One that is unknown is taken for the one that it comes close to. */
function readProvider(map: MapValue, providers: Providers, report: Report): Provider | undefined {
  const entry = findEntry(map, "provider");
  const names = [...providers.keys()];
  if (!entry || isNull(entry.value)) {
    const hint = `known providers: ${names.join(", ")}`;
    report(entry?.place ?? map.place, 'needs "provider"', hint);
    return unknownProvider;
  }
  const name = text("the name of a provider").read(entry.value, report);
  if (name === undefined) return unknownProvider;
  const provider = providers.get(name);
  if (provider || providers.has(name)) return provider;
  const hint = suggest(name, names, "providers");
  report(entry.value.place, `unknown provider ${quote(name)}`, hint);
  const [near, ...others] = nearNames(name, names);
  return near === undefined || others.length > 0 ? unknownProvider : providers.get(near);
}

/** Unknown keys are told here, where the keys of every workflow are known too. */
function readParameters(map: MapValue, provider: Provider | undefined, report: Report): MapValue {
  const entries = map.entries.filter(({ key }) => !OWN_KEYS.includes(key));
  const properties = provider?.parameters.properties;
  if (!provider || typeof properties !== "object" || properties === null)
    return { ...map, entries };
  const known = Object.keys(properties);
  for (const entry of entries) {
    if (!known.includes(entry.key)) rejectKey(entry, [...OWN_KEYS, ...known], report);
  }
  return { ...map, entries: entries.filter(({ key }) => known.includes(key)) };
}

const WANTED_DEPENDENCY = {
  what: "the name of a workflow, or of a workflow and a tag",
  hint: "write prepare, or prepare:latest",
};

function readDependencies(
  value: Value,
  names: readonly string[],
  report: Report,
): readonly Dependency[] {
  const items = value.type === "list" ? value.items : [value];
  const read = items.flatMap((item) => readDependency(item, names, report) ?? []);
  return read.filter((dependency, index) => {
    const isFirst = read.findIndex((each) => each.reference === dependency.reference) === index;
    if (!isFirst)
      report(dependency.place, `${quote(dependency.reference)} is listed twice`, "keep one");
    return isFirst;
  });
}

function readDependency(
  item: Value,
  names: readonly string[],
  report: Report,
): Dependency | undefined {
  if (item.type !== "scalar" || typeof item.value !== "string") {
    return reject(item, WANTED_DEPENDENCY, report);
  }
  // A bad name has been told where it is given.
  const isTold = names.includes(item.value) && !isName(item.value);
  if (isTold) return undefined;
  const [workflow = "", tag, ...rest] = item.value.split(":");
  if (rest.length > 0 || !isName(workflow) || (tag !== undefined && !isName(tag))) {
    return reject(item, WANTED_DEPENDENCY, report);
  }
  return { workflow, tag, reference: item.value, place: item.place };
}
