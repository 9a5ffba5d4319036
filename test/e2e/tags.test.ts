import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import type { RunView } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { putObject } from "../support/drop.ts";
import { type Errand, startErrand } from "../support/errand.ts";

const project = () =>
  makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: prepare
    provider: python
    python_script: prepare.py
    artifacts: [data]
  - name: train
    provider: python
    python_script: train.py
    depends-on: ["prepare:latest"]
    artifacts: [model]
  - name: broken
    provider: python
    python_script: broken.py
  - name: hold
    provider: python
    python_script: hold.py
    depends-on: ["prepare:nightly"]
`,
    ".dstack/variables.yaml": "variables:\n  prepare:\n    text: none\n",
    "prepare.py":
      "import os\nos.makedirs('data')\nopen('data/text.txt', 'w').write(os.environ['TEXT'])",
    "train.py":
      "import os\nos.makedirs('model')\nopen('model/copy.txt', 'w').write(open('data/text.txt').read() + '!')",
    "hold.py": "import time\nprint('holds', flush=True)\ntime.sleep(120)",
    "broken.py": "raise SystemExit(3)",
  });

async function submit(errand: Errand, ...words: string[]): Promise<RunView> {
  const { stdout } = await errand.run("submit", ...words, "--json");
  return JSON.parse(stdout) as RunView;
}

it("a tag names artifacts, is moved, is used and downloaded, and keeps its run when others are pruned", async () => {
  const errand = await startErrand();
  const directory = await project();

  // A tag that is not there is an error at submit, that names those there are.
  const early = await errand.run("submit", directory, "train");
  expect(early.code).toBe(2);
  expect(early.stderr).toContain('no run of prepare carries the tag "latest"');

  const first = await submit(errand, directory, "prepare", "--text", "one", "--tag", "latest");
  const second = await submit(errand, directory, "prepare", "--text", "two");
  const failed = await submit(errand, directory, "broken");
  expect([first.state, second.state, failed.state]).toEqual(["succeeded", "succeeded", "failed"]);

  const refused = await errand.run("tags", "add", "latest", failed.id);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain("no finished successful artifacts of broken");

  const moved = await errand.run("tags", "add", "latest", second.id, "prepare");
  expect(moved.stdout).toContain(
    `prepare:latest is ${second.name} (${second.id}), moved from ${first.name} (${first.id})`,
  );
  expect((await errand.run("tags", "list")).stdout).toMatch(
    new RegExp(`^prepare:latest +${second.name} +${second.id} +3 B`, "m"),
  );

  const train = await submit(errand, directory, "train");
  expect(train.state).toBe("succeeded");
  // The tag's artifacts alone are in DIR itself.
  const into = await makeDirectory();
  const got = await errand.run("artifacts", "prepare:latest", "--download", into);
  expect(got.code).toBe(0);
  expect(await readFile(path.join(into, "data/text.txt"), "utf8")).toBe("two");
  expect((await errand.run("artifacts", "prepare:newest")).stderr).toContain(
    "Tags: prepare:latest.",
  );
  for (const words of [
    ["artifacts", "prepar:latest"],
    ["tags", "delete", "prepare:latst"],
  ]) {
    const { code, stderr } = await errand.run(...words);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Did you mean "prepare:latest"?'),
    });
  }
  expect((await errand.run("tags", "delete", "latst")).stderr).toContain('Did you mean "latest"?');
  expect((await errand.run("tags", "list", "prepar")).stdout).toBe(
    'no tags of prepar yet. Did you mean "prepare"?\n',
  );
  expect((await errand.run("tags", "add", "latest", second.id, "prepar")).stderr).toContain(
    'Did you mean "prepare"?',
  );

  const dry = await errand.run("prune", "--older-than", "0s", "--json");
  const listed = JSON.parse(dry.stdout) as {
    applied: boolean;
    runs: { id: string; bytes: number }[];
  };
  expect(listed.applied).toBe(false);
  expect(listed.runs.map(({ id }) => id)).toEqual([first.id, failed.id, train.id].sort());
  expect(listed.runs.every(({ bytes }) => bytes > 0)).toBe(true);
  expect((await errand.run("artifacts", first.id)).code).toBe(0);

  const applied = await errand.run("prune", "--older-than", "0s", "--apply");
  expect(applied.stdout).toContain(`kept ${second.name} (${second.id}): tag prepare:latest`);
  expect(applied.stdout).toMatch(/^pruned 3 runs, /m);
  expect((await errand.run("show", first.id)).stdout).toContain(
    "logs and artifacts were pruned on",
  );
  expect((await errand.run("artifacts", first.id)).stderr).toMatch(/were pruned on \d{4}-/);
  expect((await errand.run("logs", train.id)).code).toBe(2);
  expect((await errand.run("tags", "add", "old", first.id)).stderr).toContain("were pruned on");

  // What the tag keeps is as good as ever.
  expect((await submit(errand, directory, "train")).state).toBe("succeeded");
  expect((await errand.run("tags", "delete", "latest")).stdout).toContain(second.name);
  expect((await errand.run("submit", directory, "train")).code).toBe(2);
  expect(JSON.parse((await errand.run("tags", "list", "--json")).stdout)).toEqual([]);
});

it("the daemon prunes by itself where its configuration says so, and keeps what is tagged", async () => {
  const directory = await makeDirectory({ "errand.yaml": "retention: 2s\n" });
  const errand = await startErrand({ config: path.join(directory, "errand.yaml") });
  const bundle = await project();
  const kept = await submit(errand, bundle, "prepare", "--tag", "latest");
  const other = await submit(errand, bundle, "prepare");
  await errand.until("the other run to be pruned", (view) => view.prunedAt !== null, other.id);
  expect((await errand.show(kept.id)).prunedAt).toBeNull();
  expect((await errand.run("artifacts", "prepare:latest")).stdout).toContain("text.txt");
});

it("run.yaml tags what it names, prune keeps what an open run needs, and changed bytes are not brought back", async () => {
  const errand = await startErrand();
  const directory = await project();
  const runFile = path.join(directory, ".dstack/run.yaml");
  await writeFile(runFile, "workflows: prepare\ntag: nightly\n");
  const made = await submit(errand, directory);
  const holding = errand.start("submit", directory, "hold");
  await holding.said(/^hold +\| holds$/m);
  const { stdout: deleted } = await errand.run("tags", "delete", "nightly");
  expect(deleted).toContain(made.name);

  const prune = () => errand.run("prune", "--older-than", "0s", "--apply");
  const { id } = await errand.show();
  expect((await prune()).stdout).toContain(
    `kept ${made.name} (${made.id}): open run ${id} needs it`,
  );
  const into = await makeDirectory();
  expect((await errand.run("artifacts", made.id, "prepare", "--download", into)).code).toBe(0);

  // As long as what was made, so that the checksum alone tells.
  const key = `runs/${made.id}/prepare/1/artifacts/data/text.txt`;
  await putObject(errand, key, { body: Buffer.from("nine") });
  const other = await makeDirectory();
  const changed = await errand.run("artifacts", made.id, "prepare", "--download", other);
  expect(changed.code).toBe(2);
  expect(changed.stderr).toContain('"data/text.txt" is not what its manifest says');
  expect(await readdir(path.join(other, "data"))).toEqual([]);

  await errand.run("cancel", id);
  await holding.finished;
  expect((await prune()).stdout).toContain("pruned 2 runs");
});
