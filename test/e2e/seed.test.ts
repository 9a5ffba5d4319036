// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** The first page that users of such files read: its example as it stands, and what it says of parameters and artifacts. */
import { lstat, readdir, readFile, readlink, stat } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { getText, listKeys } from "../support/drop.ts";
import { type Errand, shareErrand } from "../support/errand.ts";
import { shareServer, textAt } from "../support/serve.ts";

const server = shareServer(textAt("in%20put.txt", "text"));
const shared = shareErrand();

it("the page's example runs prepare without a GPU, then train with one and with prepare's data", async () => {
  const errand = shared();
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:
  # This workflow loads and prepares data 
  - name: prepare
    # This workflow uses \`python\` provider
    provider: python
    python_script: prepare.py
    # The \`data\` folder will be tracked as an output artifact
    artifacts:
      - data
    # Here we use a variable to say whether we need GPU or not to run this workflow
    resources:
      gpu: \${{ pgpu }}

  # This workflow uses the data produced by the \`prepare\` workflow
  - name: train
    # This workflow uses \`python\` provider
    provider: python
    python_script: train.py
    # The \`checkpoint\` folder will be tracked as an output artifact
    artifacts:
      - checkpoint
    depends-on:
      - prepare
    resources:
      gpu: \${{ tgpu }}     
`,
    ".dstack/variables.yaml": "variables:\n  prepare:\n    pgpu: 0\n\n  train:\n    tgpu: 1\n",
    "prepare.py":
      "import os; os.makedirs('data'); open('data/numbers', 'w').write(os.environ['PGPU'] + ' 1 2')",
    "train.py":
      "import os; os.makedirs('checkpoint'); open('checkpoint/sum', 'w').write(str(sum(map(int, open('data/numbers').read().split()))))",
  });
  expect((await errand.run("submit", directory, "train", "--tag", "latest")).code).toBe(0);
  const view = await errand.show();
  expect(view.jobs.map(({ name, state }) => [name, state])).toEqual([
    ["prepare", "succeeded"],
    ["train", "succeeded"],
  ]);
  const [prepare, train] = view.jobs.map(({ attempts }) => attempts[0]);
  expect([prepare?.instanceType, train?.instanceType]).toEqual(["c6a.large", "g4dn.xlarge"]);
  expect(prepare?.instanceId).not.toBe(train?.instanceId);
  expect(Date.parse(train?.startedAt ?? "")).toBeGreaterThanOrEqual(
    Date.parse(prepare?.endedAt ?? ""),
  );

  expect(await pythonsOf(errand, view.id)).toEqual(["3.10", "3.10"]);

  const into = await makeDirectory();
  await errand.run("artifacts", "latest", "train", "--download", into);
  expect(await readFile(path.join(into, "checkpoint/sum"), "utf8")).toBe("3");
});

/** The versions that the machines were told to run, default or not. */
async function pythonsOf(errand: Errand, run: string): Promise<readonly string[]> {
  const keys = await listKeys(errand, "launches/");
  const orders = await Promise.all(
    keys.filter((key) => /\/\d+\.json$/.test(key)).map((key) => getText(errand, key)),
  );
  const tasks = orders
    .map((text) => JSON.parse(text) as Order)
    .filter((order) => order.run === run)
    .map(({ job }) => job.task);
  return tasks.filter(({ type }) => type === "python").map(({ version }) => version);
}

type Order = {
  readonly run: string;
  readonly job: { readonly task: { readonly type: string; readonly version: string } };
};

const ODD = ["with blank", "-dash", "ünïcode", "new\nline", "$(x) 'q' \"d\"", "100%"];

const MAKE = `
import json, os, sys
sys.path.insert(0, ".")
import helper
print("given", json.dumps([sys.argv[1:], {name: os.environ[name] for name in ("TEXT", "NUMBER", "YES", "PYTHONPATH")}, os.path.basename(os.getcwd()), helper.NAME]), flush=True)
os.makedirs("out/empty")
for name in json.loads(os.environ["NAMES"]):
    open("out/" + name, "w").write(name)
open("out/script.sh", "w").write("#!/bin/sh")
os.chmod("out/script.sh", 0o750)
os.symlink("script.sh", "out/link")
for name in ("a.log", "b.log", "c.txt"):
    open(name, "w").write(name)
print("begun", flush=True)
`;

it("script words, environment, working_dir and artifacts of every sort reach the job and come back as they are", async () => {
  const url = server();
  const errand = shared();
  const text = "$HOME `x` \"d\" 'q' ü\n\ttwo";
  const workflow = (name: string, environment: string) =>
    `  - name: ${name}\n    provider: python\n    python: 3.10\n    working_dir: code\n    python_script: make.py 'two words' "a $b" c\\ d ''\n    environment: ${environment}\n    artifacts: [out, "*.log"]\n`;
  const values = { TEXT: text, NUMBER: 1, YES: true, PYTHONPATH: "lib" };
  const names = JSON.stringify(ODD);
  const list = [`TEXT=${text}`, "NUMBER=1", "YES=true", "PYTHONPATH=lib", `NAMES=${names}`];
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${workflow("as-map", JSON.stringify({ ...values, NAMES: names }))}${workflow("as-list", JSON.stringify(list))}  - name: missing\n    provider: python\n    python_script: code/nothing.py\n    artifacts: [never-made]\n  - name: fetch\n    provider: curl\n    url: ${url}/in%20put.txt\n    output: raw/deep/er/input.txt\n    artifacts: [raw]\n`,
    "code/make.py": MAKE,
    "code/nothing.py": "",
    "code/lib/helper.py": "NAME = 'found by PYTHONPATH'",
  });
  const { code } = await errand.run("submit", directory);
  const view = await errand.show();
  expect(code).toBe(1);
  expect(view.jobs.map(({ name, state, reason }) => [name, state, reason])).toEqual([
    ["as-map", "succeeded", ""],
    ["as-list", "succeeded", ""],
    ["missing", "failed", 'artifact "never-made" does not exist after a successful run'],
    ["fetch", "succeeded", ""],
  ]);
  // Written without quotes, as a YAML float, 3.10 is not 3.1.
  expect(await pythonsOf(errand, view.id)).toEqual(["3.10", "3.10", "3.10"]);
  for (const job of ["as-map", "as-list"]) {
    const { stdout } = await errand.run("logs", "latest", job);
    expect(JSON.parse(/^given (.*)$/m.exec(stdout)?.[1] ?? "null")).toEqual([
      ["two words", "a $b", "c d", ""],
      { TEXT: text, NUMBER: "1", YES: "true", PYTHONPATH: "lib" },
      "code",
      "found by PYTHONPATH",
    ]);
  }

  const into = await makeDirectory();
  expect((await errand.run("artifacts", "latest", "as-map", "--download", into)).code).toBe(0);
  const fetched = await makeDirectory();
  await errand.run("artifacts", "latest", "fetch", "--download", fetched);
  expect(await readFile(path.join(fetched, "raw/deep/er/input.txt"), "utf8")).toBe("text");
  expect((await readdir(into)).sort()).toEqual(["a.log", "b.log", "out"]);
  const found = await readdir(path.join(into, "out"));
  expect(found.sort()).toEqual([...ODD, "empty", "link", "script.sh"].sort());
  for (const name of ODD) expect(await readFile(path.join(into, "out", name), "utf8")).toBe(name);
  expect((await stat(path.join(into, "out/script.sh"))).mode & 0o777).toBe(0o750);
  expect(await readlink(path.join(into, "out/link"))).toBe("script.sh");
  expect((await lstat(path.join(into, "out/empty"))).isDirectory()).toBe(true);
});
