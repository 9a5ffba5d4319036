/** From the files of a bundle and what is asked for to the jobs of a run. Pure: the same input gives the same jobs. */
import type { Job } from "../core/workflow.ts";
import { curl } from "../providers/curl.ts";
import { readCustomProvider } from "../providers/custom.ts";
import { BUDGET_CHARACTERS, interpolate, type Scope } from "../providers/interpolate.ts";
import { suggest } from "../providers/near.ts";
import { type Problem, quote, type Report, renderProblem } from "../providers/problem.ts";
import type { CompileLimits, JobPart, Provider, WantedFile } from "../providers/provider.ts";
import { python } from "../providers/python.ts";
import { findEntry } from "../providers/value.ts";
import { BundleError } from "./bundle-error.ts";
import { type BundleFiles, nowhere, parseFiles } from "./files.ts";
import { checkGraph, closureOf, findRoots, jobDependencies } from "./graph.ts";
import { checkCollisions, listInputs, type Tags } from "./inputs.ts";
import { collectProblems, problemAt } from "./problems.ts";
import { type Request, readWish, type Wish } from "./request.ts";
import {
  checkOverrides,
  exportVariables,
  openScope,
  readSections,
  type Sections,
} from "./variables.ts";
import {
  openWorkflow,
  type Providers,
  type RawWorkflow,
  readWorkflows,
  type Workflow,
} from "./workflows.ts";

export type CompileInput = {
  /** Text by path: `.dstack/workflows.yaml`, `variables.yaml`, `run.yaml`, `providers/*.yaml`. */
  readonly files: ReadonlyMap<string, string>;
  readonly request: Request;
  readonly run: { readonly id: string; readonly name: string };
  readonly tags: Tags;
  /** Those that the operator has added to the built-in ones. */
  readonly providers?: readonly Provider[];
  readonly limits: CompileLimits;
};

export type Compiled = {
  /** Dependencies before those that depend on them. */
  readonly jobs: readonly Job[];
  /** Those asked for, without the ones they depend on. */
  readonly workflows: readonly string[];
  /** To be put on the artifact sets of `workflows` when the run succeeds. */
  readonly tag?: string;
  /** One line each, in the form of a problem. */
  readonly warnings: readonly string[];
  /** The same, with their places. */
  readonly warned: readonly Problem[];
  /** What the jobs need of the bundle's files or of their inputs, by job. */
  readonly wants: readonly JobWants[];
};

export type JobWants = { readonly job: string; readonly files: readonly WantedFile[] };

/** All that the jobs of a run may come to, as JSON: they stand in its record. */
const JOBS_CHARACTERS_MAX = 16 * 1_048_576;

/** Throws BundleError with everything that is wrong with the bundle, or with what is asked of it. */
export function compileBundle(input: CompileInput): Compiled {
  const problems = collectProblems();
  const warnings = new Map<string, Problem>();
  const warn: Report = (place, message, hint = "") => {
    const problem = problemAt(place, message, hint);
    warnings.set(renderProblem(problem), problem);
    return undefined;
  };
  const { report } = problems;
  const files = parseFiles(input.files, report, warn);
  const providers = readProviders(files, input.providers ?? [], report);
  const budget = { characters: BUDGET_CHARACTERS };
  const wish = readWish(files.run, input.request, report);
  const result =
    files.workflows &&
    compileWorkflows(
      { input, files, providers, wish, report, warn, budget, undeclared: new Set() },
      files.workflows,
    );
  const found = problems.list();
  if (found.length > 0 || !result) throw new BundleError(found);
  return {
    ...result,
    ...(wish.tag === undefined ? {} : { tag: wish.tag }),
    warnings: [...warnings.keys()],
    warned: [...warnings.values()],
  };
}

/** `workflow:tag` for each tag that the run would need, so that a caller can read them first. Problems are left to `compileBundle`. */
export function listTagReferences(
  input: Omit<CompileInput, "tags">,
): readonly { readonly workflow: string; readonly tag: string }[] {
  const asked: { workflow: string; tag: string }[] = [];
  const find = (workflow: string, tag: string) => {
    asked.push({ workflow, tag });
    return undefined;
  };
  try {
    compileBundle({ ...input, tags: { find, list: () => [] } });
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
  }
  return asked;
}

type Work = {
  readonly input: CompileInput;
  readonly files: BundleFiles;
  readonly providers: Providers;
  readonly wish: Wish;
  readonly report: Report;
  readonly warn: Report;
  readonly budget: Scope["budget"];
  readonly undeclared: Set<string>;
};

/** A workflow with its variables filled in, and what its jobs get of them. */
type Opened = { readonly workflow: Workflow; readonly exported: Readonly<Record<string, string>> };

function compileWorkflows(
  work: Work,
  file: Parameters<typeof readWorkflows>[0],
): Pick<Compiled, "jobs" | "workflows" | "wants"> {
  const { wish, report } = work;
  const all = readWorkflows(file, report);
  const raw = new Map(all.filter((each) => each.hasGoodName).map((each) => [each.name, each]));
  const allNames = all.map(({ name }) => name).filter((name) => name !== "");
  const sections = readSections(work.files.variables, allNames, report);
  const opened = new Map<string, Opened>();
  const open = (overrides: Wish["overrides"]) => (name: string) => {
    const workflow = raw.get(name);
    if (!workflow) return undefined;
    const result = opened.get(name) ?? openOne(workflow, { sections, overrides, allNames }, work);
    opened.set(name, result);
    return result.workflow;
  };

  const asked = findAsked(allNames, wish, report);
  // Overrides belong to what runs; the rest is opened as it stands, to find its problems too.
  if (asked.length > 0) closureOf(asked, open(wish.overrides));
  for (const name of raw.keys()) open(asked.length > 0 ? new Map() : wish.overrides)(name);
  const workflows = new Map([...opened].map(([name, each]) => [name, each.workflow]));
  const badlyNamed = all
    .filter((each) => !each.hasGoodName)
    .map((each) => openOne(each, { sections, overrides: new Map(), allNames }, work));
  const hasCircle = checkGraph(
    workflows,
    badlyNamed.map((each) => each.workflow),
    report,
  );
  for (const each of badlyNamed) compileParts(each, work);

  const names = asked.length > 0 ? asked : listRoots(workflows, hasCircle, report);
  const closure = closureOf(names, (name) => workflows.get(name));
  const used = [...closure, ...badlyNamed.map((each) => each.workflow)].map(({ name }) => name);
  const { undeclared } = work;
  checkOverrides(wish.overrides, sections, { closure: used, undeclared }, report);
  const parts = new Map([...opened].map(([name, each]) => [name, compileParts(each, work)]));
  const wants = closure.flatMap(({ name }) =>
    (parts.get(name) ?? []).map((part) => ({ job: part.name, files: part.wants ?? [] })),
  );
  return { workflows: names, jobs: assemble(closure, parts, work), wants };
}

/** The names asked for, each once; unknown ones are reported. */
function findAsked(known: readonly string[], wish: Wish, report: Report): readonly string[] {
  for (const { name, place } of wish.workflows) {
    if (known.includes(name)) continue;
    report(place, `there is no workflow ${quote(name)}`, suggest(name, known, "workflows"));
  }
  return [...new Set(wish.workflows.map(({ name }) => name))];
}

function listRoots(
  workflows: ReadonlyMap<string, Workflow>,
  hasCircle: boolean,
  report: Report,
): readonly string[] {
  const roots = findRoots(workflows);
  if (roots.length === 0 && workflows.size > 0 && !hasCircle) {
    report(
      nowhere("request", "workflows"),
      "every workflow is one that another depends on",
      "name those to run",
    );
  }
  return roots;
}

function openOne(
  raw: RawWorkflow,
  {
    sections,
    overrides,
    allNames: names,
  }: {
    readonly sections: Sections;
    readonly overrides: Wish["overrides"];
    readonly allNames: readonly string[];
  },
  { input, report: tell, warn, providers, budget, undeclared }: Work,
): Opened {
  // Without a name, nobody knows which variables it sees.
  const report: Report = raw.name === "" ? () => undefined : tell;
  const builtins = builtinsOf(input, raw.name);
  const scope = openScope(
    { sections, workflow: raw.name, builtins, overrides, undeclared, budget },
    report,
  );
  // The name is taken as written: sections of variables go by it.
  const entries = raw.map.entries.map((entry) =>
    entry.key === "name" ? entry : { ...entry, value: interpolate(entry.value, scope, report) },
  );
  return {
    workflow: openWorkflow(raw, { ...raw.map, entries }, { providers, names }, tell),
    exported: exportVariables(scope, sections, raw.name, { report, warn }),
  };
}

const builtinsOf = ({ run }: CompileInput, workflow: string): Readonly<Record<string, string>> => ({
  "run.id": run.id,
  "run.name": run.name,
  "workflow.name": workflow,
});

const BUILT_IN: readonly Provider[] = [python, curl];

export const isBuiltIn = (name: string): boolean => BUILT_IN.some((each) => each.name === name);

/** Undefined for a provider of the bundle that is broken, which has been reported. */
function readProviders(files: BundleFiles, added: readonly Provider[], report: Report): Providers {
  const providers = new Map<string, Provider | undefined>(
    [...BUILT_IN, ...added].map((provider) => [provider.name, provider]),
  );
  for (const [name, file] of files.providers) {
    if (isBuiltIn(name)) {
      report(file.place, `the provider ${quote(name)} is built in`, "choose another name");
    } else if (added.some((each) => each.name === name)) {
      report(file.place, `the provider ${quote(name)} is the operator's`, "choose another name");
    } else providers.set(name, readCustomProvider(name, file, report));
  }
  return providers;
}

type NamedPart = JobPart & { readonly name: string };

function compileParts({ workflow, exported }: Opened, work: Work): readonly NamedPart[] {
  const parts = workflow.provider?.compile(workflow.parameters, {
    place: workflow.place,
    report: work.report,
    warn: work.warn,
    builtins: builtinsOf(work.input, workflow.name),
    budget: work.budget,
    limits: work.input.limits,
  });
  return (parts ?? []).map((part) => ({
    ...part,
    wants: [...wantedFolder(part, workflow), ...(part.wants ?? [])],
    environment: { ...exported, ...part.environment },
    name: part.part === "" ? workflow.name : `${workflow.name}.${part.part}`,
  }));
}

/** A job begins in its working directory, whatever its provider. */
function wantedFolder(
  { workingDir, wants = [] }: JobPart,
  workflow: Workflow,
): readonly WantedFile[] {
  if (workingDir === "." || wants.some(({ what }) => what === "working directory")) return [];
  const place = findEntry(workflow.parameters, "working_dir")?.value.place ?? workflow.place;
  return [{ what: "working directory", path: workingDir, place }];
}

function assemble(
  closure: readonly Workflow[],
  parts: ReadonlyMap<string, readonly NamedPart[]>,
  { input, report, warn }: Work,
): readonly Job[] {
  const jobsOf = (workflow: string) => parts.get(workflow) ?? [];
  const jobs = closure.flatMap((workflow): readonly Job[] => {
    checkCollisions(workflow, jobsOf, report, warn);
    const needed = jobDependencies(workflow).flatMap((each) => jobsOf(each.workflow));
    const needs = needed.map(({ name }) => name);
    const inputs = [...listInputs(workflow, jobsOf, input.tags, report)];
    return jobsOf(workflow.name).map(({ part: _, wants: __, ...job }) => ({
      ...job,
      workflow: workflow.name,
      provider: workflow.provider?.name ?? "",
      needs,
      inputs,
    }));
  });
  checkJobs(jobs, closure, input, report);
  return jobs;
}

function checkJobs(
  jobs: readonly Job[],
  workflows: readonly Workflow[],
  { limits }: CompileInput,
  report: Report,
): void {
  const place = nowhere(".dstack/workflows.yaml");
  if (jobs.length > limits.jobsMax) {
    const hint = "run fewer at once, or have the operator raise jobsMax";
    report(place, `the run has ${jobs.length} jobs, ${limits.jobsMax} are allowed`, hint);
    return;
  }
  const owners = new Map<string, string>();
  let characters = 0;
  for (const job of jobs) {
    const owner = owners.get(job.name);
    if (owner !== undefined) {
      const at = workflows.find(({ name }) => name === job.workflow)?.place ?? place;
      const cure =
        owner === job.workflow ? "give it each value once" : "rename one of the workflows";
      report(at, `two jobs are called ${quote(job.name)}`, cure);
    }
    owners.set(job.name, job.workflow);
    characters += JSON.stringify(job).length;
    if (characters > JOBS_CHARACTERS_MAX) {
      report(place, "the jobs come to more than 16 MiB", "use fewer or shorter variables");
      return;
    }
  }
}
