/** `errand check`, as a process, on directories as people have them. */
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { runErrand } from "../support/errand.ts";

const BROKEN = {
  ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: pyton
    python_script: test.py
  - name: test
    provider: python
    python_script: test.py
    depends-on: [trian]
    resources: {gpus: 1}
`,
  ".dstack/variables.yaml": "variables:\n  tset: {a: 1}\n",
  "test.py": "",
};

const SHOWN = `.dstack/variables.yaml:2:3: variables.tset: there is no workflow "tset"; did you mean "test"?
    2 |   tset: {a: 1}
      |   ^
.dstack/workflows.yaml:3:15: workflows[train].provider: unknown provider "pyton"; did you mean "python"?
    3 |     provider: pyton
      |               ^
.dstack/workflows.yaml:8:18: workflows[test].depends-on[0]: unknown workflow "trian"; did you mean "train"?
    8 |     depends-on: [trian]
      |                  ^
.dstack/workflows.yaml:9:17: workflows[test].resources.gpus: unknown key "gpus"; did you mean "gpu"?
    9 |     resources: {gpus: 1}
      |                 ^
`;

it("tells all problems at once, each with its line and a caret under the place, and as JSON", async () => {
  const directory = await makeDirectory(BROKEN);
  const shown = await runErrand("check", directory);
  expect(shown).toEqual({ code: 2, stdout: SHOWN, stderr: "4 problems\n" });

  const json = await runErrand("check", directory, "--json");
  const { problems, ...rest } = JSON.parse(json.stdout);
  expect([json.code, rest]).toEqual([2, { warnings: [], workflows: [], jobs: [] }]);
  expect(problems).toHaveLength(4);
  expect(problems[1]).toEqual({
    file: ".dstack/workflows.yaml",
    line: 3,
    column: 15,
    path: "workflows[train].provider",
    message: 'unknown provider "pyton"',
    hint: 'did you mean "python"?',
  });
});

it("looks for the scripts and files that workflows name, and says what is well and what may surprise", async () => {
  const tree = {
    ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: python
    python_script: train.py > log
    requirements: requirements.txt
`,
    "src/train.py": "",
    "requirements.txt": "",
    ".gitignore": "requirements.txt\n",
  };
  const missing = await runErrand("check", await makeDirectory(tree));
  expect(missing.code).toBe(2);
  expect(missing.stdout).toContain(
    'the script "train.py" is not there; did you mean "src/train.py"?',
  );
  expect(missing.stdout).toContain(
    'the requirements file "requirements.txt" is left out of what is sent; a .gitignore',
  );
  const mended = await makeDirectory({
    ...tree,
    "train.py": "",
    ".dstackignore": "!requirements.txt\n",
  });
  const well = await runErrand("check", mended);
  expect([well.code, well.stdout]).toEqual([0, "all is well: 1 job for train\n"]);
  expect(well.stderr).toMatch(/^warning: \.dstack\/workflows\.yaml:4:20: .*">" reaches the script/);
});

it("holds a bundle to the configuration's limits", async () => {
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:
  - {name: a, provider: python, python_script: a.py, resources: {max_duration: 2h}}
`,
    "a.py": "",
    "errand.yaml": "bucket: b\nregion: us-east-1\nlimits: {maxDurationMs: 3600000}\n",
  });
  expect((await runErrand("check", directory)).code).toBe(0);
  const limited = await runErrand("check", directory, "--config", `${directory}/errand.yaml`);
  expect(limited.code).toBe(2);
  expect(limited.stdout).toContain(
    "2h is longer than this installation allows; ask for 1h or less",
  );
});

it("reads YAML 1.2 within limits, and refuses doubled keys, names that are no names, and what would fill the memory", async () => {
  const item = (name: string) => `  - {name: ${name}, provider: python, python_script: a.py}\n`;
  const fine = await makeDirectory({
    ".dstack/workflows.yml": `workflows:\n${item("A1.b_c-d")}`,
    ".dstack/variables.yaml": "variables: {global: {answer: yes, hex: 0x10}}\n",
    "a.py": "",
  });
  expect((await runErrand("check", fine)).code).toBe(0);

  const bomb = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
  for (const [name, before] of ["ba", "cb", "dc", "ed", "fe"]) {
    bomb.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${before}`).join(", ")}]`);
  }
  const broken = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${["train", "Train", "-x", "global"].map(item).join("")}  - {name: y, name: z}\n`,
    ".dstack/variables.yaml": `${"# no more than 1 MiB\n".repeat(60_000)}`,
    ".dstack/run.yaml": `${"[".repeat(1_000)}`,
    ".dstack/providers/bomb.yaml": bomb.join("\n"),
    "a.py": "",
  });
  const { code, stdout } = await runErrand("check", broken);
  expect(code).toBe(2);
  for (const part of [
    'workflows.yaml:3:12: workflows[Train].name: the name "Train" is taken, but for case, as "train"',
    'workflows.yaml:4:12: workflows[-x].name: "-x" is no name for a workflow',
    'workflows.yaml:5:12: workflows[global].name: "global" is the section of variables',
    'the key "name" is there twice; keep one',
    "variables.yaml:1:1: is larger than 1 MiB; move data out of it",
    "run.yaml:1:50: is nested more than 50 levels deep; nest less",
    "holds too many values, aliases followed; use fewer aliases",
  ]) {
    expect(stdout).toContain(part);
  }
});

it("needs a name and a provider of each workflow, and refuses keys that the provider does not know", async () => {
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:
  - provider: python
    python_script: a.py
  - name: b
    python_script: a.py
  - {name: c, provider: curl, url: "https://example.com/x"}
  - {name: d, provider: python, python_script: a.py, python: "2.7", artifact: [x]}
  - {name: e, provider: python}
  - {name: f, provider: own, count: 0, cuont: 1}
`,
    ".dstack/providers/own.yaml":
      "parameters: {properties: {count: {type: integer, minimum: 1}, text: {}}, required: [text]}\njobs: [{commands: 'true'}]\n",
    "a.py": "",
  });
  const { stdout } = await runErrand("check", directory);
  for (const part of [
    'workflows.yaml:2:5: workflows[0]: needs "name"; add name: …',
    'workflows.yaml:4:5: workflows[b]: needs "provider"; known providers: python, curl, own',
    'workflows.yaml:6:5: workflows[c]: needs "output"; add output: …',
    "workflows[d].python: Python 2.7 is too old; ask for 3.8 or later",
    'workflows[d].artifact: unknown key "artifact"; did you mean "artifacts"?',
    'workflows[e]: needs "python_script"; add python_script: …',
    "workflows[f].count: must be 1 or more, found the number 0",
    'workflows[f].cuont: unknown key "cuont"; did you mean "count"?',
    'workflows[f]: needs "text"; add text: …',
  ]) {
    expect(stdout).toContain(part);
  }
});

it("refuses paths that lead out, units that are none, and amounts that no machine has", async () => {
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:
  - name: a
    provider: python
    python_script: a.py
    working_dir: ../elsewhere
    requirements: /etc/requirements.txt
    artifacts: [/etc/passwd, data/../.., .]
    resources: {cpu: 0, memory: 32, gpu: -1, disk: 10 apples, max_duration: soon, max_price: free, retry: 11, arch: riscv}
`,
    "a.py": "",
  });
  const { code, stdout } = await runErrand("check", directory);
  expect(code).toBe(2);
  for (const part of [
    'working_dir: "../elsewhere" leads out of its folder by ".."',
    'requirements: "/etc/requirements.txt" is absolute',
    'artifacts[0]: "/etc/passwd" is absolute',
    'artifacts[1]: "data/../.." leads out of its folder by ".."',
    'artifacts[2]: "." is the working directory itself',
    "cpu: must be a whole number, 1 or more, found the number 0",
    'memory: must be an amount with its unit, as in "32GB", found the number 32',
    "gpu: must be a whole number of GPUs, or a map of count, name and memory, found the number -1",
    'disk: must be an amount with its unit, as in "32GB", found the text "10 apples"',
    'max_duration: must be a length of time, as in "90m", found the text "soon"',
    'max_price: must be a price in US dollars an hour, above 0, found the text "free"',
    "retry: must be a whole number from 0 to 10, found the number 11",
    'arch: must be "x86_64" or "arm64", found the text "riscv"',
  ]) {
    expect(stdout).toContain(part);
  }
});
