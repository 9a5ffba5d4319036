/** The provider `curl`: downloads one file. */
import type { Task } from "../core/workflow.ts";
import { environment } from "./environment.ts";
import { artifacts, innerPath, mayBeCovered } from "./paths.ts";
import { type Place, quote } from "./problem.ts";
import type { Context, JobPart, Provider } from "./provider.ts";
import { defined, fields, optional, type Reader, reject, required, scalar } from "./read.ts";
import { readResources, resourcesSchema } from "./resources.ts";
import { findEntry, type MapValue, type Value } from "./value.ts";

const WANTED_URL = {
  what: "the URL of a file",
  hint: "write it whole, as in https://example.com/data.csv",
};

export const url: Reader<string> = {
  schema: { type: "string", pattern: "^([Hh][Tt][Tt][Pp][Ss]?|[Ff][Tt][Pp])://" },
  read: (value, report) => {
    if (value.type !== "scalar" || typeof value.value !== "string") {
      return reject(value, WANTED_URL, report);
    }
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(value.value)?.[1]?.toLowerCase();
    if (scheme !== undefined && !["http", "https", "ftp"].includes(scheme)) {
      const hint = "only http, https and ftp are fetched";
      return report(value.place, `${quote(`${scheme}:`)} URLs are refused`, hint);
    }
    return isUrl(value.value) ? value.value : reject(value, WANTED_URL, report);
  },
};

/** Line breaks and other control characters would be dropped in silence by whoever parses the URL. */
function isUrl(text: string): boolean {
  const isClean = [...text].every((character) => character >= " " && character !== "\u007f");
  return isClean && text === text.trim() && /^[a-z]+:\/\//i.test(text) && URL.canParse(text);
}

const filePath = innerPath({ root: "the working directory", allowsRoot: false });

export const output: Reader<string> = {
  schema: filePath.schema,
  read: (value, report) => {
    const path = filePath.read(value, report);
    const isFolder = value.type === "scalar" && value.source.endsWith("/");
    if (path === undefined || !isFolder) return path;
    return report(value.place, `${quote(value.source)} is a folder`, "name the file in it too");
  },
};

export const sha256 = scalar<string>(
  { type: "string", pattern: "^[0-9a-fA-F]{64}$" },
  { what: "a SHA-256 checksum of 64 hex digits", hint: "sha256sum FILE prints it" },
  // Digits alone would be a YAML number: what counts is what is written.
  ({ source }) => (/^[0-9a-f]{64}$/i.test(source) ? source.toLowerCase() : undefined),
);

const anything: Reader<Value> = { schema: resourcesSchema, read: (value) => value };

const parameters = fields(
  {
    url: required(url),
    output: required(output),
    sha256: optional(sha256),
    environment: optional(environment),
    working_dir: optional(innerPath({ root: "the bundle", allowsRoot: true })),
    artifacts: optional(artifacts),
    resources: optional(anything),
  },
  { what: "a map of parameters" },
);

export const curl: Provider = { name: "curl", parameters: parameters.schema, compile };

function compile(map: MapValue, context: Context): readonly JobPart[] | undefined {
  const read = parameters.read(map, context.report);
  const resources = readResources(
    findEntry(map, "resources")?.value,
    // A download waits for the network: CPU credits do not matter to it.
    { burstable: true },
    context,
  );
  if (!read || !resources) return undefined;
  const artifactPaths = [...(read.artifacts ?? [])];
  const outputPlace = findEntry(map, "output")?.value.place ?? map.place;
  warnIfLost(read.output, artifactPaths, outputPlace, context);
  const task: Task = {
    type: "curl",
    url: read.url,
    output: read.output,
    ...defined({ sha256: read.sha256 }),
  };
  const part: JobPart = {
    part: "",
    task,
    environment: { ...read.environment },
    workingDir: read.working_dir ?? ".",
    artifacts: artifactPaths,
    resources,
  };
  return [part];
}

export function warnIfLost(
  path: string,
  artifactPaths: readonly string[],
  place: Place,
  { warn }: Context,
): void {
  if (mayBeCovered(path, artifactPaths)) return;
  warn(
    place,
    `${quote(path)} lies under no artifact and will be gone with the machine`,
    "list it, or its folder, under artifacts",
  );
}
