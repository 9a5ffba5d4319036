/**
 * The configuration: flag > environment > file > default. One strict schema; all problems are told at once, each
 * with the place it comes from. The only reader of `process.env`.
 */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { DEFAULT_LIMITS } from "./core/limits.ts";
import { nearestNames } from "./core/near-names.ts";
import { QUOTA_GROUPS } from "./core/quotas.ts";
import { UserError } from "./errors.ts";
import { LOG_LEVELS } from "./log.ts";
import { parseDuration } from "./providers/quantity.ts";
import { ROLE_PATTERN } from "./providers/role.ts";

const count = z.number().int().nonnegative();
const milliseconds = z.number().int().positive();

/** IMDS shows tags to the instance under their keys, so a key is what may stand in a path; EC2 refuses others. */
const tagKey = z
  .string()
  .regex(
    /^[A-Za-z0-9+\-=.,_:@]{1,128}$/,
    "a tag's key has letters, digits and + - = . , _ : @ only",
  )
  .refine((key) => !/^(errand:|aws:|Name$)/.test(key), "Errand sets this tag itself");

const roleName = z
  .string()
  .regex(
    new RegExp(ROLE_PATTERN),
    "a role's name has letters, digits, dots, dashes and underscores",
  );
const roleArn = z
  .string()
  .regex(
    /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,500}$/,
    "is no role's ARN; one looks like arn:aws:iam::123456789012:role/errand-training",
  );

const LENGTH_OF_TIME = 'is no length of time; one looks like "30d" or "12h"';

/** A number alone would be seconds, and is more likely meant as days: refused. */
export function parseRetention(text: string): number | undefined {
  return /[dhms]$/.test(text) ? parseDuration(text) : undefined;
}

const NO_PORT = "is no port: 1 to 65535";
/** An id alone stands for its object. */
const subnetSchema = z.preprocess(
  (value) => (typeof value === "string" ? { subnetId: value } : value),
  z.strictObject({
    zone: z.string().min(1).optional(),
    subnetId: z
      .string()
      .regex(/^subnet-[0-9a-z-]+$/, "is no subnet; one looks like subnet-0a1b2c3d"),
  }),
);

const configSchema = z.strictObject({
  region: z
    .string({ error: "is missing; set it here, by --region or AWS_REGION" })
    .regex(/^[a-z]{2}(-[a-z]+)+-\d{1,2}$/, "is no region; one looks like us-east-1"),
  bucket: z
    .string({ error: "is missing; set it here, by --bucket or ERRAND_BUCKET" })
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "is no bucket name"),
  /** Without one, drops and reports are found by the sweep alone. */
  queueUrl: z.url("is no URL").optional(),
  /** Another AWS than AWS, such as the local cloud. */
  endpoint: z
    .url({ protocol: /^https?$/, error: "is no http or https URL" })
    .transform((url) => url.replace(/\/+$/, ""))
    .optional(),
  /** The id of the installation, where rights go by it. Without one the bucket's own is taken, or made. */
  installation: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, "has letters, digits and - only, 64 at most")
    .optional(),
  /** Ids, or ids with their zones; empty for the default subnets of the default VPC. */
  subnets: z.array(subnetSchema).default([]),
  /** Empty for the VPC's default group. */
  securityGroupIds: z.array(z.string().min(1)).default([]),
  /** Name or ARN. */
  instanceProfile: z.string().default("errand-instance"),
  /** Instead of AWS's public images. Each as an `ami-…`. */
  images: z
    .strictObject({
      cpu: z.string().optional(),
      gpu: z.string().optional(),
      armCpu: z.string().optional(),
      armGpu: z.string().optional(),
    })
    .default({}),
  instanceTags: z.record(tagKey, z.string().max(256)).default({}),
  limits: z
    .strictObject({
      instancesMax: count.default(DEFAULT_LIMITS.instancesMax),
      hourlyUsdMax: z.number().nonnegative().default(DEFAULT_LIMITS.hourlyUsdMax),
      runUsdMax: z.number().positive().optional(),
      dayUsdMax: z.number().positive().optional(),
      vcpusMax: z.partialRecord(z.enum(QUOTA_GROUPS), count).optional(),
      maxDurationMs: milliseconds.default(DEFAULT_LIMITS.maxDurationMs),
      maxWaitMs: milliseconds.default(DEFAULT_LIMITS.maxWaitMs),
      jobsMax: count.default(DEFAULT_LIMITS.jobsMax),
      offerBandPercent: z.number().min(0).max(100).default(DEFAULT_LIMITS.offerBandPercent),
    })
    .prefault({}),
  /** Roles that jobs may ask for by these names. */
  jobRoles: z.record(roleName, roleArn).default({}),
  /** Modules of providers besides the built-in ones: paths relative to the configuration, or packages. */
  providers: z.array(z.string().min(1)).default([]),
  /** Runs that ended longer ago than this are pruned; without it none is. */
  retention: z
    .string({ error: LENGTH_OF_TIME })
    .transform((text, context) => {
      const ms = parseRetention(text);
      if (ms === undefined) context.addIssue(LENGTH_OF_TIME);
      return ms;
    })
    .optional(),
  logLevel: z.enum(LOG_LEVELS).default("info"),
  logFormat: z.enum(["json", "text"]).default("json"),
  /** Where on loopback the daemon answers `/metrics` and `/healthz`; without one, nowhere. */
  metricsPort: z.number(NO_PORT).int(NO_PORT).min(1, NO_PORT).max(65_535, NO_PORT).optional(),
  /** Of the local cloud alone: the host's Python may stand in for one that is not to be had. */
  allowsHostPython: z.boolean().default(false),
  /** How often a runner writes what, and looks for its stop object. */
  every: z
    .strictObject({
      logMs: milliseconds.default(2_000),
      heartbeatMs: milliseconds.default(30_000),
      syncMs: milliseconds.default(60_000),
      stopMs: milliseconds.default(5_000),
    })
    .prefault({}),
});

export type Config = Omit<z.infer<typeof configSchema>, "providers"> & {
  /** With the directory that each is looked for from. */
  readonly providers: readonly { readonly module: string; readonly directory: string }[];
};

/** By the names of the configuration, with dots; `undefined` for a flag that was not given. */
export type ConfigFlags = { readonly [path: string]: string | number | boolean | undefined };
export type Environment = { readonly [name: string]: string | undefined };
export type ConfigFile = {
  readonly name: string;
  readonly text: string;
  /** Where it lies; the working directory where nothing is said. */
  readonly directory?: string;
};

/** The first that is set counts. All else is for the file. */
const VARIABLES: readonly (readonly [name: string, path: string])[] = [
  ["AWS_REGION", "region"],
  ["AWS_DEFAULT_REGION", "region"],
  ["AWS_ENDPOINT_URL", "endpoint"],
  ["ERRAND_BUCKET", "bucket"],
  ["ERRAND_QUEUE_URL", "queueUrl"],
  ["ERRAND_INSTANCE_PROFILE", "instanceProfile"],
  ["ERRAND_INSTANCES_MAX", "limits.instancesMax"],
  ["ERRAND_HOURLY_USD_MAX", "limits.hourlyUsdMax"],
  ["ERRAND_LOG_LEVEL", "logLevel"],
  ["ERRAND_LOG_FORMAT", "logFormat"],
  ["ERRAND_METRICS_PORT", "metricsPort"],
];

type Sources = {
  readonly flags?: ConfigFlags;
  readonly environment?: Environment;
  readonly file?: ConfigFile | undefined;
};

/** Throws UserError with all that is wrong. */
export function parseConfig({ flags = {}, environment = {}, file }: Sources): Config {
  const { value: settings, problems } = file ? readYaml(file) : { value: {}, problems: [] };
  /** Where a value comes from, by its path; the file where nothing else is said. */
  const origins = new Map<string, string>();
  for (const setting of [...fromEnvironment(environment), ...fromFlags(flags)]) {
    set(settings, setting, origins);
  }
  const parsed = configSchema.safeParse(settings);
  if (parsed.success && problems.length === 0) {
    const directory = file?.directory ?? ".";
    const providers = parsed.data.providers.map((module) => ({ module, directory }));
    return { ...parsed.data, providers };
  }
  const fallback = file?.name ?? "configuration";
  const issues = parsed.error?.issues ?? [];
  // Of a file that cannot be read nobody knows what is missing in it.
  const all =
    problems.length > 0
      ? problems
      : issues.flatMap((each) => describeIssue(each, origins, fallback));
  const heading = all.length === 1 ? "" : `the configuration has ${all.length} problems:\n`;
  throw new UserError(`${heading}${all.join("\n")}`);
}

type Setting = { readonly path: string; readonly value: unknown; readonly origin: string };

/** Last the one that counts. */
const fromEnvironment = (environment: Environment): readonly Setting[] =>
  VARIABLES.toReversed().flatMap(([origin, path]) => {
    const text = environment[origin];
    return text ? [{ path, value: isNumber(path) ? numberOf(text) : text, origin }] : [];
  });

const isNumber = (path: string): boolean => path.startsWith("limits.") || path === "metricsPort";

/** A text that is no number stays one, and the schema refuses it. */
const numberOf = (text: string): unknown =>
  text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);

const fromFlags = (flags: ConfigFlags): readonly Setting[] =>
  Object.entries(flags)
    .filter(([, value]) => value !== undefined)
    .map(([path, value]) => ({ path, value, origin: `--${flagName(path)}` }));

type Settings = Record<string, unknown>;

function set(
  settings: Settings,
  { path, value, origin }: Setting,
  origins: Map<string, string>,
): void {
  const names = path.split(".");
  const last = names.pop() ?? "";
  let at = settings;
  for (const name of names) {
    if (!isSettings(at[name])) at[name] = {};
    at = at[name] as Settings;
  }
  at[last] = value;
  origins.set(path, origin);
}

const isSettings = (value: unknown): value is Settings =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const flagName = (path: string): string =>
  (path.split(".").at(-1) ?? "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** One problem for each unknown key, else one for the issue. */
function describeIssue(
  issue: z.core.$ZodIssue,
  origins: ReadonlyMap<string, string>,
  fallback: string,
): readonly string[] {
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const full = [...issue.path, key].join(".");
      const near = nearestNames(key, known).map((each) => `"${each}"`);
      const hint =
        near.length > 0 ? `did you mean ${near.join(" or ")}?` : `there are ${known.join(", ")}`;
      return `${origins.get(full) ?? fallback}: "${full}" is no setting; ${hint}`;
    });
  }
  if (issue.code === "invalid_key") {
    return issue.issues.map(({ message }) => `${fallback}: ${path}: ${message}`);
  }
  return [`${origins.get(path) ?? fallback}: ${path}: ${issue.message}`];
}

function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  let schema: unknown = configSchema;
  for (const name of path) schema = childOf(unwrapped(schema), name);
  const object = unwrapped(schema);
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function childOf(schema: unknown, name: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(name)];
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

function unwrapped(schema: unknown): unknown {
  if (schema instanceof z.ZodPipe) return schema.out;
  const isWrapped = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault;
  return isWrapped ? schema.unwrap() : schema;
}

function readYaml({ name, text }: ConfigFile): { value: Settings; problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems = document.errors.map((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    return `${name}:${line}:${col}: ${error.message}`;
  });
  if (problems.length > 0) return { value: {}, problems };
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  if (isSettings(value)) return { value, problems };
  if (value !== null) problems.push(`${name}: has to be a map of settings`);
  return { value: {}, problems };
}

/** Where AWS is, for a command that has no configuration yet. Throws UserError. */
export function readPlace(flags: {
  readonly region?: string | undefined;
  readonly endpoint?: string | undefined;
}): Pick<Config, "region" | "endpoint"> {
  const { region, endpoint } = flags;
  const { AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL } = process.env;
  const environment = { AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL };
  const config = parseConfig({ flags: { region, endpoint, bucket: "none" }, environment });
  return { region: config.region, endpoint: config.endpoint };
}

const DEFAULT_FILES = ["errand.yaml", "/etc/errand/errand.yaml"];

/**
 * The configuration of this process. `path` is --config; without it and ERRAND_CONFIG the first default file that
 * exists is read, and none is needed. Throws UserError.
 */
export async function loadConfig(
  flags: ConfigFlags,
  { path, cwd = process.cwd() }: { readonly path?: string | undefined; readonly cwd?: string } = {},
): Promise<Config> {
  const environment = process.env;
  const named = path ?? environment.ERRAND_CONFIG;
  const file = named ? await readNamed(named) : await readFirst(DEFAULT_FILES, cwd);
  return parseConfig({ flags, environment, file });
}

async function readNamed(path: string): Promise<ConfigFile> {
  try {
    return { name: path, text: await readFile(path, "utf8"), directory: dirname(resolve(path)) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, cause: unknown): UserError =>
  new UserError(`reading the configuration ${path}`, "Check --config and ERRAND_CONFIG.", {
    cause,
  });

async function readFirst(names: readonly string[], cwd: string): Promise<ConfigFile | undefined> {
  for (const name of names) {
    const path = name.startsWith("/") ? name : join(cwd, name);
    try {
      return { name, text: await readFile(path, "utf8"), directory: dirname(resolve(path)) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw unreadable(path, error);
    }
  }
  return undefined;
}

/** What systemd tells a service: where it listens for news, and how often it wants to hear, milliseconds. */
export function readServiceEnvironment(): {
  readonly socket: string | undefined;
  readonly watchdogMs: number | undefined;
  /** A directory for sockets and notes that is gone with the service. */
  readonly runtimeDirectory: string | undefined;
} {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, RUNTIME_DIRECTORY } = process.env;
  const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(process.pid);
  return {
    socket: NOTIFY_SOCKET || undefined,
    watchdogMs: isOurs && Number(WATCHDOG_USEC) > 0 ? Number(WATCHDOG_USEC) / 1_000 : undefined,
    runtimeDirectory: RUNTIME_DIRECTORY?.split(":")[0] || undefined,
  };
}

/** What machines of the local cloud take over of the host: where programs are, the language, ways out through proxies. */
export function readHostEnvironment(): Readonly<Record<string, string>> & {
  readonly PATH: string;
} {
  const isTaken = (name: string) =>
    /^(PATH|LANG|LC_\w+|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|(UV|PIP)_\w+)$/i.test(name);
  const taken = Object.entries(process.env).flatMap(([name, value]) =>
    isTaken(name) && value !== undefined ? [[name, value] as const] : [],
  );
  return { PATH: "", ...Object.fromEntries(taken) };
}
