import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import type { JobArtifacts } from "../../src/cli/manifests.ts";
import { makeDirectory } from "../support/directory.ts";
import { examplePath, listMachineProcesses, startErrand } from "../support/errand.ts";
import { serve, textAt } from "../support/serve.ts";

it("the example runs to its end, and what it made comes back", async () => {
  const sonnets = await readFile(examplePath("text/sonnets.txt"), "utf8");
  const url = `${await serve(textAt("sonnets.txt", sonnets))}/sonnets.txt`;
  const errand = await startErrand();
  const submitted = await errand.run(
    "submit",
    examplePath("tinylm"),
    "train",
    "--url",
    url,
    "--epochs=2",
  );

  expect(submitted.stderr).toBe("");
  expect(submitted.code).toBe(0);
  expect(submitted.stdout).toMatch(/^train +\| epoch 2\/2 {2}train \d/m);
  expect(submitted.stdout).toMatch(/succeeded in .*, \$0\.\d+/);
  // No line twice, none missing.
  const epochs = submitted.stdout.split("\n").filter((line) => line.includes("| epoch "));
  expect(epochs).toHaveLength(2);

  const view = await errand.show();
  expect(view).toMatchObject({ state: "succeeded", workflows: ["train"] });
  expect(view.jobs.map(({ name, state, dependsOn }) => ({ name, state, dependsOn }))).toEqual([
    { name: "download", state: "succeeded", dependsOn: [] },
    { name: "prepare", state: "succeeded", dependsOn: ["download"] },
    { name: "train", state: "succeeded", dependsOn: ["prepare"] },
  ]);
  const [download, prepare, train] = view.jobs.map((job) => job.attempts[0]);
  expect(train?.instanceType).toMatch(/^g\d/);
  expect(prepare?.instanceType).toMatch(/^[cm]\d/);
  expect(download?.exitCode).toBe(0);
  // A minute of the machine, and of its disk of 94 GiB.
  const diskHourlyUsd = (94 * 0.08) / (30 * 24);
  expect(train?.costUsd).toBeCloseTo(((train?.hourlyUsd ?? 0) + diskHourlyUsd) / 60, 5);
  expect(Object.values(train?.phases ?? {}).every((ms) => ms !== null && ms >= 0)).toBe(true);

  const listed = JSON.parse((await errand.run("artifacts", "latest", "--json")).stdout);
  expect((listed as JobArtifacts[]).map(({ job, complete }) => [job, complete])).toEqual([
    ["download", true],
    ["prepare", true],
    ["train", true],
  ]);
  const into = await makeDirectory();
  expect((await errand.run("artifacts", "latest", "--download", into)).code).toBe(0);
  expect(await readFile(path.join(into, "download/raw/input.txt"), "utf8")).toBe(sonnets);
  expect(await readFile(path.join(into, "train/checkpoint/loss.svg"), "utf8")).toMatch(/^<svg /);

  const runs = JSON.parse((await errand.run("runs", "--json")).stdout);
  const { id, name, state, workflows, createdAt, finishedAt, costUsd } = view;
  expect(runs).toEqual([{ id, name, state, workflows, createdAt, finishedAt, costUsd }]);
  expect(JSON.parse((await errand.run("instances", "--json")).stdout)).toEqual([]);

  expect(await errand.stop()).toBe(0);
  expect(await listMachineProcesses(errand.data)).toEqual([]);
});
