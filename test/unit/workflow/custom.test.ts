// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Providers of the bundle's own. */
import { describe, expect, test } from "vitest";
import { jobSchema } from "../../../src/core/workflow.ts";
import { compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput, pythonWorkflow, workflowsFile } from "./bundle.ts";

const GRID = `
parameters:
  type: object
  properties:
    values: {type: array, items: {type: number}, description: one job each}
    command: {type: string, default: echo}
    resources: {type: object, default: {}}
  required: [values]
jobs:
  - name: lr-\${{ item }}
    each: \${{ values }}
    commands:
      - \${{ command }} "$RATE" > out/\${{ item }}.txt
      - echo \${{ workflow.name }} $\${{ kept }}
    environment:
      RATE: \${{ item }}
    artifacts: ["out/\${{ item }}.txt"]
    resources: \${{ resources }}
`;
const files = { ".dstack/providers/grid.yaml": GRID };
const sweep =
  "  - name: sweep\n    provider: grid\n    values: [1e-3, 0.10]\n    resources: {gpu: 1}";

describe("a provider of the bundle", () => {
  const { jobs } = compileBundle(
    makeInput({
      files,
      workflows: workflowsFile(sweep, pythonWorkflow("pick", "depends-on: sweep")),
      variables: "variables: {sweep: {seed: 7}}",
    }),
  );

  test("makes one job for each value, filled in as it is written", () => {
    const [first, second] = jobs;
    expect([first?.name, second?.name]).toEqual(["sweep.lr-1e-3", "sweep.lr-0.10"]);
    expect(second).toMatchObject({
      workflow: "sweep",
      provider: "grid",
      task: { type: "commands", script: 'echo "$RATE" > out/0.10.txt\necho sweep ${{ kept }}' },
      environment: { RATE: "0.10", SEED: "7" },
      artifacts: ["out/0.10.txt"],
      resources: { gpu: { count: 1 } },
    });
  });

  test("makes jobs that the record accepts", () => {
    for (const job of jobs) expect(jobSchema.parse(job)).toEqual(job);
  });

  test("brings all its jobs to what depends on it", () => {
    const pick = jobs.find(({ name }) => name === "pick");
    expect(pick?.needs).toEqual(["sweep.lr-1e-3", "sweep.lr-0.10"]);
    expect(pick?.inputs).toEqual([
      { type: "job", job: "sweep.lr-1e-3" },
      { type: "job", job: "sweep.lr-0.10" },
    ]);
  });

  test("names its job as the workflow where it makes one, and numbers several", () => {
    const one = { ".dstack/providers/a.yaml": "jobs: [{commands: make}]" };
    const two = {
      ".dstack/providers/a.yaml": "jobs: [{commands: make}, {commands: make, name: x}]",
    };
    const workflows = workflowsFile("  - name: build\n    provider: a");
    const namesWith = (own: typeof one) =>
      compileBundle(makeInput({ files: own, workflows })).jobs.map(({ name }) => name);
    expect(namesWith(one)).toEqual(["build"]);
    expect(namesWith(two)).toEqual(["build.1", "build.x"]);
  });

  test("is bounded in the jobs that it makes", () => {
    const many = `  - name: sweep\n    provider: grid\n    values: [${Array(50).fill(1).join(", ")}]`;
    const input = makeInput({ files, workflows: workflowsFile(many), limits: { jobsMax: 10 } });
    expect(() => compileBundle(input)).toThrow("makes more than 10 jobs");
  });
});

describe("the schema of a provider's parameters", () => {
  const compileWith = (schema: string, value: string) =>
    compileBundle(
      makeInput({
        files: {
          ".dstack/providers/a.yaml": `parameters: {properties: {p: ${schema}}}\njobs: [{commands: make}]`,
        },
        workflows: workflowsFile(`  - name: go\n    provider: a\n    p: ${value}`),
      }),
    ).jobs.length;

  test.each([
    ["{type: array, minItems: 2}", "[1]", "must have 2 items or more, found 1"],
    ["{type: array, maxItems: 2}", "[1, 2, 3]", "must have 2 items or fewer, found 3"],
    ["{type: string, minLength: 3}", "ab", "must have 3 characters or more, found 2"],
    [
      "{type: string, maxLength: 1}",
      '"\u{1f600}\u{1f600}"',
      "must have 1 characters or fewer, found 2",
    ],
    ["{type: integer, minimum: 1}", "0", "must be 1 or more, found the number 0"],
    ["{enum: [a, b]}", "c", "must be one of a, b"],
    ["{type: string, pattern: a+}", "b", 'unknown key "pattern"'],
  ])("%s refuses %s", (schema, value, message) => {
    expect(() => compileWith(schema, value)).toThrow(message);
  });

  test.each([
    ["{type: array, minItems: 1, maxItems: 1}", "[1]"],
    ["{type: string, maxLength: 1}", '"\u{1f600}"'],
  ])("%s takes %s", (schema, value) => {
    expect(compileWith(schema, value)).toBe(1);
  });
});
