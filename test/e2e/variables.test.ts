// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Variables from where they are set to what a job is given. */
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { packDirectory, putObject, untilFinished } from "../support/drop.ts";
import { type Errand, runErrand, startErrand } from "../support/errand.ts";

const project = () =>
  makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: show
    provider: python
    python_script: show.py "\${{ count }}" \${{ratio}} '\${{ text }}' '$\${{ count }}' \${{ run.name }} \${{ workflow.name }}
    environment: {OWN: "\${{ count }}", RATIO: "environment wins"}
  - name: other
    provider: python
    python_script: show.py
`,
    ".dstack/variables.yaml": `
variables:
  global: {count: 1, batch-size: 64, root: "out/\${{ run.id }}", shared: global, flag: true}
  show: {count: 3, ratio: 1.10, text: plain, path-to: "\${{ root }}/\${{ workflow.name }}", shared: own}
`,
    ".dstack/run.yaml": "workflows: [show]\nvariables: {count: 4, ratio: 2.50, flag: false}\n",
    "show.py":
      "import json, os, sys\nprint('given', json.dumps([sys.argv[1:], dict(os.environ)]), flush=True)\n",
  });

type Given = [words: string[], environment: Record<string, string>];

async function givenTo(errand: Errand, run: string): Promise<Given> {
  const { stdout } = await errand.run("logs", run, "show");
  return JSON.parse(/^given (.*)$/m.exec(stdout)?.[1] ?? "null") as Given;
}

it("the command line goes before metadata, metadata before run.yaml, run.yaml before variables.yaml, and a job is given them exactly", async () => {
  const errand = await startErrand();
  const directory = await project();
  const text = 'a "b" $HOME `x` ü';
  const submitted = await errand.run(
    ...["submit", directory, "--count", "0x10", "--Batch_Size=128", "--var", `text=${text}`],
  );
  expect(submitted.code).toBe(0);
  const view = await errand.show();
  const [words, environment] = await givenTo(errand, view.id);
  expect(words).toEqual(["0x10", "2.50", text, "${{ count }}", view.name, "show"]);
  expect(environment).toMatchObject({
    ...{ COUNT: "0x10", OWN: "0x10", RATIO: "environment wins", TEXT: text, FLAG: "false" },
    ...{ BATCH_SIZE: "128", SHARED: "own", ROOT: `out/${view.id}`, PATH_TO: `out/${view.id}/show` },
  });
  expect(view.jobs.map(({ name }) => name)).toEqual(["show"]);

  // As the command line sends it, beside what anybody may set.
  const request = { workflows: [], variables: { count: "7" } };
  const metadata = {
    "errand-request": Buffer.from(JSON.stringify(request)).toString("base64"),
    ...{ "var-count": "8", "var-text": "from metadata", "var-batch-size": "256" },
  };
  await putObject(errand, "drops/mine.tar.gz", { body: await packDirectory(directory), metadata });
  const [dropped] = await untilFinished(errand, 2);
  const [dropWords, dropEnvironment] = await givenTo(errand, dropped?.id ?? "");
  expect(dropWords.slice(0, 3)).toEqual(["7", "2.50", "from metadata"]);
  expect(dropEnvironment).toMatchObject({ BATCH_SIZE: "256", FLAG: "false", SHARED: "own" });
});

it("a reference alone keeps its type, an override is coerced to it, and what cannot be is refused by name", async () => {
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: train
    provider: python
    python_script: train.py
    resources: {gpu: "\${{ tgpu }}", cpu: "\${{ cpus }}"}
`,
    ".dstack/variables.yaml": "variables: {train: {tgpu: 0, cpus: 2, big: false}}",
    "train.py": "",
  });
  const plan = (...words: string[]) => runErrand("plan", directory, "--local", "--json", ...words);
  const typeOf = async (...words: string[]) =>
    (JSON.parse((await plan(...words)).stdout) as { jobs: { instanceType: string }[] }).jobs[0]
      ?.instanceType;

  expect(await typeOf()).toMatch(/^c/);
  expect(await typeOf("--tgpu", "1")).toMatch(/^g/);
  const refused = await plan("--tgpu", "many", "--big=perhaps", "--cpu", "2");
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain(
    'request: variables.tgpu: must be a number, found the text "many"; the variable is the number 0 in .dstack/variables.yaml:1:',
  );
  expect(refused.stderr).toContain(
    'variables.big: must be true or false, found the text "perhaps"',
  );
  expect(refused.stderr).toContain(
    'no workflow of this run declares a variable "cpu"; did you mean "cpus"?',
  );
});

it("unknown names are told with near ones, and circles of variables with all their names", async () => {
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: train
    provider: python
    python_script: train.py \${{ epoch }} \${{ a }}
`,
    ".dstack/variables.yaml": `
variables:
  train: {epochs: 3, a: "x \${{ b }}", b: "\${{ a }}"}
`,
    "train.py": "",
  });
  const { code, stdout } = await runErrand("check", directory);
  expect(code).toBe(2);
  expect(stdout).toBe(
    [
      ".dstack/variables.yaml:3:25: variables.train.a: variables refer to each other in a circle: a -> b -> a; give one of them a value of its own",
      '    3 |   train: {epochs: 3, a: "x ${{ b }}", b: "${{ a }}"}',
      "      |                         ^",
      '.dstack/workflows.yaml:5:20: workflows[train].python_script: workflow "train" knows no variable "epoch"; did you mean "epochs"?',
      "    5 |     python_script: train.py ${{ epoch }} ${{ a }}",
      "      |                    ^",
      "",
    ].join("\n"),
  );
});
