/** The provider python: what each of its parameters becomes. */
import { describe, expect, test } from "vitest";
import { python } from "../../../src/providers/python.ts";
import { compileWith } from "./read.ts";

const taskOf = (line: string) => compileWith(python, `python_script: main.py\n${line}\n`).job?.task;
const jobOf = (line: string) => compileWith(python, `python_script: main.py\n${line}\n`).job;

describe("python", () => {
  test.each([
    ["python: 3.10", "3.10"],
    ['python: "3.10"', "3.10"],
    ["python: 3.8", "3.8"],
    ["python: 3.14", "3.14"],
    ["python:", "3.10"],
    ["artifacts: [x]", "3.10"],
  ])("%s asks for %s %s", (line, version) => {
    expect(taskOf(line)).toMatchObject({ version });
  });

  test.each(["3.1", "3.7", "3", "2.7", '"3.10.1"', "3.100", "4.0", "latest", "true", "3.10e0"])(
    "python: %s is refused",
    (version) => {
      const { job, told } = compileWith(python, `python_script: a.py\npython: ${version}\n`);
      expect(job).toBeUndefined();
      expect(told).toHaveLength(1);
    },
  );

  test("the script is split into words", () => {
    const { job } = compileWith(python, "python_script: \"-m pkg.train --name 'a b' ''\"\n");
    expect(job?.task).toEqual({
      type: "python",
      version: "3.10",
      words: ["-m", "pkg.train", "--name", "a b", ""],
    });
  });

  test("a script over several lines is one command", () => {
    const { job } = compileWith(python, "python_script: |\n  train.py\n    --epochs 3\n");
    expect(job?.task).toMatchObject({ words: ["train.py", "--epochs", "3"] });
  });

  test("what a shell would act on is a warning", () => {
    const { job, warned } = compileWith(python, "python_script: train.py > log.txt\n");
    expect(job?.task).toMatchObject({ words: ["train.py", ">", "log.txt"] });
    expect(warned).toEqual(['">" reaches the script as it stands: no shell reads the line']);
  });

  test.each([
    ["requirements: requirements.txt", { file: "requirements.txt" }],
    ["requirements: ./env//gpu.txt", { file: "env/gpu.txt" }],
    ['requirements: [numpy, "torch>=2,<3"]', { packages: ["numpy", "torch>=2,<3"] }],
    ["requirements: []", { packages: [] }],
    ["requirements:", undefined],
  ])("%s", (line, requirements) => {
    const task = taskOf(line);
    expect(task?.type === "python" && task.requirements).toEqual(requirements);
  });

  test.each([
    ["environment: {A: 0x10, B: 1e3, C: yes, D: 1.10, E: true, F: '', G: 'x $y'}"],
    ["environment: ['A=0x10', B=1e3, C=yes, D=1.10, E=true, F=, 'G=x $y']"],
  ])("%s passes each value as it is written", (line) => {
    expect(jobOf(line)?.environment).toEqual({
      A: "0x10",
      B: "1e3",
      C: "yes",
      D: "1.10",
      E: "true",
      F: "",
      G: "x $y",
    });
  });

  test("values hold whatever characters they hold, and the first = divides", () => {
    const values = ["a\nb", "q\"'`", "$(id)", "ünïcode ☂", "a=b=c", " blank "];
    const asMap = values.map((value, index) => `  K${index}: ${JSON.stringify(value)}`);
    const asList = values.map((value, index) => `  - ${JSON.stringify(`K${index}=${value}`)}`);
    const expected = Object.fromEntries(values.map((value, index) => [`K${index}`, value]));
    expect(jobOf(`environment:\n${asMap.join("\n")}`)?.environment).toEqual(expected);
    expect(jobOf(`environment:\n${asList.join("\n")}`)?.environment).toEqual(expected);
  });

  test("odd names of variables are kept", () => {
    expect(
      jobOf('environment: {"a b": 1, "ü": 2, constructor: 3, 1: 4, ~: 5}')?.environment,
    ).toEqual(
      Object.fromEntries([
        ["a b", "1"],
        ["ü", "2"],
        ["constructor", "3"],
        ["1", "4"],
        ["~", "5"],
      ]),
    );
  });

  test("paths are brought into one spelling", () => {
    const job = jobOf(
      'working_dir: ./src/\nartifacts: [data/, ./a//b/, "*.csv", "-x", "a b", ...]',
    );
    expect(job?.workingDir).toBe("src");
    expect(job?.artifacts).toEqual(["data", "a/b", "*.csv", "-x", "a b", "..."]);
    expect(jobOf("working_dir: ./")?.workingDir).toBe(".");
  });
});
