import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import type { RunView } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, examplePath, runErrand, shareErrand } from "../support/errand.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

const HOSTILE = `
const parameters = { type: "object", properties: {} };
export const provider = {
  name: "hostile",
  parameters,
  compile: () => {
    if (process.argv.includes("daemon")) throw new Error("not in this process");
    return [{ task: { type: "commands", script: "true" } }];
  },
};
`;

/** What the operator does, as the example's README says, in a directory of his own; and a module that is no good. */
async function writeOperatorsModules(directory: string): Promise<string> {
  await cp(examplePath("sweep"), directory, {
    recursive: true,
    filter: (source) => !/^(\.errand|sweep\.mjs|node_modules)$/.test(path.basename(source)),
  });
  await mkdir(path.join(directory, "node_modules"));
  await symlink(root, path.join(directory, "node_modules/errand"));
  await run(path.join(root, "node_modules/.bin/tsc"), ["-p", "."], { cwd: directory });
  await writeFile(path.join(directory, "hostile.mjs"), HOSTILE);
  const config = path.join(directory, "errand.yaml");
  const text = await readFile(config, "utf8");
  expect(text).toContain("[./sweep.mjs]");
  await writeFile(config, text.replace("[./sweep.mjs]", "[./sweep.mjs, ./hostile.mjs]"));
  return config;
}

let sweep = "";
const shared = shareErrand(async () => {
  const data = await mkdtemp(path.join(tmpdir(), "errand-e2e-"));
  sweep = path.join(data, "sweep");
  return { data, config: await writeOperatorsModules(sweep) };
});

async function submit(errand: Errand, ...words: string[]): Promise<RunView> {
  const { stdout, stderr } = await errand.run("submit", ...words, "--json");
  expect(stderr).toBe("");
  return JSON.parse(stdout) as RunView;
}

it("the example bash runs a script of the bundle's own provider", async () => {
  const errand = shared();
  const view = await submit(errand, examplePath("bash"), "total");
  expect(view.jobs.map(({ name, state }) => [name, state])).toEqual([
    ["count", "succeeded"],
    ["total", "succeeded"],
  ]);
  const counted = await errand.run("logs", "latest", "count");
  expect(counted.stdout).toContain("it's done, 2 texts were counted\n");
  expect((await errand.run("logs", "latest", "total")).stdout).toContain("total 5\n");
});

it("the example grid makes a job for each value, all at once, and their artifacts lie side by side", async () => {
  const errand = shared();
  const view = await submit(errand, examplePath("grid"), "best", "--tag", "latest");
  expect(view.jobs.map(({ name, state, dependsOn }) => [name, state, dependsOn.length])).toEqual([
    ["fit.v0.1", "succeeded", 0],
    ["fit.v0.01", "succeeded", 0],
    ["fit.v0.001", "succeeded", 0],
    ["best", "succeeded", 3],
  ]);
  // All at once: each was planned before any of them had ended.
  const fits = view.jobs.slice(0, 3).flatMap(({ attempts }) => attempts);
  const firstEnd = Math.min(...fits.map(({ endedAt }) => Date.parse(endedAt ?? "")));
  for (const { startedAt, phases } of fits) {
    const plannedAt = Date.parse(view.createdAt) + (phases.queued ?? Number.POSITIVE_INFINITY);
    expect(plannedAt).toBeLessThan(firstEnd);
    expect(startedAt).not.toBeNull();
  }
  const best = await errand.run("logs", "latest", "best");
  expect(best.stdout).toContain("best of 3: 0.1\n");
  const into = await makeDirectory();
  await errand.run("artifacts", "latest", "--download", into);
  for (const value of ["0.1", "0.01", "0.001"]) {
    const loss = path.join(into, `fit.v${value}/results/${value}/loss.txt`);
    expect(Number(await readFile(loss, "utf8"))).toBeGreaterThanOrEqual(0);
  }
  expect(await readFile(path.join(into, "best/best.txt"), "utf8")).toBe("0.1\n");
});

it("the example sweep, compiled from TypeScript, is an operator's provider for check, plan, submit and the daemon", async () => {
  const errand = shared();
  const checked = await errand.run("check", sweep, "--json");
  expect((JSON.parse(checked.stdout) as { jobs: string[] }).jobs).toEqual([
    "try.1",
    "try.2",
    "try.3",
    "try.4",
    "try.5",
    "try.6",
    "list",
  ]);
  expect((await errand.run("plan", sweep)).stdout).toMatch(/^try\.6 /m);
  const view = await submit(errand, sweep, "list");
  expect(view.state).toBe("succeeded");
  const listed = await errand.run("logs", "latest", "list");
  expect(listed.stdout.match(/^rate .*$/gm)).toEqual([
    "rate 0.01, seed 1",
    "rate 0.01, seed 2",
    "rate 0.01, seed 3",
    "rate 0.1, seed 1",
    "rate 0.1, seed 2",
    "rate 0.1, seed 3",
  ]);
});

it("a provider that throws in the daemon fails its run, and the daemon goes on", async () => {
  const errand = shared();
  const bundle = await makeDirectory({
    ".dstack/workflows.yaml": "workflows:\n  - {name: go, provider: hostile}\n",
  });
  const failed = await submit(errand, bundle, "go");
  expect(failed.state).toBe("failed");
  expect(failed.problems.join("\n")).toContain(
    'the provider "hostile" threw "not in this process"; this is for the operator to mend, in ./hostile.mjs',
  );
  expect((await submit(errand, examplePath("bash"), "count")).state).toBe("succeeded");
});

it("a module that is not there stops the daemon and the commands with its name, before they do anything", async () => {
  const directory = await makeDirectory({
    "errand.yaml": "providers: [./gone.mjs]\n",
    ".dstack/workflows.yaml": "workflows:\n  - {name: go, provider: gone}\n",
  });
  const config = path.join(directory, "errand.yaml");
  const checked = await runErrand("check", directory, "--config", config);
  expect(checked.code).toBe(2);
  expect(checked.stderr).toContain(`the provider module ./gone.mjs is not there`);
  const daemon = await runErrand("daemon", "--local", "--data", directory, "--config", config);
  expect(daemon.code).toBe(2);
  expect(daemon.stderr).toContain(`the provider module ./gone.mjs is not there`);
});
