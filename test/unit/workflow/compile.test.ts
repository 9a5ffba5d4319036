/** From files to jobs: the seed's own example, variables, dependencies, tags, what is asked for. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
import { describe, expect, test } from "vitest";
import { jobSchema } from "../../../src/core/workflow.ts";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import {
  type CompileInput,
  compileBundle,
  listTagReferences,
} from "../../../src/workflow/compile.ts";
import { makeInput, pythonWorkflow, workflowsFile } from "./bundle.ts";

type Parts = Parameters<typeof makeInput>[0];

const compile = (parts: Parts) => compileBundle(makeInput(parts));
const names = (parts: Parts) => compile(parts).jobs.map(({ name }) => name);
const jobOf = (parts: Parts, name: string) => {
  const job = compile(parts).jobs.find((each) => each.name === name);
  if (!job) throw new Error(`no job ${name}`);
  return job;
};
const linesOf = (input: CompileInput): readonly string[] => {
  try {
    compileBundle(input);
  } catch (error) {
    if (error instanceof BundleError) return error.lines;
    throw error;
  }
  return [];
};

const SEED = {
  workflows: `workflows:
  # This workflow loads and prepares data
  - name: prepare
    provider: python
    python_script: prepare.py
    artifacts:
      - data
    resources:
      gpu: \${{ pgpu }}

  - name: train
    provider: python
    python_script: train.py
    artifacts:
      - checkpoint
    depends-on:
      - prepare
    resources:
      gpu: \${{ tgpu }}
`,
  variables: `variables:
  prepare:
    pgpu: 0

  train:
    tgpu: 1
`,
};

const resources = {
  diskBytes: 100e9,
  maxDurationMs: 86_400_000,
  burstable: false,
  arch: "x86_64",
  retry: { lost: 2, failed: 0 },
};

describe("the page's own example", () => {
  test("becomes two jobs, the second with the first one's artifacts", () => {
    const place = { file: ".dstack/workflows.yaml", line: 5, column: 20 };
    expect(compile(SEED)).toEqual({
      workflows: ["train"],
      warnings: [],
      warned: [],
      wants: [
        {
          job: "prepare",
          files: [
            {
              what: "script",
              path: "prepare.py",
              place: { ...place, path: "workflows[prepare].python_script" },
            },
          ],
        },
        {
          job: "train",
          files: [
            {
              what: "script",
              path: "train.py",
              place: { ...place, line: 13, path: "workflows[train].python_script" },
            },
          ],
        },
      ],
      jobs: [
        {
          name: "prepare",
          workflow: "prepare",
          provider: "python",
          needs: [],
          inputs: [],
          task: { type: "python", version: "3.10", words: ["prepare.py"] },
          environment: { PGPU: "0" },
          workingDir: ".",
          artifacts: ["data"],
          resources,
        },
        {
          name: "train",
          workflow: "train",
          provider: "python",
          needs: ["prepare"],
          inputs: [{ type: "job", job: "prepare" }],
          task: { type: "python", version: "3.10", words: ["train.py"] },
          environment: { TGPU: "1" },
          workingDir: ".",
          artifacts: ["checkpoint"],
          resources: { ...resources, gpu: { count: 1 } },
        },
      ],
    });
  });

  test("becomes jobs that the record accepts", () => {
    for (const job of compile(SEED).jobs) expect(jobSchema.parse(job)).toEqual(job);
  });

  test("runs the dependency alone when it is asked for", () => {
    expect(names({ ...SEED, request: { workflows: ["prepare"] } })).toEqual(["prepare"]);
  });
});

describe("what is asked for", () => {
  const diamond = workflowsFile(
    pythonWorkflow("report", "depends-on: [train, test]"),
    pythonWorkflow("train", "depends-on: fetch"),
    pythonWorkflow("test", "depends-on: fetch"),
    pythonWorkflow("fetch"),
    pythonWorkflow("lint"),
  );

  test("nothing means all that no other depends on, dependencies first", () => {
    const compiled = compile({ workflows: diamond });
    expect(compiled.workflows).toEqual(["report", "lint"]);
    expect(compiled.jobs.map(({ name }) => name)).toEqual([
      "fetch",
      "train",
      "test",
      "report",
      "lint",
    ]);
  });

  test("a workflow brings all that it depends on, and nothing else", () => {
    expect(names({ workflows: diamond, request: { workflows: ["test"] } })).toEqual([
      "fetch",
      "test",
    ]);
  });

  test("several share what they depend on, and one named twice runs once", () => {
    const request = { workflows: ["train", "test", "train"] };
    expect(compile({ workflows: diamond, request }).workflows).toEqual(["train", "test"]);
    expect(names({ workflows: diamond, request })).toEqual(["fetch", "train", "test"]);
  });

  test("run.yaml names workflows, variables and a tag, and the request wins over each", () => {
    const parts = {
      workflows: diamond,
      variables: "variables: {global: {a: 0, b: 0, c: 0}}",
      run: "workflows: lint\ntag: v1\nvariables: {a: 1, b: 1}\n",
    };
    const fromFile = compile(parts);
    expect([fromFile.workflows, fromFile.tag]).toEqual([["lint"], "v1"]);
    expect(fromFile.jobs[0]?.environment).toEqual({ A: "1", B: "1", C: "0" });
    const request = { workflows: ["fetch"], tag: "v2", variables: { b: "2" } };
    const asked = compile({ ...parts, request });
    expect([asked.workflows, asked.tag]).toEqual([["fetch"], "v2"]);
    expect(asked.jobs[0]?.environment).toEqual({ A: "1", B: "2", C: "0" });
  });

  test("what run.yaml says for some workflows stands in the way of no other", () => {
    const parts = {
      workflows: diamond,
      variables: "variables: {lint: {text: x}, fetch: {n: 1}}",
      run: "workflows: lint\ntag: v1\nvariables: {text: ry, n: 2}\n",
    };
    const { tag, jobs } = compile({ ...parts, request: { workflows: ["fetch"] } });
    expect(jobs.map(({ environment }) => environment)).toEqual([{ N: "2" }]);
    expect(tag).toBeUndefined();
    expect(compile(parts).jobs.map(({ environment }) => environment)).toEqual([{ TEXT: "ry" }]);
    const request = { workflows: ["fetch"], variables: { text: "no" } };
    expect(() => compile({ ...parts, request })).toThrow(
      "lint does, which is not part of this run",
    );
  });
});

describe("depends-on", () => {
  const tags = {
    "prepare:latest": {
      run: "20261101-000000-aaaaaa",
      sets: [
        { job: "prepare.1", attempt: 2 },
        { job: "prepare.2", attempt: 1 },
      ],
    },
  };

  test("inputs are direct dependencies alone, in the order listed, and needs hold no tag", () => {
    const workflows = workflowsFile(
      pythonWorkflow("prepare"),
      pythonWorkflow("fetch"),
      pythonWorkflow("clean", "depends-on: fetch"),
      pythonWorkflow("train", 'depends-on: ["prepare:latest", clean]'),
    );
    const job = jobOf({ workflows, tags, request: { workflows: ["train"] } }, "train");
    expect(job.needs).toEqual(["clean"]);
    expect(job.inputs).toEqual([
      {
        type: "set",
        reference: "prepare:latest",
        run: "20261101-000000-aaaaaa",
        job: "prepare.1",
        attempt: 2,
      },
      {
        type: "set",
        reference: "prepare:latest",
        run: "20261101-000000-aaaaaa",
        job: "prepare.2",
        attempt: 1,
      },
      { type: "job", job: "clean" },
    ]);
  });

  test("a tag makes no job, and its workflow is not run for it", () => {
    const workflows = workflowsFile(
      pythonWorkflow("prepare"),
      pythonWorkflow("train", "depends-on: prepare:latest"),
    );
    expect(names({ workflows, tags })).toEqual(["train"]);
  });

  test("a workflow may go on from its own tag", () => {
    const workflows = workflowsFile(pythonWorkflow("prepare", "depends-on: prepare:latest"));
    expect(jobOf({ workflows, tags }, "prepare").inputs).toHaveLength(2);
  });

  test("a tag may be a variable", () => {
    const workflows = workflowsFile(pythonWorkflow("train", "depends-on: prepare:${{ tag }}"));
    const variables = "variables: {train: {tag: v0}}";
    const request = { variables: { tag: "latest" } };
    expect(jobOf({ workflows, variables, tags, request }, "train").inputs).toHaveLength(2);
  });

  test("tags are asked for only by workflows that run, and can be listed before", () => {
    const workflows = workflowsFile(
      pythonWorkflow("train", "depends-on: prepare:latest"),
      pythonWorkflow("test", "depends-on: prepare:gone"),
    );
    const input = makeInput({ workflows, tags, request: { workflows: ["train"] } });
    expect(compileBundle(input).jobs).toHaveLength(1);
    expect(listTagReferences(input)).toEqual([{ workflow: "prepare", tag: "latest" }]);
  });

  test("both a workflow and its tag are a warning, for the last one wins", () => {
    const workflows = workflowsFile(
      pythonWorkflow("prepare", "artifacts: [data]"),
      pythonWorkflow("train", 'depends-on: [prepare, "prepare:latest"]'),
    );
    expect(compile({ workflows, tags }).warnings).toEqual([
      ".dstack/workflows.yaml:9:27: workflows[train].depends-on[1]: prepare and prepare:latest bring the same artifacts: the last one wins; keep one",
    ]);
  });

  test("an input may be the job's own artifact too", () => {
    const workflows = workflowsFile(
      pythonWorkflow("prepare", "artifacts: [data]"),
      pythonWorkflow("train", "depends-on: prepare", "artifacts: [data/]"),
    );
    expect(jobOf({ workflows }, "train").artifacts).toEqual(["data"]);
  });
});

describe("files", () => {
  test("the other spelling of the extension is read too", () => {
    const files = { ".dstack/workflows.yml": workflowsFile(pythonWorkflow("train")) };
    expect(names({ files })).toEqual(["train"]);
  });

  test("a file that nobody reads is a warning with a near name", () => {
    const parts = {
      workflows: workflowsFile(pythonWorkflow("train")),
      files: { ".dstack/variable.yaml": "", ".dstack/notes/x.yaml": "" },
    };
    expect(compile(parts).warnings).toEqual([
      '.dstack/variable.yaml: is not read by anything; did you mean "variables.yaml"?',
    ]);
  });

  test("an anchor and its alias share a value", () => {
    const workflows = workflowsFile(
      pythonWorkflow("a", "environment: &env {A: 1.0}"),
      pythonWorkflow("b", "environment: *env"),
    );
    expect(jobOf({ workflows }, "b").environment).toEqual({ A: "1.0" });
  });

  test("problems come in the order of file, line and column, each once", () => {
    const variables = "variables: {global: {a: '${{ x }}'}}";
    const workflows = workflowsFile(pythonWorkflow("a", "b: 1", "a: 1"), pythonWorkflow("b"));
    expect(linesOf(makeInput({ workflows, variables })).map((line) => line.split(": ")[0])).toEqual(
      [
        ".dstack/variables.yaml:1:25",
        ".dstack/variables.yaml:1:25",
        ".dstack/workflows.yaml:5:5",
        ".dstack/workflows.yaml:6:5",
      ],
    );
  });

  test("no more than 200 problems are looked for, and 100 shown", () => {
    const lines = linesOf(makeInput({ workflows: `workflows:\n${"  - 1\n".repeat(900)}` }));
    expect(lines).toHaveLength(101);
    expect(lines.at(-1)).toBe("and 100 more");
  });

  test("two workflows that would make jobs of one name are refused", () => {
    const files = { ".dstack/providers/two.yaml": "jobs: [{commands: a}, {commands: b}]" };
    const workflows = workflowsFile("  - name: a\n    provider: two", pythonWorkflow("a.1"));
    expect(linesOf(makeInput({ workflows, files }))).toEqual([
      '.dstack/workflows.yaml:4:5: workflows[a.1]: two jobs are called "a.1"; rename one of the workflows',
    ]);
  });
});
