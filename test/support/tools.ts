/** Programs from elsewhere that suites of `npm run test:all` need, installed by scripts/tools.sh when they are first asked for. */
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** The directory of the tool's programs, or why it cannot be had on this machine. */
export type Tool = { readonly bin: string } | { readonly reason: string };

export function installTool(name: "aws" | "moto" | "cfn-lint"): Tool {
  const script = join(import.meta.dirname, "../../scripts/tools.sh");
  const { status, stdout, stderr } = spawnSync("bash", [script, name], { encoding: "utf8" });
  if (status === 0) return { bin: stdout.trim() };
  const reason = stderr.trim().split("\n").at(-1) ?? "it could not be installed";
  process.stderr.write(`skipped, for want of ${name}: ${reason}\n`);
  return { reason };
}

const run = promisify(execFile);

export type Output = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs a program to its end, whatever its exit code is. It sees no environment but this one. */
export async function runTool(
  program: string,
  words: readonly string[],
  options: { readonly env: Readonly<Record<string, string>>; readonly cwd?: string },
): Promise<Output> {
  try {
    const { stdout, stderr } = await run(program, words, {
      ...options,
      encoding: "utf8",
      maxBuffer: 64 << 20,
      timeout: 120_000,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
    if (typeof code !== "number") throw error;
    return { code, stdout, stderr };
  }
}
