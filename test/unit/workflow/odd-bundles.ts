// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Bundles made of parts that are right, nearly right, and odd. */
import fc from "fast-check";

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
const parts = fc.record({
  workflows: fc.array(fc.tuple(name, base, workflow), { minLength: 1, maxLength: 2 }),
  sections: fc.dictionary(fc.constantFrom("a", "b"), section, { maxKeys: 1 }),
  request: fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "x"), { maxKeys: 1 }),
});

export const oddBundles = parts.map(({ workflows, sections, request }) => ({
  workflows: {
    workflows: workflows.map(([own, given, more]) => ({ name: own, ...given, ...more })),
  },
  variables: { variables: { global: { a: "1", b: 2 }, ...sections } },
  request,
}));
