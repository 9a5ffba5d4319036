/** The provider `python`: a script with arguments, on a Python of its own with its own packages. */
import type { Task } from "../core/workflow.ts";
import { environment } from "./environment.ts";
import { artifacts, innerPath } from "./paths.ts";
import { quote, type Report } from "./problem.ts";
import type { Context, JobPart, Provider, WantedFile } from "./provider.ts";
import {
  byShape,
  defined,
  fields,
  list,
  mapped,
  optional,
  type Reader,
  reject,
  required,
  scalar,
} from "./read.ts";
import { readResources, resourcesSchema } from "./resources.ts";
import { checkRole, role } from "./role.ts";
import type { MapValue, Value } from "./value.ts";
import { splitWords } from "./words.ts";

type PythonTask = Extract<Task, { type: "python" }>;
type Requirements = NonNullable<PythonTask["requirements"]>;
type Words = { readonly words: readonly string[]; readonly shellOnly: readonly string[] };

const DEFAULT_VERSION = "3.10";
export const OLDEST_MINOR = 8;

const WANTED_SCRIPT = {
  what: "a script with its arguments",
  hint: "write python_script: train.py --epochs 3",
};

const script: Reader<Words> = {
  schema: { type: "string", minLength: 1 },
  read: (value, report) => {
    if (value.type !== "scalar" || typeof value.value !== "string") {
      return reject(value, WANTED_SCRIPT, report);
    }
    const split = splitWords(value.value);
    if (split.type === "unbalanced") return reportOpen(split, value, report);
    if (split.words.length === 0) return reject(value, WANTED_SCRIPT, report);
    if (!value.value.includes("\0")) return split;
    return report(value.place, "holds a NUL character", "take it out");
  },
};

function reportOpen(
  open: { readonly mark: string; readonly offset: number },
  value: Value,
  report: Report,
): undefined {
  const where = `at character ${open.offset + 1}`;
  if (open.mark === "\\") {
    return report(value.place, `nothing follows the \\ ${where}`, "write \\\\ for a backslash");
  }
  const hint = `close it, or write \\${open.mark} for the character itself`;
  return report(value.place, `the quote ${open.mark} ${where} is never closed`, hint);
}

/** Unquoted `3.10` is a YAML float: its source text still says 3.10. */
export const version: Reader<string> = {
  schema: { anyOf: [{ type: "string", pattern: "^3\\.[0-9]+$" }, { type: "number" }] },
  read: (value, report) => {
    const wanted = {
      what: `a Python version from 3.${OLDEST_MINOR} on, as "3.12"`,
      hint: "name major and minor version",
    };
    if (value.type !== "scalar") return reject(value, wanted, report);
    const tooOld = `Python ${value.source} is too old`;
    const cure = `ask for 3.${OLDEST_MINOR} or later`;
    if (/^[0-2](?:\.\d{1,2}){0,2}$/.test(value.source)) return report(value.place, tooOld, cure);
    const minor = /^3\.(\d{1,2})$/.exec(value.source)?.[1];
    if (minor === undefined) return reject(value, wanted, report);
    if (Number(minor) >= OLDEST_MINOR) return `3.${Number(minor)}`;
    return report(value.place, tooOld, minor === "1" ? 'did you mean "3.10"?' : cure);
  },
};

const WANTED_REQUIREMENTS = {
  what: "the path of a requirements file, or a list of packages",
  hint: "write requirements: requirements.txt, or one package a line after a dash",
};
const filePath = innerPath({ root: "the working directory", allowsRoot: false });

const requirementsFile: Reader<Requirements> = {
  schema: filePath.schema,
  read: (value, report) => {
    const isPackage =
      value.type === "scalar" && typeof value.value === "string" && /[<>=~!]=/.test(value.value);
    if (isPackage) return reject(value, WANTED_REQUIREMENTS, report);
    const file = filePath.read(value, report);
    return file === undefined ? undefined : { file };
  },
};

const packageName = scalar<string>(
  { type: "string", minLength: 1 },
  { what: 'a package, as in "numpy==1.26.4"', hint: "put it in quotes" },
  ({ value }) =>
    typeof value === "string" && value.trim() !== "" && !/[\n\r\0]/.test(value)
      ? value.trim()
      : undefined,
);

const requirements = byShape<Requirements>(
  {
    scalar: requirementsFile,
    list: mapped(list(packageName, WANTED_REQUIREMENTS), (packages) => ({
      packages: [...packages],
    })),
  },
  WANTED_REQUIREMENTS,
);

const anything: Reader<Value> = { schema: resourcesSchema, read: (value) => value };

const parameters = fields(
  {
    python_script: required(script),
    requirements: optional(requirements),
    python: optional(version),
    environment: optional(environment),
    role: optional(role),
    working_dir: optional(innerPath({ root: "the bundle", allowsRoot: true })),
    artifacts: optional(artifacts),
    resources: optional(anything),
  },
  { what: "a map of parameters" },
);

export const python: Provider = { name: "python", parameters: parameters.schema, compile };

function compile(map: MapValue, context: Context): readonly JobPart[] | undefined {
  const read = parameters.read(map, context.report);
  const resources = readResources(
    map.entries.find(({ key }) => key === "resources")?.value,
    { burstable: false },
    context,
  );
  checkRole(map, context);
  if (!read || !resources) return undefined;
  warnOfShell(read.python_script, map, context);
  const task: PythonTask = {
    type: "python",
    version: read.python ?? DEFAULT_VERSION,
    words: [...read.python_script.words],
    ...defined({ requirements: read.requirements }),
  };
  const part: JobPart = {
    part: "",
    task,
    environment: { ...read.environment },
    workingDir: read.working_dir ?? ".",
    artifacts: [...(read.artifacts ?? [])],
    resources,
    ...defined({ role: read.role }),
    wants: wantedFiles(read.working_dir ?? ".", task, map),
  };
  return [part];
}

/** `-m module` and what stands on the machine's own image are found by nobody but Python. */
function wantedFiles(
  workingDir: string,
  { words, requirements: wished }: PythonTask,
  map: MapValue,
): readonly WantedFile[] {
  const placeOf = (key: string) =>
    map.entries.find((entry) => entry.key === key)?.value.place ?? map.place;
  const below = (path: string) => (workingDir === "." ? path : `${workingDir}/${path}`);
  const [script = ""] = words;
  const files: WantedFile[] = [];
  if (!/^[-/]/.test(script)) {
    files.push({ what: "script", path: below(script), place: placeOf("python_script") });
  }
  if (wished && "file" in wished) {
    const place = placeOf("requirements");
    files.push({ what: "requirements file", path: below(wished.file), place });
  }
  return files;
}

/** No shell runs the script: what only a shell understands reaches it as it stands. */
function warnOfShell({ shellOnly }: Words, map: MapValue, context: Context): void {
  const entry = map.entries.find(({ key }) => key === "python_script");
  if (shellOnly.length === 0 || !entry) return;
  context.warn(
    entry.value.place,
    `${shellOnly.map(quote).join(", ")} reaches the script as it stands: no shell reads the line`,
    "quote it to say that this is meant",
  );
}
