/** What a job asks of its machine: the plan, the machine that it gets, and how long it may run. */
import { expect, it } from "vitest";
import type { JobArtifacts } from "../../src/cli/manifests.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { makeDirectory } from "../support/directory.ts";
import { getText, listKeys, putObject } from "../support/drop.ts";
import { runErrand, shareErrand, waitFor } from "../support/errand.ts";

const shared = shareErrand();

const workflow = (name: string, resources: string, rest = ""): string =>
  `  - name: ${name}\n    provider: python\n    python_script: main.py\n    resources: {${resources}}\n${rest}`;

const project = (workflows: readonly string[], files: Record<string, string> = {}) =>
  makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${workflows.join("")}`,
    "main.py": "",
    ...files,
  });

it("a plan has the choice, its zones, prices, runners-up and the worst case, and nothing else, as JSON", async () => {
  const directory = await project([
    workflow("prepare", "gpu: 0, max_duration: 90m"),
    workflow("train", "cpu: 2, memory: 32GB, gpu: 1", "    depends-on: prepare\n"),
  ]);
  const { code, stdout } = await runErrand("plan", directory, "--local", "--json");
  const zones = ["us-east-1a", "us-east-1b", "us-east-1c"];
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    jobs: [
      {
        ...{ name: "prepare", workflow: "prepare", instanceType: "c6a.large", zones },
        ...{ hourlyUsd: 0.0765, worstCaseUsd: 0.11475 },
        runnersUp: [
          { instanceType: "c5a.large", hourlyUsd: 0.077 },
          { instanceType: "c7i-flex.large", hourlyUsd: 0.08479 },
          { instanceType: "c6i.large", hourlyUsd: 0.085 },
        ],
      },
      {
        ...{ name: "train", workflow: "train", instanceType: "g4dn.2xlarge", zones },
        ...{ hourlyUsd: 0.752, worstCaseUsd: 18.048 },
        runnersUp: [
          { instanceType: "g6.2xlarge", hourlyUsd: 0.9776 },
          { instanceType: "g5.2xlarge", hourlyUsd: 1.212 },
          { instanceType: "g4dn.4xlarge", hourlyUsd: 1.204 },
        ],
      },
    ],
    prices: { region: "us-east-1", pricedOn: "2026-07-20", isLive: false, isEstimate: false },
  });
});

it("a plan says what is cheaper and why it was not taken, and what a run costs at worst", async () => {
  const directory = await project([
    workflow("one", "cpu: 4, memory: 16GiB, max_duration: 10h"),
    workflow("two", "cpu: 4, memory: 16GiB, max_duration: 20h"),
  ]);
  const { stdout } = await runErrand("plan", directory, "--local");
  expect(stdout).toMatch(
    /^two +m6a\.xlarge +us-east-1a us-east-1b us-east-1c +\$0\.1728\/h +\$3\.46/m,
  );
  expect(stdout).toContain("all jobs, each once and to its max_duration: $5.18");
  expect(stdout).toContain("cheaper than m6a.xlarge, and not for one, two:");
  expect(stdout).toMatch(
    /^ +m5a\.xlarge +\$0\.1720\/h +an older generation for nearly the same price$/m,
  );
  expect(stdout).toMatch(/^ +t3\.xlarge +\$0\.1664\/h +burstable +and \d+ others$/m);
  expect(stdout).toMatch(/^ +c5ad\.xlarge +\$0\.1720\/h +8 GiB of memory, 16 GiB asked for/m);
});

it.each([
  ["cpu: 8", "c6a.2xlarge"],
  ["memory: 32GB", "x8i.large"],
  ["cpu: 4, memory: 32GiB", "r6a.xlarge"],
  ["gpu: {count: 1, name: A10G}", "g5.xlarge"],
  ["gpu: {memory: 24GB}", "g6.xlarge"],
  ["burstable: true", "t3a.medium"],
  ["arch: arm64, cpu: 2, memory: 8GiB", "m6g.large"],
  ["instance_type: m5.xlarge", "m5.xlarge"],
])("a plan for %s is %s", async (resources, instanceType) => {
  const directory = await project([workflow("a", resources)]);
  const { stdout } = await runErrand("plan", directory, "--local", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ jobs: [{ instanceType }] });
});

it("of types that count as equally cheap and are of one generation, that with fewer vCPUs is taken first", async () => {
  const directory = await project([workflow("a", "memory: 1024GiB")]);
  const { stdout } = await runErrand("plan", directory, "--local", "--json");
  const { jobs } = JSON.parse(stdout) as { jobs: { runnersUp: object[] }[] };
  // 32 vCPUs before 64, though they cost a little more.
  expect(jobs[0]?.runnersUp.slice(0, 2)).toEqual([
    { instanceType: "x2iezn.8xlarge", hourlyUsd: 6.672 },
    { instanceType: "x2idn.16xlarge", hourlyUsd: 6.66912 },
  ]);
});

it("a price limit below all that fits is refused with the nearest", async () => {
  const directory = await project([
    workflow("a", "gpu: 1, max_price: 0.50"),
    workflow("mistyped", "instance_type: g5.xlrage"),
  ]);
  const { code, stderr } = await runErrand("plan", directory, "--local");
  expect(code).toBe(2);
  expect(stderr).toContain("g5.xlrage: not offered in us-east-1; did you mean g5.xlarge?");
  expect(stderr).toContain(
    "a: no instance type fits; nearest: g4dn.xlarge: $0.526 an hour, at most $0.5 asked for",
  );
});

const WAITS = `
import signal, sys, time
def end(*_):
    open("out/ended.txt", "w").write("told to end")
    print("told to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else end)
open("out/begun.txt", "w").write("begun")
print("begun", flush=True)
time.sleep(300)
`;

it("a job that runs longer than max_duration gets SIGTERM, then SIGKILL, is timed-out, and keeps its artifacts, synced meanwhile", async () => {
  const errand = shared();
  const timed = (name: string, script: string) =>
    `  - name: ${name}\n    provider: python\n    python_script: ${script}\n    artifacts: [out]\n    resources: {max_duration: 2s, retry: {failed: 2}}\n`;
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${timed("gentle", "waits.py")}${timed("deaf", "waits.py deaf")}${workflow("after", "gpu: 0", "    depends-on: gentle\n")}`,
    "waits.py": WAITS,
    "main.py": "",
    "out/": "",
  });
  const submitted = errand.start("submit", directory);
  const [, id = ""] = await submitted.said(/\((\S+)\) submitted/);
  // What changes is uploaded while the job runs: the machine may be gone at any time.
  const synced = await waitFor(
    "a synced artifact",
    () => getText(errand, `runs/${id}/deaf/1/artifacts/out/begun.txt`).catch(() => ""),
    (text) => text !== "",
  );
  expect(synced).toBe("begun");
  expect((await errand.show(id)).jobs[0]?.state).toBe("running");
  const { code, stdout } = await submitted.finished;
  const view = await errand.show();

  expect(code).toBe(1);
  expect(stdout).toContain("gentle | told to end");
  expect(view.state).toBe("failed");
  expect(view.jobs.map(({ name, state, reason }) => [name, state, reason])).toEqual([
    ["deaf", "timed-out", "ran longer than max_duration (2s)"],
    ["gentle", "timed-out", "ran longer than max_duration (2s)"],
    ["after", "skipped", "gentle timed-out"],
  ]);
  const [deaf, gentle] = view.jobs.map(({ attempts }) => attempts[0]?.phases.run ?? 0);
  expect(gentle).toBeGreaterThanOrEqual(2_000);
  // Thirty seconds of grace lie between the two signals.
  expect(deaf).toBeGreaterThanOrEqual(32_000);
  // Time-outs are not tried again: they would take as long.
  expect(view.jobs.map(({ attempts }) => attempts.length)).toEqual([1, 1, 0]);
  const sets = JSON.parse((await errand.run("artifacts", "latest", "--json")).stdout);
  const kept = (sets as JobArtifacts[]).map(({ job, complete, entries }) => [
    ...[job, complete],
    ...entries.map((entry) => entry.path).filter((path) => path.endsWith(".txt")),
  ]);
  expect(kept).toEqual([
    ["deaf", false, "out/begun.txt"],
    ["gentle", false, "out/begun.txt", "out/ended.txt"],
  ]);
});

it("a job gets the machine that was planned for it, within what the installation allows", async () => {
  const errand = shared();
  const directory = await project([
    workflow("a", "cpu: 4, memory: 30GB, max_duration: 30m, disk: 77GB"),
  ]);
  const planned = JSON.parse((await errand.run("plan", directory, "--json")).stdout);
  expect((await errand.run("submit", directory)).code).toBe(0);
  const view = await errand.show();
  expect(view.jobs[0]?.attempts[0]?.instanceType).toBe(planned.jobs[0].instanceType);

  const keys = await listKeys(errand, "launches/");
  const launches = await Promise.all(
    keys.filter((key) => key.endsWith("/launch.json")).map((key) => getText(errand, key)),
  );
  const launch = launches.find((text) => text.includes(view.id)) ?? "null";
  expect(JSON.parse(launch)).toMatchObject({ input: { diskGib: 72 } });

  const limits = JSON.parse(await getText(errand, "limits.json"));
  expect(limits).toEqual({ format: 1, ...DEFAULT_LIMITS, jobRoles: [] });
  // As a daemon with other ceilings would have written it.
  const others = { ...limits, maxDurationMs: 20 * 60_000, offerBandPercent: 0 };
  const body = Buffer.from(JSON.stringify(others));
  await putObject(errand, "limits.json", { body });
  for (const command of ["submit", "plan"]) {
    const { code, stderr } = await errand.run(command, directory);
    expect(code).toBe(2);
    expect(stderr).toContain("30m is longer than this installation allows; ask for 20m or less");
  }
  const strict = await project([workflow("a", "cpu: 4, memory: 16GiB, max_duration: 10m")]);
  const { stdout } = await errand.run("plan", strict, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ jobs: [{ instanceType: "m5a.xlarge" }] });
});
