// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Files that workflows name and that would not be there on the machine. */
import { expect, test } from "vitest";
import { readBundle } from "../../../src/cli/bundle.ts";
import { findMissingFiles } from "../../../src/cli/missing-files.ts";
import { renderProblem } from "../../../src/providers/problem.ts";
import { compileBundle } from "../../../src/workflow/compile.ts";
import { makeDirectory, type Tree } from "../../support/directory.ts";
import { makeInput, pythonWorkflow, workflowsFile } from "../workflow/bundle.ts";

const tags = { "prepare:v1": { run: "20261101-000000-aaaaaa", sets: [] } };

async function missingOf(tree: Tree, ...workflows: readonly string[]): Promise<readonly string[]> {
  const text = workflowsFile(...workflows);
  const directory = await makeDirectory({ ".dstack/workflows.yaml": text, ...tree });
  const bundle = await readBundle(directory);
  const sets = [{ job: "prepare", attempt: 1 }];
  const input = makeInput({
    workflows: text,
    files: Object.fromEntries(
      Object.entries(tree).flatMap(([path, file]) =>
        path.startsWith(".dstack/") && typeof file === "string" ? [[path, file]] : [],
      ),
    ),
    tags: { "prepare:v1": { ...tags["prepare:v1"], sets } },
  });
  return (await findMissingFiles(bundle, compileBundle(input))).map(renderProblem);
}

const script = (path: string) => `python_script: ${path}`;
const python = (name: string, path: string, ...lines: readonly string[]) =>
  pythonWorkflow(name, ...lines).replace("python_script: main.py", script(path));

test("nothing is missing where scripts, requirements and folders are there", async () => {
  const tree = { "tools/main.py": "", "tools/req.txt": "", "code/": "", link: { link: "tools" } };
  const workflows = [
    python("a", "main.py --x", "working_dir: tools", "requirements: req.txt"),
    python("b", "link/main.py"),
    python("c", "-m tools.main"),
    python("d", "/opt/there/main.py"),
  ];
  expect(await missingOf(tree, ...workflows)).toEqual([]);
});

test("a script, a requirements file and a folder that are missing are told at their places", async () => {
  const tree = { "src/main.py": "", "trian.py": "" };
  const told = await missingOf(
    tree,
    python("a", "main.py", "requirements: req.txt"),
    python("b", "train.py"),
    python("c", "x.py", "working_dir: tools"),
    python("d", "src"),
  );
  expect(told).toEqual([
    '.dstack/workflows.yaml:4:20: workflows[a].python_script: the script "main.py" is not there; did you mean "src/main.py"?',
    '.dstack/workflows.yaml:5:19: workflows[a].requirements: the requirements file "req.txt" is not there; paths are relative to the directory that holds .dstack, or to working_dir',
    '.dstack/workflows.yaml:8:20: workflows[b].python_script: the script "train.py" is not there; did you mean "trian.py"?',
    '.dstack/workflows.yaml:12:18: workflows[c].working_dir: the working directory "tools" is not there; paths are relative to the directory that holds .dstack, or to working_dir',
    '.dstack/workflows.yaml:15:20: workflows[d].python_script: the script "src" is a folder; name the file in it',
  ]);
});

test("the working directory of a job is looked for whatever its provider is", async () => {
  const files = {
    ".dstack/providers/sh.yaml":
      'parameters: {type: object, properties: {dir: {type: string}}}\njobs: [{commands: ls, working_dir: "${{ dir }}"}]\n',
    "here/x": "",
  };
  const told = await missingOf(
    files,
    "  - {name: a, provider: curl, url: http://127.0.0.1/x, output: x, artifacts: [x], working_dir: nowhere}",
    "  - {name: b, provider: curl, url: http://127.0.0.1/x, output: x, artifacts: [x], working_dir: here}",
    "  - {name: c, provider: sh, dir: neither}",
  );
  expect(told).toEqual([
    expect.stringMatching(
      /^\S+:2:\d+: workflows\[a\]\.working_dir: the working directory "nowhere" is not there/,
    ),
    expect.stringMatching(
      /^\S+:4:\d+: workflows\[c\]: the working directory "neither" is not there/,
    ),
  ]);
});

test("what is there and not sent is told as that", async () => {
  const told = await missingOf(
    { ".gitignore": "main.py\n", "main.py": "" },
    python("a", "main.py"),
  );
  expect(told).toEqual([
    expect.stringContaining('the script "main.py" is left out of what is sent; a .gitignore'),
  ]);
});

test("what a dependency's artifact may bring is taken for there, and nothing else is", async () => {
  const told = await missingOf(
    { "prepare.py": "" },
    python("prepare", "prepare.py", "artifacts: [made]"),
    python("a", "made/main.py", "depends-on: prepare"),
    python("b", "other/main.py", "depends-on: prepare"),
    python("c", "any/main.py", 'depends-on: "prepare:v1"'),
  );
  expect(told).toEqual([expect.stringContaining('the script "other/main.py" is not there')]);
});
