/** Errand's own processes, for benches that ask what they take: the local cloud in one, a daemon as on AWS in another. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { LocalNote } from "../../src/cli/local-note.ts";

const MAIN = "dist/src/cli/main.js";

export type Served = {
  readonly pid: number | undefined;
  readonly stop: () => Promise<void>;
};

export type BenchCloud = Served & { readonly directory: string; readonly note: LocalNote };

export type BenchDaemon = Served & {
  /** Where it leaves the note of its log stream. */
  readonly home: string;
  /** By which commands reach it as its user. */
  readonly environment: NodeJS.ProcessEnv;
};

export async function startCloud(words: readonly string[] = []): Promise<BenchCloud> {
  const directory = mkdtempSync(join(tmpdir(), "errand-bench-"));
  const child = await start(
    ["local", "--no-daemon", "--data", directory, "--port", "0", ...words],
    {},
  );
  return {
    pid: child.pid,
    directory,
    note: JSON.parse(readFileSync(join(directory, "local.json"), "utf8")) as LocalNote,
    stop: async () => {
      await end(child);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** With the intervals that hold on AWS: chunks every 2 s. */
export async function startDaemon(note: LocalNote): Promise<BenchDaemon> {
  const home = mkdtempSync(join(tmpdir(), "errand-home-"));
  mkdirSync(join(home, ".local"));
  const config = join(home, "errand.yaml");
  const { region, bucket, endpoint, queueUrl, instanceProfile } = note;
  const settings = { region, bucket, endpoint, queueUrl, instanceProfile, allowsHostPython: true };
  writeFileSync(config, JSON.stringify(settings));
  const environment = {
    HOME: home,
    ERRAND_CONFIG: config,
    AWS_ACCESS_KEY_ID: note.accessKeyId,
    AWS_SECRET_ACCESS_KEY: note.secretAccessKey,
  };
  const child = await start(["daemon"], environment);
  return {
    pid: child.pid,
    home,
    environment,
    stop: async () => {
      await end(child);
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export const startCommand = (words: readonly string[], environment: NodeJS.ProcessEnv) =>
  spawn(process.execPath, [MAIN, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });

async function start(
  words: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<ChildProcess> {
  const child = startCommand([...words, "--log-level", "warn"], environment);
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("ready ")) continue;
    child.stdout.resume();
    return child;
  }
  throw new Error(`errand ${words[0]} ended before it was ready`);
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  if (child.kill("SIGTERM")) await gone;
}

/** Of a process, from /proc; NaN where there is none. */
export function cpuMs(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return Number.NaN;
  }
}

/** What is resident now; NaN where nobody knows. */
export function memoryMib(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}
