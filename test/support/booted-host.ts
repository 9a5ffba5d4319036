/** A local cloud and a daemon whose machines are booted: Debian with systemd and cloud-init in systemd-nspawn. Needs root. */
import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, vi } from "vitest";
import { type HostProcess, listProcesses } from "../../src/local/machines-processes.ts";
import { type Host, startHost } from "./daemon-host.ts";

const root = join(import.meta.dirname, "../..");

/** The Debian root, or why there is none on this machine. */
export type DebianRoot = { readonly path: string } | { readonly reason: string };

export function makeDebianRoot(): DebianRoot {
  const script = join(root, "scripts/debian.sh");
  const { status, stdout, stderr } = spawnSync("bash", [script], { encoding: "utf8" });
  if (status === 0) return { path: stdout.trim() };
  const reason = stderr.trim().split("\n").at(-1) ?? "a Debian root could not be made";
  process.stderr.write(`skipped, nothing boots here: ${reason}\n`);
  return { reason };
}

/** A boot takes some seconds, and many on a busy machine. */
export const BOOT_WAIT = { timeout: 120_000, interval: 100 };

export const startBootedHost = (debian: string): Promise<Host> =>
  startHost({
    waitMs: BOOT_WAIT.timeout,
    local: {
      sandbox: "none",
      environment: { PATH: process.env.PATH ?? "" },
      machineProgram: [
        "python3",
        join(root, "test/support/boot-machine.py"),
        join(root, "src/local"),
        debian,
      ],
    },
  });

/** Processes of one booted machine, as the host sees them. */
export type BootedMachine = {
  /** An orderly shutdown, as EC2 begins one. */
  readonly shutDown: () => void;
  readonly reboot: () => Promise<void>;
  readonly killRunner: () => Promise<void>;
  /** Runs a command in it as its root. */
  readonly run: (...words: string[]) => Promise<string>;
  readonly readConsole: () => Promise<string>;
};

export async function findMachine(host: Host, instanceId: string): Promise<BootedMachine> {
  const folder = join(host.directory, "ec2/instances", instanceId);
  const pid = await vi.waitFor(async () => {
    const found = Number(await readFile(join(folder, "flags/nspawn"), "utf8"));
    expect(found).toBeGreaterThan(0);
    return found;
  }, BOOT_WAIT);
  const findFirst = async (): Promise<number> => {
    const first = (await listProcesses()).find(({ parent }) => parent === pid);
    if (!first) throw new Error(`machine ${instanceId} is off`);
    return first.pid;
  };
  return {
    shutDown: () => void process.kill(pid, "SIGTERM"),
    // What systemd as the first process does for ctrl-alt-del.
    reboot: async () => void process.kill(await findFirst(), "SIGINT"),
    killRunner: () =>
      vi.waitFor(async () => {
        const processes = await listProcesses();
        const runners = descendants(processes, pid).filter(isRunner);
        expect(runners).toHaveLength(1);
        for (const runner of runners) process.kill(runner, "SIGKILL");
      }, BOOT_WAIT),
    run: async (...words) => {
      const target = ["--target", String(await findFirst()), "--all"];
      return (await promisify(execFile)("nsenter", [...target, ...words])).stdout;
    },
    readConsole: () => readFile(join(folder, "console.log"), "utf8"),
  };
}

function descendants(processes: readonly HostProcess[], pid: number): readonly number[] {
  const children = processes.filter(({ parent }) => parent === pid).map((each) => each.pid);
  return [...children, ...children.flatMap((child) => descendants(processes, child))];
}

function isRunner(pid: number): boolean {
  const { stdout } = spawnSync("cat", [`/proc/${pid}/cmdline`], { encoding: "utf8" });
  return stdout.includes("boot.main(");
}
