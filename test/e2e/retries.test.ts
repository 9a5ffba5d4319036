/** Further tries, of jobs that fail and of machines that are lost. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { findLocalCloud } from "../../src/cli/local-note.ts";
import { makeDirectory } from "../support/directory.ts";
import { listMachineProcesses, startErrand } from "../support/errand.ts";
import { makeFaultCalls } from "../support/faults.ts";

const TRY = `
import os, sys, time
attempt = os.environ["ERRAND_ATTEMPT"]
print("try", attempt, flush=True)
if sys.argv[1] == "fails" and attempt == "1":
    sys.exit(1)
if sys.argv[1] == "waits":
    time.sleep(120)
`;

/** Kills the runner of the only machine that lives, as the kernel would for its memory. False where there is no /proc to find it in. */
async function killRunner(data: string): Promise<boolean> {
  if (!existsSync("/proc/self/cmdline")) return false;
  const pids = await listMachineProcesses(data);
  const isRunner = (pid: number) => readFileSync(`/proc/${pid}/cmdline`).includes("boot.main(");
  const [runner, ...others] = pids.filter(isRunner);
  expect([runner, others]).toEqual([expect.any(Number), []]);
  process.kill(runner ?? 0, "SIGKILL");
  return true;
}

it("a job whose machine is lost is tried twice again by default and then failed, one that fails only where retry says so", async () => {
  const errand = await startErrand();
  const note = await findLocalCloud(errand.data);
  if (!note) throw new Error("no local cloud");
  const faults = makeFaultCalls(() => note as never);
  const job = (name: string, what: string, retry: string) =>
    `  - {name: ${name}, provider: python, python_script: try.py ${what}, resources: {cpu: ${name.length}${retry}}}\n`;
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${job("lost", "waits", "")}${job("again", "fails", ", retry: {failed: 1}")}${job("once", "fails", "")}`,
    "try.py": TRY,
  });
  const submitted = errand.start("submit", directory);
  for (const attempt of [1, 2, 3]) {
    await submitted.said(new RegExp(`^lost +\\| try ${attempt}$`, "m"));
    const { jobs } = await errand.show();
    const { attempts = [] } = jobs.find(({ name }) => name === "lost") ?? {};
    const instanceId = attempts[attempt - 1]?.instanceId ?? "none";
    if (attempt === 3 && (await killRunner(errand.data))) continue;
    await faults.add({ fault: "instance-dies", match: { instanceId } });
  }
  expect((await submitted.finished).code).toBe(1);

  const view = await errand.show();
  const told = view.jobs.map(({ name, state, attempts }) => [
    name,
    state,
    attempts.map((attempt) => attempt.state),
  ]);
  expect(Object.fromEntries(told.map(([name, ...rest]) => [name, rest]))).toEqual({
    lost: ["failed", ["lost", "lost", "lost"]],
    again: ["succeeded", ["failed", "succeeded"]],
    once: ["failed", ["failed"]],
  });
  const log = await errand.run("logs", "latest", "lost");
  expect(log.stdout.match(/^try \d$/gm)).toEqual(["try 1", "try 2", "try 3"]);
});
