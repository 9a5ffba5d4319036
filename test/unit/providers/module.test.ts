import { describe, expect, test } from "vitest";
import type { kit, ModuleProvider } from "../../../src/providers/kit.ts";
import { readProviderModule } from "../../../src/providers/module.ts";
import { compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput, workflowsFile } from "../workflow/bundle.ts";

const task = { type: "commands", script: "true" } as const;
const download = { type: "curl", url: "https://example.com/x", output: "raw/x" } as const;
const parameters = { type: "object", properties: { count: { type: "integer" } } };

const makeProvider = (compile: (...args: never[]) => unknown): ModuleProvider => ({
  name: "mine",
  parameters,
  compile: compile as ModuleProvider["compile"],
});

function compileWith(compile: (...args: never[]) => unknown, parameter = "count: 2") {
  const provider = readProviderModule({ provider: makeProvider(compile) }, "./mine.mjs");
  const workflows = workflowsFile(`  - name: go\n    provider: mine\n    ${parameter}`);
  return compileBundle({ ...makeInput({ workflows }), providers: [provider] });
}

describe("an operator's provider", () => {
  test("makes jobs, and what it leaves out of one is as in a workflow that does not say it", () => {
    const [job] = compileWith(() => [{ task }]).jobs;
    expect(job).toMatchObject({
      name: "go",
      provider: "mine",
      task,
      environment: {},
      workingDir: ".",
      artifacts: [],
      resources: { diskBytes: 100e9, retry: { lost: 2, failed: 0 } },
    });
  });

  test("is handed the readers by createProvider, so that it needs no import", () => {
    const module = {
      createProvider: (given: typeof kit): ModuleProvider => {
        const reader = given.fields(
          { count: given.required(given.integer({ min: 1, max: 3 })) },
          { what: "a map" },
        );
        return {
          name: "mine",
          parameters: reader.schema,
          compile: (map, { report }) => {
            const read = reader.read(map, report);
            return (
              read &&
              Array.from({ length: read.count }, (_, index) => ({ part: `p${index}`, task }))
            );
          },
        };
      },
    };
    const providers = [readProviderModule(module, "./mine.mjs")];
    const compileCount = (count: number) =>
      compileBundle({
        ...makeInput({
          workflows: workflowsFile(`  - name: go\n    provider: mine\n    count: ${count}`),
        }),
        providers,
      });
    expect(compileCount(2).jobs.map(({ name }) => name)).toEqual(["go.p0", "go.p1"]);
    expect(() => compileCount(4)).toThrow(
      "workflows.yaml:4:12: workflows[go].count: must be a whole number from 1 to 3",
    );
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      "throws",
      () => {
        throw new Error("oops");
      },
      /the provider "mine" threw "oops"; .*operator.*mine\.mjs/,
    ],
    ["returns nothing and says nothing", () => undefined, /made no jobs, and said no reason/],
    ["makes no jobs", () => [], /made no jobs/],
    [
      "returns a promise, even one that is rejected",
      () => Promise.reject(new Error("late")),
      /returned a promise/,
    ],
    ["returns what is no list", () => ({ task }), /made no jobs/],
    ["makes a job without a task", () => [{ part: "" }], /made a job that is none: 0\.task/],
    ["makes a job with a key of its own", () => [{ task, image: "x" }], /made a job that is none/],
    [
      "names an artifact outside",
      () => [{ task, artifacts: ["../../etc"] }],
      /leads out of its folder/,
    ],
    ["names a working directory outside", () => [{ task, workingDir: "/etc" }], /is absolute/],
    ["names a job that is no name", () => [{ task, part: "a/b" }], /"a\/b", which is no name/],
    ["puts a NUL into the environment", () => [{ task, environment: { A: "\0" } }], /NUL/],
    [
      "sets a name of Errand's own",
      () => [{ task, environment: { ERRAND_RUN: "x" } }],
      /"ERRAND_RUN"/,
    ],
    [
      "downloads what is no URL",
      () => [{ task: { ...download, url: "example.com/x" } }],
      /must be the URL/,
    ],
    [
      "downloads by another scheme",
      () => [{ task: { ...download, url: "file:///etc/passwd" } }],
      /"file:" URLs are refused/,
    ],
    [
      "downloads to a place outside",
      () => [{ task: { ...download, output: "../x" } }],
      /leads out of its folder/,
    ],
    [
      "downloads to a folder",
      () => [{ task: { ...download, output: "raw/" } }],
      /"raw\/" is a folder/,
    ],
    [
      "knows no checksum by its look",
      () => [{ task: { ...download, sha256: "12" } }],
      /64 hex digits/,
    ],
    [
      "asks for a Python that is too old",
      () => [{ task: { type: "python", version: "3.7", words: ["x"] } }],
      /too old/,
    ],
    ["puts a NUL into a command", () => [{ task: { ...task, script: "a\0b" } }], /NUL/],
    ["makes too many jobs", () => Array(1001).fill({ task }), /makes more than 1000 jobs/],
    [
      "makes a job whose reading throws",
      () => [
        {
          get task() {
            throw new Error("trap");
          },
        },
      ],
      /threw "trap"/,
    ],
  ])("that %s is a problem of the workflow that used it", (_what, compile, message) => {
    expect(() => compileWith(compile)).toThrow(message);
    expect(() => compileWith(compile)).toThrow(/workflows\.yaml:2:5: workflows\[go\]/);
  });

  test("downloads as the provider curl does: on a burstable machine, with a warning where nothing keeps the file", () => {
    const { jobs, warnings } = compileWith(() => [
      { task: { ...download, sha256: "A".repeat(64) }, artifacts: ["other"] },
    ]);
    expect(jobs[0]?.task).toEqual({ ...download, sha256: "a".repeat(64) });
    expect(jobs[0]?.resources.burstable).toBe(true);
    expect(warnings.join()).toContain('"raw/x" lies under no artifact');
  });

  test("knows the keys of its parameters", () => {
    expect(() => compileWith(() => [{ task }], "cuont: 2")).toThrow('did you mean "count"?');
  });

  test("cannot be replaced by a bundle's own of the same name", () => {
    const provider = readProviderModule({ default: makeProvider(() => [{ task }]) }, "./mine.mjs");
    const input = makeInput({
      workflows: workflowsFile("  - name: go\n    provider: mine"),
      files: { ".dstack/providers/mine.yaml": "jobs: [{commands: make}]" },
    });
    expect(() => compileBundle({ ...input, providers: [provider] })).toThrow(
      'the provider "mine" is the operator\'s; choose another name',
    );
  });
});

test.each<[string, unknown, string]>([
  ["exports nothing", {}, "exports no provider"],
  ["has no name", { provider: { parameters, compile: () => [] } }, "without a name"],
  [
    "has a name that is none",
    { provider: { name: "a b", parameters, compile: () => [] } },
    "without a name",
  ],
  ["declares no parameters", { provider: { name: "a", compile: () => [] } }, "no JSON Schema"],
  ["cannot compile", { provider: { name: "a", parameters } }, "has no compile"],
  [
    "throws in createProvider",
    {
      createProvider: () => {
        throw new Error("oops");
      },
    },
    "threw in createProvider",
  ],
])("a module that %s is refused by name", (_what, exported, message) => {
  expect(() => readProviderModule(exported, "./x.mjs")).toThrow(message);
  expect(() => readProviderModule(exported, "./x.mjs")).toThrow("./x.mjs");
});
