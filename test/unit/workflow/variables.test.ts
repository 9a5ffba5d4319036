/** What variables come to: in texts, in types, in the environment, when replaced, when hostile. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
import { describe, expect, test } from "vitest";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import { type CompileInput, compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput, pythonWorkflow, workflowsFile } from "./bundle.ts";

type Parts = Parameters<typeof makeInput>[0];

const compile = (parts: Parts) => compileBundle(makeInput(parts));
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

describe("variables", () => {
  const script = (text: string, variables: string, more: Partial<Parts> = {}) => {
    const job = jobOf(
      {
        workflows: workflowsFile(
          `  - name: train\n    provider: python\n    python_script: ${text}`,
        ),
        variables,
        ...more,
      },
      "train",
    );
    return {
      words: job.task.type === "python" ? job.task.words : [],
      environment: job.environment,
    };
  };

  test("a workflow's own section wins over global, in texts and in the environment", () => {
    const variables = "variables: {global: {a: 1, b: 2}, train: {a: 3}}";
    expect(script("${{a}} ${{  b  }}", variables)).toEqual({
      words: ["3", "2"],
      environment: { A: "3", B: "2" },
    });
  });

  test("numbers reach texts and the environment as they were written", () => {
    const variables =
      "variables: {train: {a: 1.10, b: 0x10, c: 1e-4, d: 007, e: yes, f: True, g: 123456789012345678901234567890}}";
    const written = [
      "1.10",
      "0x10",
      "1e-4",
      "007",
      "yes",
      "True",
      "123456789012345678901234567890",
    ];
    const { words, environment } = script(
      "${{a}} ${{b}} ${{c}} ${{d}} ${{e}} ${{f}} ${{g}}",
      variables,
    );
    expect(words).toEqual(written);
    expect(Object.values(environment)).toEqual(written);
  });

  test("batch-size is exported as BATCH_SIZE, and environment wins over it", () => {
    const workflows = workflowsFile(
      pythonWorkflow("train", "environment: {BATCH_SIZE: 8, batch-size: 9}"),
    );
    const variables = "variables: {train: {batch-size: 64, epochs: 3}}";
    expect(jobOf({ workflows, variables }, "train").environment).toEqual({
      BATCH_SIZE: "8",
      "batch-size": "9",
      EPOCHS: "3",
    });
  });

  test("refer to each other, and to the run and the workflow", () => {
    const variables =
      "variables:\n  global: {root: 'out/${{ run.id }}'}\n  train: {path: x, dir: '${{ root }}/${{ workflow.name }}', copy: '${{ dir }}'}";
    expect(script("\"'${{ copy }}' ${{ run.name }}\"", variables).words).toEqual([
      "out/20261123-211530-k3f9q2/train",
      "brave-otter-42",
    ]);
  });

  test("a reference written with a second dollar is left as it is", () => {
    expect(script("'\"$${{ a }} ${{ a }}\"'", "variables: {train: {a: 1}}").words).toEqual([
      "${{ a }} 1",
    ]);
  });

  test("a value that looks like a reference is not read again", () => {
    expect(script("'\"${{ a }}\"'", "variables: {train: {a: '$${{ b }}'}}").words).toEqual([
      "${{ b }}",
    ]);
  });

  test("one that would replace PATH is not exported, and a warning says so", () => {
    const parts = {
      workflows: workflowsFile(pythonWorkflow("train")),
      variables: "variables: {train: {path: data}}",
    };
    expect(jobOf(parts, "train").environment).toEqual({});
    expect(compile(parts).warnings).toEqual([
      ".dstack/variables.yaml:1:27: variables.train.path: path is not exported: a job needs PATH as it is; rename the variable, or set it under environment",
    ]);
  });

  test("one that would take a name of Errand's own is not exported either", () => {
    const parts = {
      workflows: workflowsFile(pythonWorkflow("train")),
      variables: "variables: {train: {errand-run: fake}}",
    };
    expect(jobOf(parts, "train").environment).toEqual({});
    expect(compile(parts).warnings).toEqual([
      ".dstack/variables.yaml:1:33: variables.train.errand-run: errand-run is not exported: a job needs ERRAND_RUN as it is; rename the variable",
    ]);
  });

  test.each([
    ["a number by a number", "epochs: 3", "0x20", "0x20"],
    ["a whole number by a fraction", "epochs: 3", "1.5e-3", "1.5e-3"],
    ["true by false", "epochs: true", "False", "False"],
    ["a text by anything", 'epochs: "3"', "${{ not read }} $x", "${{ not read }} $x"],
    ["the result of a reference", "n: 3, epochs: '${{ n }}'", "4", "4"],
  ])("an override replaces %s", (_, declared, given, expected) => {
    const { environment } = script("train.py", `variables: {train: {${declared}}}`, {
      request: { variables: { epochs: given } },
    });
    expect(environment.EPOCHS).toBe(expected);
  });

  test("an override reaches the type that a whole-scalar reference keeps", () => {
    const job = jobOf(
      {
        workflows: workflowsFile(pythonWorkflow("prepare", "resources: {gpu: '${{ pgpu }}'}")),
        variables: "variables: {prepare: {pgpu: 0}}",
        request: { variables: { pgpu: "4" } },
      },
      "prepare",
    );
    expect(job.resources.gpu).toEqual({ count: 4 });
  });

  test("an override that is wrong where it is used is told once, as what was given", () => {
    const wrong = (variables: string, pgpu: string) =>
      linesOf(
        makeInput({
          workflows: workflowsFile(
            pythonWorkflow("prepare", "resources: {gpu: '${{ pgpu }}'}"),
            pythonWorkflow("train", "resources: {gpu: '${{ pgpu }}'}"),
          ),
          variables,
          request: { variables: { pgpu } },
        }),
      );
    expect(wrong("variables: {global: {pgpu: 0}}", "2.5")).toEqual([
      "request: variables.pgpu: must be a whole number of GPUs, or a map of count, name and memory, found the number 2.5; it is for workflows[prepare].resources.gpu: write gpu: 1, or gpu: {count: 1, name: A10G}",
    ]);
    expect(wrong("variables: {prepare: {pgpu: 0}, train: {pgpu: 1}}", "x")).toEqual([
      'request: variables.pgpu: must be a number, found the text "x"; the variable is the number 0 in .dstack/variables.yaml:1:29',
    ]);
  });

  test("an override of what is used and has no value is told once, where it is used", () => {
    const input = makeInput({
      workflows: workflowsFile(pythonWorkflow("train", "resources: {gpu: '${{ pgpu }}'}")),
      variables: "variables: {train: {tgpu: 0}}",
      request: { variables: { pgpu: "1" } },
    });
    expect(linesOf(input).map((line) => line.replace(/^[^ ]+ /, ""))).toEqual([
      'workflows[train].resources.gpu: workflow "train" knows no variable "pgpu"; give it a value in .dstack/variables.yaml, which can then be replaced',
    ]);
  });

  test("an override's dashes, underscores and case make no difference", () => {
    for (const name of ["batch-size", "batch_size", "Batch_Size"]) {
      const { environment } = script("train.py", "variables: {train: {batch-size: 1}}", {
        request: { variables: { [name]: "2" } },
      });
      expect(environment).toEqual({ BATCH_SIZE: "2" });
    }
  });

  test("an override applies to each section in the run that declares it, and to no other", () => {
    const parts = {
      workflows: workflowsFile(
        pythonWorkflow("a"),
        pythonWorkflow("b", "depends-on: a"),
        pythonWorkflow("c"),
      ),
      variables: "variables: {a: {n: 1}, b: {n: 1}, c: {n: text}}",
      request: { workflows: ["b"], variables: { n: "2" } },
    };
    expect(compile(parts).jobs.map(({ environment }) => environment)).toEqual([
      { N: "2" },
      { N: "2" },
    ]);
  });

  test("doubling texts past 128 KiB is refused, and so is filling many of that size", () => {
    const doubling = Array.from(
      { length: 40 },
      (_, index) => `    v${index + 1}: \${{ v${index} }}\${{ v${index} }}`,
    );
    const variables = `variables:\n  train:\n    v0: xxxxxxxx\n${doubling.join("\n")}\n`;
    const doubled = linesOf(
      makeInput({ workflows: workflowsFile(pythonWorkflow("train")), variables }),
    );
    expect(doubled.join("\n")).toContain("grows to over 128 KiB");
    const many = Array.from({ length: 300 }, (_, index) => `    w${index}: x\${{ v }}`);
    const wide = `variables:\n  train:\n    v: ${"x".repeat(100_000)}\n${many.join("\n")}\n`;
    const filled = linesOf(
      makeInput({ workflows: workflowsFile(pythonWorkflow("train")), variables: wide }),
    );
    expect(filled[0]).toContain("makes the bundle too large");
  });

  test("a long chain of variables is refused before it fills the stack", () => {
    const chain = Array.from(
      { length: 5_000 },
      (_, index) => `    v${index}: \${{ v${index + 1} }}`,
    );
    const variables = `variables:\n  train:\n${chain.join("\n")}\n    v5000: x\n`;
    const [line] = linesOf(
      makeInput({ workflows: workflowsFile(pythonWorkflow("train")), variables }),
    );
    expect(line).toContain("a chain of over 50 variables begins here");
  });
});
