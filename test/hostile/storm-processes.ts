/** The processes of the storm: a local cloud alone, daemons that are killed, and what counts the work that jobs do. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, statfsSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { LocalNote } from "../../src/cli/local-note.ts";

const MAIN = path.join(import.meta.dirname, "../../dist/src/cli/main.js");

const environment = (): NodeJS.ProcessEnv => {
  const kept = Object.entries(process.env).filter(([name]) => !/^(AWS|ERRAND)_/.test(name));
  return { ...Object.fromEntries(kept), UV_OFFLINE: "1", ERRAND_INSTANCES_MAX: "8" };
};

export type StormCloud = { readonly data: string; readonly note: LocalNote };

/** `letIn` is a port of loopback that jobs reach. */
export async function startStormCloud(letIn: number): Promise<StormCloud> {
  const data = await mkdtemp(path.join(tmpdir(), "errand-storm-"));
  const words = ["local", "--no-daemon", "--data", data, "--port", "0", "--log-level", "warn"];
  const child = spawn(process.execPath, [MAIN, ...words, "--allow-loopback", String(letIn)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment(),
  });
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(data, { recursive: true, force: true });
  });
  for await (const line of createInterface(child.stdout)) if (line.startsWith("ready ")) break;
  child.stdout.resume();
  const note = JSON.parse(await readFile(path.join(data, "local.json"), "utf8")) as LocalNote;
  return { data, note };
}

export type Daemon = {
  readonly isReady: () => boolean;
  readonly isAlive: () => boolean;
  /** Resolves with the exit code, null after SIGKILL. */
  readonly end: (signal: "SIGKILL" | "SIGTERM") => Promise<number | null>;
};

/** Its log goes to a file that is open already. */
export function startDaemon(data: string, log: number): Daemon {
  const child: ChildProcess = spawn(
    process.execPath,
    [MAIN, "daemon", "--local", "--data", data, "--log-format", "json"],
    { stdio: ["ignore", "pipe", log], env: environment() },
  );
  let isReady = false;
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    isReady ||= text.includes("ready ");
  });
  const ended = once(child, "exit") as Promise<[number | null]>;
  onTestFinished(() => void child.kill("SIGKILL"));
  const isAlive = () => child.exitCode === null && child.signalCode === null;
  return {
    isReady: () => isReady && isAlive(),
    isAlive,
    end: async (signal) => {
      if (isAlive()) child.kill(signal);
      const [code] = await ended;
      return code;
    },
  };
}

/** Jobs tell it that they begin, by run, job and attempt. */
export async function startWorkCounter() {
  const counts = new Map<string, number>();
  const server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    response.end("counted");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { counts, port: (server.address() as AddressInfo).port };
}

export type FullDisk = {
  readonly log: number;
  readonly name: string;
  readonly freeBytes: () => number;
};

/** A file on a disk with 4 KiB left: a small tmpfs, or for an ordinary user a device that is always full. */
export async function openFullDisk(data: string): Promise<FullDisk> {
  const folder = path.join(data, "small");
  mkdirSync(folder);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    return { log: openSync("/dev/full", "w"), name: "/dev/full", freeBytes: () => 0 };
  }
  writeFileSync(path.join(folder, "filler"), Buffer.alloc(12 * 1024));
  const log = openSync(path.join(folder, "daemon.log"), "a");
  onTestFinished(() => {
    closeSync(log);
    // The daemon may be dying still.
    execFileSync("umount", ["-l", folder]);
  });
  const freeBytes = () => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  return { log, name: "a tmpfs of 16 KiB, 12 of them taken,", freeBytes };
}

export async function waitUntil(
  what: string,
  isSo: () => Promise<boolean> | boolean,
  ms: number,
): Promise<void> {
  const until = Date.now() + ms;
  while (!(await isSo())) {
    if (Date.now() > until) throw new Error(`after ${ms} ms still not: ${what}`);
    await sleep(100);
  }
}
