import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { listSurvivors } from "../../../src/local/survivors.ts";

/** What a machine would leave behind that has cleared its environment, taken a session of its own and lost its parent. */
async function plant(workingDir: string): Promise<number> {
  const shell = spawn("/bin/sh", ["-c", "sleep 60 >/dev/null 2>&1 & echo $!"], {
    cwd: workingDir,
    env: {},
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [pid] = await once(shell.stdout, "data");
  if (shell.exitCode === null) await once(shell, "exit");
  return Number(pid);
}

it.runIf(process.platform === "linux")(
  "a process that has neither cookie nor environment nor parent is counted by the machine's files that it has open",
  async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "errand-survivors-")));
    const disk = join(folder, "data/ec2/instances/i-0123456789abcdef0/disk");
    await mkdir(disk, { recursive: true });
    const pid = await plant(disk);
    const other = await plant(folder);
    try {
      expect(await listSurvivors(folder)).toEqual([pid]);
      // Also when the machine's folder has gone.
      await rm(folder, { recursive: true });
      expect(await listSurvivors(folder)).toEqual([pid]);
    } finally {
      for (const each of [pid, other]) process.kill(each, "SIGKILL");
    }
  },
);
