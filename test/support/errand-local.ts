/** `errand local` as it was built, in a process of its own, and how much memory it ever took. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export type ErrandLocal = {
  readonly directory: string;
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** The most that was resident at once, MB; undefined where there is no /proc. */
  memoryMbMax(): Promise<number | undefined>;
  /** Ends the process and removes its directory. */
  dispose(): Promise<void>;
};

export async function startErrandLocal(): Promise<ErrandLocal> {
  const directory = await mkdtemp(join(tmpdir(), "errand-large-"));
  const main = join(import.meta.dirname, "../../dist/src/cli/main.js");
  const words = [main, "local", "--data", directory, "--port", "0", "--log-level", "warn"];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const dispose = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const lines = createInterface(child.stdout);
    for (let isReady = false; !isReady; ) {
      const [line] = await Promise.race([once(lines, "line"), ended.then(() => [undefined])]);
      if (line === undefined) throw new Error("errand local ended before it was ready");
      isReady = String(line).startsWith("ready ");
    }
    const note = JSON.parse(await readFile(join(directory, "local.json"), "utf8"));
    return { directory, ...note, memoryMbMax: () => readMemory(child.pid), dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function readMemory(pid: number | undefined): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kib = /VmHWM:\s+(\d+) kB/.exec(status)?.[1];
  return kib === undefined ? undefined : (Number(kib) * 1024) / 1e6;
}
