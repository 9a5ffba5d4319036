/** A Debian host with systemd, booted in systemd-nspawn on this host's network, for what scripts/install.sh puts on a host. Needs root. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, vi } from "vitest";
import { listProcesses } from "../../src/local/machines-processes.ts";
import { BOOT_WAIT } from "./booted-host.ts";

const execute = promisify(execFile);

export type InstalledHost = {
  /** Runs a script of bash as root; fails with what it wrote when it fails. */
  readonly run: (script: string) => Promise<string>;
  /** The service's properties, as `systemctl show` has them. */
  readonly service: () => Promise<Readonly<Record<string, string>>>;
  readonly stop: () => Promise<void>;
};

/** `release` is unpacked, and lies in /srv/release there; node is this process's. */
export async function bootInstalledHost(debian: string, release: string): Promise<InstalledHost> {
  const words = ["--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no"];
  words.push("--console=passive", `--machine=errand-install-${process.pid}`);
  // What is written is gone with the host.
  words.push(`--directory=${debian}`, "--volatile=overlay");
  words.push(
    `--bind-ro=${process.execPath}:/usr/local/bin/node`,
    `--bind-ro=${release}:/srv/release`,
  );
  // Any file says it, as long as it is one: past a device cloud-init looks for a cloud, for minutes.
  words.push(`--bind-ro=${join(release, "LICENSE")}:/etc/cloud/cloud-init.disabled`);
  const env = { PATH: process.env.PATH, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "0" };
  const nspawn = spawn("systemd-nspawn", words, { env, stdio: ["ignore", "ignore", "inherit"] });
  const run = async (script: string) => runIn(await findFirst(nspawn), script);
  try {
    await vi.waitFor(async () => {
      // "degraded" for what a container cannot do.
      const state = await run("systemctl is-system-running || true");
      expect(state.trim()).toMatch(/^(running|degraded)$/);
    }, BOOT_WAIT);
  } catch (error) {
    const jobs = await run("systemctl list-jobs --no-pager").catch(String);
    nspawn.kill("SIGKILL");
    throw new Error(`the host does not come up; what it waits for: ${jobs}`, { cause: error });
  }
  return {
    run,
    service: async () => parseProperties(await run("systemctl show errand")),
    stop: async () => {
      if (nspawn.exitCode !== null) return;
      const gone = once(nspawn, "exit");
      // Its own shell may be gone before it can answer.
      await run("systemctl poweroff").catch(() => {});
      await gone;
    },
  };
}

/** Looked for anew each time: at first, the child of systemd-nspawn is one that makes the host and ends. */
const findFirst = (nspawn: ChildProcess): Promise<number> =>
  vi.waitFor(async () => {
    if (nspawn.exitCode !== null) throw new Error(`systemd-nspawn ended with ${nspawn.exitCode}`);
    const first = (await listProcesses()).find(({ parent }) => parent === nspawn.pid);
    if (!first) throw new Error("the host has not begun to boot");
    return first.pid;
  }, BOOT_WAIT);

async function runIn(first: number, script: string): Promise<string> {
  const target = ["--target", String(first), "--all", "--wd=/"];
  const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const words = [...target, "env", "-i", path, "bash", "-c", script];
  try {
    const { stdout } = await execute("nsenter", words, { timeout: BOOT_WAIT.timeout });
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${script}\n${stdout}${stderr}`, { cause: error });
  }
}

const parseProperties = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text.split("\n").map((line) => {
      const end = line.indexOf("=");
      return [line.slice(0, end), line.slice(end + 1)];
    }),
  );
