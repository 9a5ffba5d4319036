/** A local cloud and a daemon whose machines are booted: Debian with systemd and cloud-init in systemd-nspawn. Needs root. */
import { execFile, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, vi } from "vitest";
import { type HostProcess, listProcesses } from "../../src/local/machines-processes.ts";
import { type Host, startHost } from "./daemon-host.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

/** The Debian root, or why there is none on this machine. */
export type DebianRoot = { readonly path: string } | { readonly reason: string };

export function makeDebianRoot(): DebianRoot {
  const script = join(root, "scripts/debian.sh");
  const { status, stdout, stderr } = spawnSync("bash", [script, "boot"], { encoding: "utf8" });
  if (status === 0) return { path: stdout.trim() };
  const reason = stderr.trim().split("\n").at(-1) ?? "a Debian root could not be made";
  process.stderr.write(`skipped, nothing boots here: ${reason}\n`);
  return { reason };
}

/** A boot takes some seconds, and many on a busy machine. */
export const BOOT_WAIT = { timeout: 120_000, interval: 100 };

/** `roots` are laid one over the other, the topmost first; `words` are more words for systemd-nspawn. */
export const startBootedHost = (
  roots: readonly string[],
  words: readonly string[] = [],
): Promise<Host> =>
  startHost({
    waitMs: BOOT_WAIT.timeout,
    local: {
      sandbox: "none",
      environment: { PATH: process.env.PATH ?? "" },
      machineProgram: [
        "python3",
        join(root, "test/support/boot-machine.py"),
        join(root, "src/local"),
        roots.join(":"),
        ...words,
      ],
    },
  });

const python = "/opt/python3.9";

/**
 * Makes a Debian root look like Amazon Linux 2023 to what runs on it: Python 3.9 is the system's, and there is no apt. Returns what is to be
 * laid over the root, and words for systemd-nspawn; undefined where there is no Python 3.9 that does not need its place.
 */
export async function makeAmazonLayer(debian: string, layer: string) {
  const folder = join(homedir(), ".pyenv/versions");
  const names = await readdir(folder).catch(() => []);
  const version = names.find((name) => name.startsWith("3.9."));
  if (version === undefined) return undefined;
  await mkdir(join(layer, "usr/bin"), { recursive: true });
  await mkdir(join(layer, "usr/lib"));
  await mkdir(join(layer, "etc"));
  for (const name of ["apt", "apt-get", "apt-cache", "dpkg"]) {
    // In an overlay, the sign that there is nothing.
    await run("mknod", [join(layer, "usr/bin", name), "c", "0", "0"]);
  }
  await symlink(join(python, "bin/python3.9"), join(layer, "usr/bin/python3.9"));
  await symlink("python3.9", join(layer, "usr/bin/python3"));
  // It may be shared, and looks for that where it was built.
  const library = "lib/libpython3.9.so.1.0";
  await symlink(join(python, library), join(layer, "usr", library));
  const cloudInit = await readFile(join(debian, "usr/bin/cloud-init"), "utf8");
  const own = cloudInit.replace(/^#!.*/, "#!/usr/bin/python3.11");
  await writeFile(join(layer, "usr/bin/cloud-init"), own, { mode: 0o755 });
  await writeFile(join(layer, "usr/bin/dnf"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  await writeFile(join(layer, "etc/os-release"), 'ID="amzn"\nVERSION_ID="2023"\n');
  return { layer, words: [`--bind-ro=${join(folder, version)}:${python}`] };
}

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
      return (await run("nsenter", [...target, ...words])).stdout;
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
