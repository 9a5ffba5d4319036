/**
 * Sandboxes for machines: which kind the host lets us have. That is found out by making one, with a job in it. How one is laid out
 * is in `sandbox-layout.ts`, what makes it in `sandbox.py`.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { HostEnvironment } from "./machines.ts";
import { COOKIE_VARIABLE, REAPER_VARIABLE } from "./machines-processes.ts";
import { INSIDE, layOutSandbox } from "./sandbox-layout.ts";
import { findProgram } from "./sandbox-mounts.ts";

export const SANDBOX_CHOICES = ["auto", "bwrap", "unshare", "none"] as const;
export const EGRESS_CHOICES = ["any", "public", "none"] as const;

export type SandboxChoice = (typeof SANDBOX_CHOICES)[number];

export type SandboxOptions = {
  readonly choice: SandboxChoice;
  /** Where machines may go beside the cloud's endpoint: "any" is all but the host itself and link-local addresses. */
  readonly egress: (typeof EGRESS_CHOICES)[number];
  /** Ports of the host's loopback that are at 127.0.0.1 in machines, too. */
  readonly allowLoopback: readonly number[];
  /** Folders of the host that machines have at the same place, to write to: for tests. */
  readonly shares: readonly string[];
};

/**
 * Who the job is: another user of the machine, the only user but in a sandbox within the machine's, or the very user that
 * the runner is, who reaches all that the runner does.
 */
export type JobUser = "own-user" | "own-sandbox" | "machine-user";

export type RealSandbox = Omit<SandboxOptions, "choice"> & {
  readonly mode: "bwrap" | "unshare";
  /** For people: what isolates machines, and what does not. */
  readonly notice: string;
  readonly python: string;
  /** Empty when the mode is another. */
  readonly bwrap: string;
  readonly isRoot: boolean;
  readonly jobUser: JobUser;
};
export type NoSandbox = {
  readonly mode: "none";
  readonly notice: string;
  /** The Python that keeps a machine's processes together; empty where nothing does but a cookie. */
  readonly reaper: string;
};
export type Sandbox = RealSandbox | NoSandbox;

const run = promisify(execFile);

const PROBE_MS = 15_000;
const SCRIPT = fileURLToPath(new URL("sandbox.py", import.meta.url));

/** Throws Error with the cure when the kind that was asked for is not to be had. */
export async function chooseSandbox(
  options: SandboxOptions,
  host: HostEnvironment,
): Promise<Sandbox> {
  const { choice } = options;
  if (choice === "none") return withoutIsolation("as was asked for", host);
  const reasons: string[] = [];
  for (const mode of choice === "auto" ? (["bwrap", "unshare"] as const) : [choice]) {
    const found = await probe(mode, options, host);
    if (typeof found !== "string") return found;
    reasons.push(`${mode}: ${found}`);
  }
  if (choice === "auto") return withoutIsolation(reasons.join("; "), host);
  throw new Error(
    `there is no sandbox of the kind ${reasons.join("; ")}. ${CURES[choice]}, or choose another kind: auto, or none`,
  );
}

const ALLOW =
  "see that namespaces of users are allowed (sysctl user.max_user_namespaces, AppArmor)";
const CURES = {
  bwrap: `Install bubblewrap and Python 3.9 or newer, ${ALLOW}`,
  unshare: `Install Python 3.9 or newer with ctypes, ${ALLOW}`,
};

async function withoutIsolation(why: string, host: HostEnvironment): Promise<NoSandbox> {
  const reaper = await findReaper(host.PATH);
  const loss =
    reaper === "" ? "; a process that detaches and clears its environment may be left behind" : "";
  return {
    mode: "none",
    reaper,
    notice: `machines run without isolation, as the user of the local cloud, on its files and its network${loss} (${why})`,
  };
}

/** Of Linux alone is what a reaper needs. */
async function findReaper(path: string): Promise<string> {
  const python = process.platform === "linux" ? await findPython(path) : undefined;
  if (python === undefined) return "";
  const words = ["-I", "-S", "-c", "import ctypes; ctypes.CDLL(None).prctl"];
  return run(python, words, { timeout: PROBE_MS }).then(
    () => python,
    () => "",
  );
}

/** A sandbox, or why it is not to be had. */
async function probe(
  mode: RealSandbox["mode"],
  { egress, allowLoopback, shares }: SandboxOptions,
  host: HostEnvironment,
): Promise<RealSandbox | string> {
  if (process.platform !== "linux") return "needs Linux";
  const python = await findPython(host.PATH);
  if (python === undefined) return "there is no python3";
  const bwrap = mode === "bwrap" ? await findProgram("bwrap", host.PATH) : "";
  if (bwrap === undefined) return "it is not installed";
  const isRoot = process.geteuid?.() === 0;
  const common = { mode, python, bwrap, isRoot, egress, allowLoopback, shares };
  let answer = "";
  for (const jobUser of [isRoot ? "own-user" : "own-sandbox", "machine-user"] as const) {
    const why = answer === "" ? "" : ` (${answer})`;
    const notice = `machines run in sandboxes of ${mode}; ${JOB_NOTICES[jobUser]}${why}`;
    const sandbox = { ...common, jobUser, notice };
    answer = await tryOut(sandbox, host);
    if (answer === "") return sandbox;
  }
  return answer;
}

const JOB_NOTICES = {
  "own-user": "a job has a user of its own there",
  "own-sandbox": "a job has a sandbox of its own there",
  "machine-user": "a job is not isolated from the runner there, and reaches the metadata service",
};

/** The system's own first: one of pyenv's shims takes longer to start than the whole machine. */
async function findPython(path: string): Promise<string | undefined> {
  const found = await findProgram("python3", `/usr/bin:/usr/local/bin:${path}`);
  return found && (await realpath(found));
}

/** Makes a machine that does nothing but start a job that does nothing. Returns what went wrong. */
async function tryOut(sandbox: RealSandbox, host: HostEnvironment): Promise<string> {
  const at = await mkdtemp(join(tmpdir(), "errand-sandbox-"));
  try {
    await mkdir(join(at, "bin"));
    for (const name of ["boot", "user-data", "bin/.power"]) await writeFile(join(at, name), "");
    const place = {
      instanceId: "i-0",
      at,
      metadataEndpoint: "http://127.0.0.1:9/imds/i-0/none",
      host,
      own: {},
    };
    const config = await layOutSandbox(sandbox, place, probeCommand(sandbox));
    const child = spawn(sandbox.python, sandboxWords(config), {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const wire = child.stdio[3];
    if (wire instanceof Socket)
      wire
        .on("error", () => {})
        .end("go\n")
        .resume();
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_MS);
    const [code] = (await once(child, "close")) as [number | null];
    clearTimeout(timer);
    if (code === 0) return "";
    return said.trim().split("\n").at(-1) || `it ended with ${code ?? "a signal"}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await rm(at, { recursive: true, force: true });
  }
}

function probeCommand({ jobUser }: RealSandbox): readonly string[] {
  if (jobUser !== "own-sandbox") return ["/bin/sh", "-c", "exit 0"];
  const base = `${INSIDE.temporary}/probe`;
  const lines = [
    `mkdir -p ${base}/job`,
    `printf %s "$1" >${base}/spec`,
    `exec ${INSIDE.bin}/as-job ${base} ${base}/spec`,
  ];
  const spec = JSON.stringify([["/bin/sh", "-c", "exit 0"], "/", {}]);
  return ["/bin/sh", "-c", lines.join(" && "), "sh", spec];
}

/** What starts a machine without a sandbox; the rest is the command. It speaks on descriptor 3 as the other does. */
export const reaperWords = (file: string): string[] => [
  ...["-I", "-S", SCRIPT, "reap", file, REAPER_VARIABLE, COOKIE_VARIABLE],
];

/** What runs a command inside a machine that is there, which is known by a variable of its processes. */
export const enterWords = (cookie: string, words: readonly string[]): string[] => [
  ...["-I", "-S", SCRIPT, "enter", `${COOKIE_VARIABLE}=${cookie}`, ...words],
];

/** What starts a machine. Its output is the machine's console; on descriptor 3 it speaks as `machines-start.ts` has it. */
export const sandboxWords = (config: string): string[] => ["-I", "-S", SCRIPT, "run", config];
