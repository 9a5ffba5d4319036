// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Whatever the files hold, there are jobs that the record accepts, or problems that say where. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { jobSchema } from "../../../src/core/workflow.ts";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import { type CompileInput, compileBundle } from "../../../src/workflow/compile.ts";
import { runs } from "../../support/property-tests.ts";
import { makeInput } from "./bundle.ts";
import { oddBundles } from "./odd-bundles.ts";

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
    fc.property(oddBundles, ({ workflows, variables, request }) => {
      const input = makeInput({
        workflows: stringify(workflows),
        variables: stringify(variables),
        files: { ".dstack/providers/own.yaml": OWN },
        request: { variables: request },
      });
      seen.add(run(input));
    }),
    { numRuns: runs(120) },
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
    { numRuns: runs(60) },
  );
});
