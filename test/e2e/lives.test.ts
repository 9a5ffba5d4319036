import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import type { RunView } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, listMachineProcesses, shareErrand } from "../support/errand.ts";
import { shareServer } from "../support/serve.ts";

/** Answers nobody before there are so many. */
let companyMin = 1;
const waiting = new Set<ServerResponse>();
const gate = shareServer((_, response) => {
  waiting.add(response);
  letThrough();
});
function letThrough(): void {
  if (waiting.size < companyMin) return;
  for (const response of waiting) response.end();
  waiting.clear();
}
const shared = shareErrand();

const project = (python: Readonly<Record<string, string>>, extra = "") =>
  makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${Object.keys(python)
      .map(
        (name) =>
          `  - name: ${name}\n    provider: python\n    python_script: ${name}.py\n    artifacts: [out]\n`,
      )
      .join("")}${extra}`,
    ...Object.fromEntries(Object.entries(python).map(([name, text]) => [`${name}.py`, text])),
  });

const script = (wait: string) => `
import os, time, urllib.request
os.makedirs("out")
open("out/begun.txt", "w").write("begun")
print("begun", flush=True)
${wait}
open("out/done.txt", "w").write("done")
print("done", flush=True)
`;
const slow = script("time.sleep(120)");
/** Until the gate lets it through. */
const patient = () => script(`urllib.request.urlopen("${gate()}")`);

/** A run that is only dropped has no jobs yet. */
const isRunning = ({ jobs }: RunView): boolean =>
  jobs.length > 0 && jobs.every((job) => job.state === "running");
const isFinished = (view: RunView): boolean => view.finishedAt !== null;
const isAtTheGate = async () => expect.poll(() => waiting.size, { timeout: 20_000 }).toBe(1);
const attemptsOf = (view: RunView) => view.jobs.flatMap((job) => job.attempts);

async function submit(errand: Errand, python: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await errand.run("submit", await project(python), "--detach", "--json");
  return (JSON.parse(stdout) as RunView).id;
}

describe("a daemon that dies", () => {
  it("in the middle of a job leaves the job to go on, and the next one ends the run", async () => {
    const errand = shared();
    companyMin = 2;
    const id = await submit(errand, { slow: patient() });
    const before = await errand.until("a running job", isRunning, id);
    await isAtTheGate();
    await errand.kill();
    await errand.restart();
    companyMin = 1;
    letThrough();
    const view = await errand.until("the run's end", isFinished, id);

    expect(view.state).toBe("succeeded");
    // One instance was launched, and it is the one that ran before.
    expect(attemptsOf(view)).toHaveLength(1);
    expect(attemptsOf(view)[0]?.instanceId).toBe(attemptsOf(before)[0]?.instanceId);
    const listed = JSON.parse((await errand.run("instances", "--all", "--json")).stdout);
    expect((listed as { instanceId: string }[]).map((line) => line.instanceId)).toEqual([
      attemptsOf(view)[0]?.instanceId,
    ]);
    const log = await errand.run("logs", id, "slow");
    expect(log.stdout.split("\n").filter((line) => line === "begun" || line === "done")).toEqual([
      "begun",
      "done",
    ]);
  });
});

describe("a run that is cancelled", () => {
  it("ends its job gently and keeps what it made so far", async () => {
    const errand = shared();
    const followed = errand.start("submit", await project({ slow }));
    const [, id = ""] = await followed.said(/\((\S+)\) submitted.*slow \| begun/s);
    const cancelled = await errand.run("cancel", id);

    expect(cancelled.code).toBe(0);
    expect((await followed.finished).code).toBe(1);
    const view = await errand.show(id);
    expect(view.state).toBe("cancelled");
    expect(view.jobs[0]?.state).toBe("cancelled");
    const sets = await errand.run("artifacts", id, "slow", "--json");
    expect(sets.stdout).toContain("out/begun.txt");
    expect((await errand.run("cancel", id)).code).toBe(2);
  });

  it("at once has no machine left soon after", async () => {
    const errand = shared();
    const id = await submit(errand, { slow });
    await errand.until("a running job", isRunning, id);
    await errand.run("cancel", id, "--now");
    const view = await errand.until("the run's end", isFinished, id);

    expect(view.state).toBe("cancelled");
    expect(await listMachineProcesses(errand.data)).toEqual([]);
  });
});

describe("independent jobs", () => {
  it("run at the same time", async () => {
    const errand = shared();
    companyMin = 2;
    const id = await submit(errand, { one: patient(), two: patient() });
    const view = await errand.until("the run's end", isFinished, id);
    const [one, two] = attemptsOf(view);

    expect(view.state).toBe("succeeded");
    expect(Date.parse(one?.startedAt ?? "")).toBeLessThan(Date.parse(two?.endedAt ?? ""));
    expect(Date.parse(two?.startedAt ?? "")).toBeLessThan(Date.parse(one?.endedAt ?? ""));
  });
});

describe("Ctrl-C while a run is followed", () => {
  it("lets the run go on and says so", async () => {
    const errand = shared();
    companyMin = 2;
    const followed = errand.start("submit", await project({ slow: patient() }));
    const [, id = ""] = await followed.said(/\((\S+)\) submitted.*slow \| begun/s);
    await isAtTheGate();
    followed.child.kill("SIGINT");
    const { code, stderr } = await followed.finished;

    expect(code).toBe(130);
    expect(stderr).toContain("goes on without you");
    expect(stderr).toContain(`errand cancel ${id}`);
    companyMin = 1;
    letThrough();
    expect((await errand.until("the run's end", isFinished, id)).state).toBe("succeeded");
  });
});

describe("SIGTERM", () => {
  it("stops daemon and local cloud and leaves no process, even in the middle of a job", async () => {
    const errand = shared();
    const id = await submit(errand, { slow });
    await errand.until("a running job", isRunning, id);
    expect((await listMachineProcesses(errand.data)).length).toBeGreaterThan(0);

    expect(await errand.stop()).toBe(0);
    expect(await listMachineProcesses(errand.data)).toEqual([]);
  });
});
