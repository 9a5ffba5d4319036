// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** What depends on what, from the command line to the files that a job finds in its working directory. */
import { expect, it } from "vitest";
import type { RunView } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { listSent, packDirectory, putObject, untilFinished } from "../support/drop.ts";
import { type Errand, shareErrand } from "../support/errand.ts";
import { shareServer } from "../support/serve.ts";

let isOpen = false;
const gate = shareServer((_, response) => response.writeHead(isOpen ? 200 : 503).end());
const shared = shareErrand();

/** Says which files it starts with, then writes `path=text` for each of its arguments; `wait=URL` waits for an answer. */
const JOB = `
import json, os, sys, time, urllib.request
seen = {}
for folder, _, names in os.walk("."):
    for name in names:
        path = os.path.relpath(os.path.join(folder, name), ".")
        if not path.startswith(".dstack") and not path.endswith("job.py"):
            seen[path] = open(path).read()
print("sees", json.dumps(seen), flush=True)
for word in sys.argv[1:]:
    path, _, text = word.partition("=")
    if path == "wait":
        while True:
            try:
                urllib.request.urlopen(text)
                break
            except OSError:
                time.sleep(0.05)
    elif path == "exit":
        raise SystemExit(int(text))
    else:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        open(path, "w").write(text)
`;

type Item = { readonly script?: string; readonly rest?: string };

const workflow = (name: string, { script = "job.py", rest = "" }: Item): string =>
  `  - name: ${name}\n    provider: python\n    python_script: ${script}\n    ${rest}\n`;

const project = (items: Readonly<Record<string, Item>>, more: Record<string, string> = {}) =>
  makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${Object.entries(items)
      .map(([name, item]) => workflow(name, item))
      .join("")}`,
    "job.py": JOB,
    ...more,
  });

/** The files that each job found when it began. */
async function seenIn(errand: Errand, run = "latest"): Promise<Readonly<Record<string, unknown>>> {
  const { stdout } = await errand.run("logs", run, "--json");
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as LogLine);
  const found = lines.filter(({ line }) => line.startsWith("sees "));
  return Object.fromEntries(found.map(({ job, line }) => [job, JSON.parse(line.slice(5))]));
}

type LogLine = { readonly job: string; readonly line: string };

const statesOf = (view: RunView): Readonly<Record<string, string>> =>
  Object.fromEntries(view.jobs.map(({ name, state }) => [name, state]));
const isFinished = (view: RunView): boolean => view.finishedAt !== null;

const GRAPH: Readonly<Record<string, Item>> = {
  fetch: { script: "job.py data/a=1 data/deep/b=2", rest: "artifacts: [data]" },
  left: { script: "job.py left/l=3", rest: "{depends-on: fetch, artifacts: [left]}" },
  right: { script: "job.py right/r=4", rest: "{depends-on: [fetch], artifacts: [right]}" },
  join: { rest: "depends-on: [left, right]" },
  grow: { script: "job.py data/c=5", rest: "{depends-on: fetch, artifacts: [data]}" },
  grown: { rest: "depends-on: grow" },
  inside: { script: "../job.py", rest: "{depends-on: fetch, working_dir: sub}" },
  one: { script: "job.py out/x=one out/only-one=1", rest: "artifacts: [out]" },
  two: { script: "job.py out/x=two", rest: "artifacts: [out/x]" },
  "two-last": { rest: "depends-on: [one, two]" },
  "one-last": { rest: "depends-on: [two, one]" },
  fails: { script: "job.py exit=3", rest: "depends-on: fetch" },
  after: { rest: "depends-on: [fails, left]" },
  "after-that": { rest: "depends-on: after" },
};

/** `{a: b, c: d}` on one line of a block is no YAML: its parts become lines. */
const spread = (items: typeof GRAPH): typeof GRAPH =>
  Object.fromEntries(
    Object.entries(items).map(([name, { rest = "", ...item }]) => [
      name,
      { ...item, rest: rest.replace(/^\{(.*)\}$/, "$1").replace(/, (?=[a-z_]+:)/, "\n    ") },
    ]),
  );

it("dependencies run first and transitively, their artifacts lie at the same paths, and a failure skips what depends on it alone", async () => {
  const errand = shared();
  const directory = await project(spread(GRAPH), { "sub/here": "!" });
  const { code } = await errand.run("submit", directory);
  const view = await errand.show();

  expect(code).toBe(1);
  expect(view.workflows).toEqual([
    ...["join", "grown", "inside", "two-last", "one-last", "after-that"],
  ]);
  const { fails, after, "after-that": afterThat, ...others } = statesOf(view);
  expect([fails, after, afterThat]).toEqual(["failed", "skipped", "skipped"]);
  expect(new Set(Object.values(others))).toEqual(new Set(["succeeded"]));
  expect(Object.keys(others)).toHaveLength(11);

  const bundle = { "sub/here": "!" };
  const seen = await seenIn(errand);
  const fetched = { "data/a": "1", "data/deep/b": "2" };
  expect(seen.fetch).toEqual(bundle);
  expect(seen.left).toEqual({ ...bundle, ...fetched });
  // Those of direct dependencies, and not what these were given.
  expect(seen.join).toEqual({ ...bundle, "left/l": "3", "right/r": "4" });
  expect(seen.grown).toEqual({ ...bundle, ...fetched, "data/c": "5" });
  expect(seen.inside).toEqual({ here: "!", ...fetched });

  expect(seen["two-last"]).toMatchObject({ "out/x": "two", "out/only-one": "1" });
  expect(seen["one-last"]).toMatchObject({ "out/x": "one", "out/only-one": "1" });
  expect((await errand.run("logs", "latest", "two-last")).stdout).toContain(
    "errand: two brings out/x, which was there already",
  );
});

it("what is asked for is run: a dependency alone, several at once, those that run.yaml or a drop's folder names", async () => {
  const errand = shared();
  const directory = await project(
    {
      prepare: { rest: "artifacts: [job.py]" },
      train: { rest: "depends-on: prepare" },
      test: { rest: "depends-on: prepare" },
      lint: {},
    },
    { ".dstack/run.yaml": "workflows: lint\n" },
  );
  const runs: RunView[] = [];
  for (const names of [["prepare"], ["train", "test"], []]) {
    const { code, stdout } = await errand.run("submit", directory, ...names, "--json");
    expect(code).toBe(0);
    runs.push(JSON.parse(stdout) as RunView);
  }
  const body = await packDirectory(directory);
  const before = await listSent(errand);
  await putObject(errand, "drops/test/mine.tar.gz", { body });
  await putObject(errand, "drops/other.tar.gz", { body, metadata: { workflow: "prepare, lint" } });
  await putObject(errand, "drops/tests/mine.tar.gz", { body });
  const dropped = await untilFinished(errand, 3, before);

  expect(runs.map(({ workflows }) => workflows)).toEqual([
    ["prepare"],
    ["train", "test"],
    ["lint"],
  ]);
  expect(runs.map((run) => Object.keys(statesOf(run)))).toEqual([
    ["prepare"],
    ["prepare", "train", "test"],
    ["lint"],
  ]);
  const named = (workflows: readonly string[]) =>
    dropped.find((run) => run.workflows.join() === workflows.join());
  expect(named(["test"])?.state).toBe("succeeded");
  expect(named(["prepare", "lint"])?.state).toBe("succeeded");
  expect(named(["tests"])?.state).toBe("failed");
  expect(named(["tests"])?.problems).toEqual([
    'request: workflows: there is no workflow "tests"; did you mean "test"?',
  ]);
});

it("a tag is resolved when its run is submitted, brings artifacts without running their workflow, and a missing one names those there are", async () => {
  const url = gate();
  const errand = shared();
  const directory = await project(
    {
      prepare: { script: "job.py data/x=${{ text }}", rest: "artifacts: [data]" },
      slow: { script: `job.py wait=${url}` },
      train: { rest: 'depends-on: [slow, "prepare:v1"]' },
      wrong: { rest: 'depends-on: "prepare:v2"' },
    },
    { ".dstack/variables.yaml": "variables: {prepare: {text: first}}" },
  );
  await errand.run("submit", directory, "prepare", "--tag", "v1");
  const submitted = await errand.run("submit", directory, "train", "--detach", "--json");
  const { id } = JSON.parse(submitted.stdout) as RunView;
  await errand.until("the run taken in", ({ jobs }) => jobs.length === 2, id);
  // The tag moves on while the run waits.
  await errand.run("submit", directory, "prepare", "--tag", "v1", "--text", "second");
  isOpen = true;
  const view = await errand.until("the run's end", isFinished, id);

  expect(statesOf(view)).toEqual({ slow: "succeeded", train: "succeeded" });
  expect((await seenIn(errand, id)).train).toEqual({ "data/x": "first" });
  const later = await errand.run("submit", directory, "train");
  expect(later.code).toBe(0);
  expect((await seenIn(errand)).train).toEqual({ "data/x": "second" });
  const wrong = await errand.run("submit", directory, "wrong");
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('no run of prepare carries the tag "v2"; tags of prepare: v1');
});

it("circles, unknown names, oneself and artifacts of one name are refused before anything is sent", async () => {
  const errand = shared();
  const directory = await project(
    spread({
      a: { rest: "depends-on: [b, a]" },
      b: { rest: "{depends-on: [a, nobody], artifacts: [data]}" },
      c: { rest: "artifacts: [data/]" },
      d: { rest: "depends-on: [b, c]" },
    }),
  );
  const before = await listSent(errand);
  const { code, stderr } = await errand.run("submit", directory);

  expect(code).toBe(2);
  expect(stderr).toContain("a depends on itself");
  expect(stderr).toContain("workflows depend on each other in a circle: a -> b -> a");
  expect(stderr).toContain('unknown workflow "nobody"');
  expect(stderr).toContain('b and c both bring "data"');
  expect(await listSent(errand)).toEqual(before);
});
