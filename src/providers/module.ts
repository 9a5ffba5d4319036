/**
 * Providers that an operator adds. Their code is trusted, and may still be wrong: whatever one throws or
 * returns while it compiles is a problem of the bundle that used it, at its workflow, and nothing more.
 */
import { z } from "zod";
import { jobSchema, type Task } from "../core/workflow.ts";
import { describeError, UserError } from "../errors.ts";
import { output, sha256, url, warnIfLost } from "./curl.ts";
import { isOwnName } from "./environment.ts";
import { kit, type ModuleProvider } from "./kit.ts";
import { artifacts, innerPath } from "./paths.ts";
import { quote, type Report } from "./problem.ts";
import type { Context, JobPart, Provider } from "./provider.ts";
import { version } from "./python.ts";
import { formatDuration } from "./quantity.ts";
import { readResources } from "./resources.ts";
import { checkRole } from "./role.ts";
import { type MapValue, textScalar } from "./value.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/**
 * The provider that a module exports. `from` is the module as the configuration names it. Throws UserError
 * for what is no provider.
 */
export function readProviderModule(exported: unknown, from: string): Provider {
  const made = findProvider(exported, from);
  const fault = faultOf(made);
  if (fault !== undefined) throw wrongShape(from, fault);
  const provider = made as ModuleProvider;
  return {
    name: provider.name,
    parameters: provider.parameters,
    compile: (map, context) => compile(provider, map, context, from),
  };
}

function findProvider(exported: unknown, from: string): unknown {
  const module = (exported ?? {}) as Readonly<Record<string, unknown>>;
  const { createProvider } = module;
  if (typeof createProvider !== "function") return module.provider ?? module.default;
  try {
    return (createProvider as (given: typeof kit) => unknown)(kit);
  } catch (cause) {
    throw new UserError(`the provider module ${from} threw in createProvider`, "", { cause });
  }
}

const wrongShape = (from: string, fault: string): UserError =>
  new UserError(
    `the provider module ${from} ${fault}`,
    "it has to export provider, or createProvider(kit), as docs/workflows.md says.",
  );

function faultOf(made: unknown): string | undefined {
  if (typeof made !== "object" || made === null) return "exports no provider";
  const { name, parameters, compile } = made as Readonly<Record<string, unknown>>;
  if (typeof name !== "string" || !NAME.test(name)) {
    return "has a provider without a name of letters, digits, dots, dashes and underscores";
  }
  const isObject = (value: unknown) => typeof value === "object" && value !== null;
  if (!isObject(parameters) || !isObject((parameters as { properties?: unknown }).properties)) {
    return `has a provider ${quote(name)} whose parameters are no JSON Schema with properties`;
  }
  return typeof compile === "function"
    ? undefined
    : `has a provider ${quote(name)} that has no compile`;
}

const partSchema = z.strictObject({
  part: z.string().default(""),
  task: jobSchema.shape.task,
  environment: jobSchema.shape.environment.default({}),
  role: jobSchema.shape.role,
  workingDir: z.string().default("."),
  artifacts: z.array(z.string()).default([]),
  resources: jobSchema.shape.resources.optional(),
});
type Part = z.infer<typeof partSchema>;

function compile(
  provider: ModuleProvider,
  map: MapValue,
  context: Context,
  from: string,
): readonly JobPart[] | undefined {
  let isWhole = true;
  const report: Report = (...problem) => {
    isWhole = false;
    return context.report(...problem);
  };
  const fail = (what: string) =>
    context.report(context.place, `the provider ${quote(provider.name)} ${what}`, blame(from));
  try {
    const made: unknown = provider.compile(map, { ...context, report });
    if (made instanceof Promise) {
      // Nobody waits for it, and what it throws must not end the daemon.
      made.catch(() => {});
      return fail("returned a promise: compile has to be synchronous");
    }
    if (!isWhole) return undefined;
    if (!Array.isArray(made) || made.length === 0) return fail("made no jobs, and said no reason");
    if (made.length > context.limits.jobsMax) {
      const message = `makes more than ${context.limits.jobsMax} jobs`;
      return context.report(context.place, message, "give it fewer values");
    }
    const parsed = z.array(partSchema).safeParse(made);
    if (!parsed.success) return fail(`made a job that is none: ${firstIssue(parsed.error)}`);
    const parts = parsed.data.map((part) => complete(part, { ...context, report }, fail));
    return parts.includes(undefined) ? undefined : (parts as JobPart[]);
  } catch (error) {
    return fail(`threw ${quote(describeError(error))}`);
  }
}

const blame = (from: string): string => `this is for the operator to mend, in ${from}`;

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue ? `${issue.path.join(".")}: ${issue.message}` : "";
}

/** What the built-in readers would have refused is refused here too, wherever it comes from. */
function complete(
  part: Part,
  context: Context,
  fail: (what: string) => undefined,
): JobPart | undefined {
  const { place, report, limits } = context;
  const value = (text: string) => textScalar(text, place);
  const items = part.artifacts.map(value);
  const paths = artifacts.read({ type: "list", items, place }, report);
  const inBundle = innerPath({ root: "the bundle", allowsRoot: true });
  const workingDir = inBundle.read(value(part.workingDir), report);
  const isDownload = part.task.type === "curl";
  const resources = part.resources ?? readResources(undefined, { burstable: isDownload }, context);
  const task = paths && readTask(part.task, paths, context, fail);
  if (!task || workingDir === undefined || !resources) return undefined;
  if (part.part !== "" && !NAME.test(part.part)) {
    return fail(`named a job ${quote(part.part)}, which is no name for one`);
  }
  if (resources.maxDurationMs > limits.maxDurationMs) {
    const most = formatDuration(limits.maxDurationMs);
    return report(place, `asks for longer than the ${most} that are allowed`, "ask for less");
  }
  if (part.role !== undefined) {
    const entry = { key: "role", value: value(part.role), place };
    checkRole({ type: "map", entries: [entry], place }, context);
  }
  const variables = Object.entries(part.environment).flat();
  if (variables.some((text) => typeof text === "string" && text.includes("\0"))) {
    return fail("put a NUL character into the environment");
  }
  const own = Object.keys(part.environment).find(isOwnName);
  if (own !== undefined) return fail(`set ${quote(own)}, a name of Errand's own`);
  return { ...part, task, artifacts: [...paths], workingDir, resources };
}

/** A download is held to the rules of the provider curl, a Python to those of python. */
function readTask(
  task: Task,
  artifactPaths: readonly string[],
  context: Context,
  fail: (what: string) => undefined,
): Task | undefined {
  const { place, report } = context;
  const value = (text: string) => textScalar(text, place);
  if (task.type === "curl") {
    const address = url.read(value(task.url), report);
    const path = output.read(value(task.output), report);
    const sum = task.sha256 === undefined ? "" : sha256.read(value(task.sha256), report);
    if (address === undefined || path === undefined || sum === undefined) return undefined;
    warnIfLost(path, artifactPaths, place, context);
    return { type: "curl", url: address, output: path, ...(sum === "" ? {} : { sha256: sum }) };
  }
  const texts = task.type === "python" ? task.words : [task.script];
  if (texts.some((text) => text.includes("\0"))) return fail("put a NUL character into a command");
  if (task.type === "commands") return task;
  const minor = version.read(value(task.version), report);
  return minor === undefined ? undefined : { ...task, version: minor };
}
