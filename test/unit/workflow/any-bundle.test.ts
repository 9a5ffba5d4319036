// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Whatever the files hold, there are jobs that the record accepts, or problems that say where. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { jobSchema } from "../../../src/core/workflow.ts";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import { type CompileInput, compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput } from "./bundle.ts";

const odd = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom<unknown>("a", "data", 1, 0, -1, 1.5, true, null, "", "x y", [], {}),
  },
  fc.constantFrom(
    "${{ a }}",
    "x${{ b }}",
    "$${{",
    "${{",
    "${{ run.id }}",
    "'",
    "..",
    "/a",
    "2GB",
    "3.10",
    "1h",
    "a=b",
  ),
  fc.string(),
  fc.array(fc.constantFrom("a", "b:latest", 1, "data", "K=V", null), { maxLength: 3 }),
  fc.dictionary(
    fc.constantFrom("a", "count", "cpu", "gpu", "__proto__", "x"),
    fc.constantFrom(1, "a", null, "2GB"),
  ),
);
const workflow = fc.dictionary(
  fc.constantFrom(
    "depends-on",
    "artifacts",
    "resources",
    "environment",
    "requirements",
    "python",
    "working_dir",
    "list",
    "extra",
  ),
  odd,
  { maxKeys: 3 },
);
const base = fc.constantFrom(
  { provider: "python", python_script: "main.py ${{ a }}" },
  { provider: "curl", url: "https://example.com/${{ a }}", output: "data/x" },
  { provider: "own", list: ["${{ a }}", 2] },
  {},
);
const name = fc.constantFrom("a", "b", "c", "d", "A");
const scalar = fc.constantFrom<unknown>(1, "data", "${{ run.id }}/x", true, "${{ b }}", null);
const section = fc.dictionary(fc.constantFrom("b", "c-d", "e"), scalar, { maxKeys: 2 });
const files = fc.record({
  workflows: fc.array(fc.tuple(name, base, workflow), { minLength: 1, maxLength: 2 }),
  sections: fc.dictionary(fc.constantFrom("a", "b"), section, { maxKeys: 1 }),
  request: fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "x"), { maxKeys: 1 }),
});

const OWN = `
parameters: {properties: {list: {type: array}}}
jobs: [{each: "\${{ list }}", commands: echo, environment: {X: "\${{ item }}"}}]
`;

function run(input: CompileInput): "jobs" | "problems" {
  try {
    for (const job of compileBundle(input).jobs) expect(jobSchema.parse(job)).toEqual(job);
    return "jobs";
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    expect(error.problems.length).toBeGreaterThan(0);
    for (const line of error.lines)
      expect(line).toMatch(/^(\.dstack\/[a-z/]+\.yaml(:\d+:\d+)?|request): \S/);
    return "problems";
  }
}

test("a bundle made of odd parts gives valid jobs or located problems", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(files, ({ workflows, sections, request }) => {
      const items = workflows.map(([own, given, more]) => ({ name: own, ...given, ...more }));
      const input = makeInput({
        workflows: stringify({ workflows: items }),
        variables: stringify({ variables: { global: { a: "1", b: 2 }, ...sections } }),
        files: { ".dstack/providers/own.yaml": OWN },
        request: { variables: request },
      });
      seen.add(run(input));
    }),
    { numRuns: 500 },
  );
  expect([...seen].sort()).toEqual(["jobs", "problems"]);
});

test("any text in place of the files gives located problems", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."workflows:- name\n\t {}[],&*!|>'\"%@`#?~$") }),
  );
  fc.assert(
    fc.property(text, text, (workflows, variables) => {
      expect(run(makeInput({ workflows, variables }))).toBe("problems");
    }),
    { numRuns: 500 },
  );
});
