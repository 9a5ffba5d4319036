/**
 * Shims of version managers (pyenv, asdf, mise) are scripts that look for the real program at every call, which takes a good part
 * of a second. A machine starts Python several times, and so has the real one before the shims on its PATH.
 */
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import type { HostEnvironment } from "./machines.ts";

const run = promisify(execFile);

const ANSWER_MS = 10_000;
const ASK = "import os, sys; print(os.path.dirname(sys.executable))";

/** The PATH with what each folder of shims stands for ahead of it; the same where there are no shims, or none of Python. */
export async function resolveShims(environment: HostEnvironment): Promise<string> {
  const entries = environment.PATH.split(":");
  const resolved = await Promise.all(
    entries.map(async (entry) => [...(await listReal(entry, environment)), entry]),
  );
  return [...new Set(resolved.flat())].join(":");
}

async function listReal(entry: string, environment: HostEnvironment): Promise<readonly string[]> {
  if (basename(entry) !== "shims") return [];
  try {
    // The machine's working directory has no say in it: on EC2 there are no shims that could heed it.
    const options = { cwd: "/", env: environment, timeout: ANSWER_MS };
    const { stdout } = await run(join(entry, "python3"), ["-I", "-c", ASK], options);
    const chosen = stdout.trim();
    return [chosen, ...(await listOthers(entry, chosen))];
  } catch {
    return [];
  }
}

/** pyenv's shims start only versions that are switched on; a job that asks for another by its name may have that. */
async function listOthers(entry: string, chosen: string): Promise<readonly string[]> {
  const versions = join(dirname(entry), "versions");
  if (dirname(dirname(chosen)) !== versions) return [];
  const names = (await readdir(versions)).filter((name) => /^\d+(\.\d+)+$/.test(name));
  const newestFirst = names.toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }));
  return newestFirst.map((name) => join(versions, name, "bin"));
}
