/** The published JSON Schemas: they are those of this source, and agree with what `errand check` says. */
import { readdirSync, readFileSync } from "node:fs";
import { Ajv } from "ajv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { JsonSchema } from "../../../src/providers/read.ts";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import { compileBundle } from "../../../src/workflow/compile.ts";
import { bundleSchemas } from "../../../src/workflow/schema.ts";
import { runs } from "../../support/property-tests.ts";
import { makeInput } from "./bundle.ts";
import { oddBundles } from "./odd-bundles.ts";

const root = new URL("../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
const schemas = bundleSchemas();
const validators = {
  workflows: ajv.compile(schemas.workflows),
  variables: ajv.compile(schemas.variables),
  run: ajv.compile(schemas.run),
  provider: ajv.compile(schemas.provider),
};
type Stem = keyof typeof validators;

/** What is wrong with a file of `.dstack/`, one line each; nothing for files that have no schema. */
function faultsOf(file: string, text: string): readonly string[] {
  const [, name, inProviders] =
    /^\.dstack\/(?:(workflows|variables|run)|(providers\/[^/]+))\.ya?ml$/.exec(file) ?? [];
  const stem = (inProviders ? "provider" : name) as Stem | undefined;
  if (!stem) return [];
  const validate = validators[stem];
  validate(parse(text, { version: "1.2", schema: "core", logLevel: "error" }));
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

describe("the JSON Schemas", () => {
  test.each(Object.keys(validators) as Stem[])(
    "schema/%s.json is that of this source: else run npm run schema",
    (stem) => {
      expect(JSON.parse(read(`schema/${stem}.json`))).toEqual(schemas[stem]);
    },
  );

  test("describe every key of every provider", () => {
    const { python, curl } = schemas.workflows.definitions as Readonly<Record<string, JsonSchema>>;
    const { job } = schemas.provider.definitions as Readonly<Record<string, JsonSchema>>;
    const keys = [python, curl, job].flatMap((each) => Object.entries(each?.properties ?? {}));
    expect(keys.length).toBeGreaterThan(15);
    const undescribed = keys.filter(([, property]) => !("description" in property));
    expect(undescribed.map(([key]) => key)).toEqual([]);
  });

  test("accept every example of the repository", () => {
    const files = readdirSync(new URL("examples", root), { recursive: true, encoding: "utf8" });
    const found = files.flatMap((path) => {
      const [, file] = /(?:^|\/)(\.dstack\/(?:providers\/)?[^/]+\.ya?ml)$/.exec(path) ?? [];
      return file === undefined ? [] : [[path, faultsOf(file, read(`examples/${path}`))]];
    });
    expect(found.length).toBeGreaterThanOrEqual(5);
    for (const [path, faults] of found) expect([path, faults]).toEqual([path, []]);
  });

  test("accept every example of the documents", () => {
    const blocks = [...read("docs/workflows.md").matchAll(/^```yaml\n# (\S+)\n([\s\S]*?)^```$/gm)];
    expect(blocks.length).toBeGreaterThanOrEqual(10);
    for (const [, file = "", text = ""] of blocks) expect(faultsOf(file, text)).toEqual([]);
  });

  test("accept whatever a check accepts", () => {
    let accepted = 0;
    const texts = oddBundles.map(({ workflows, variables, request }) => ({
      ...{ workflows: stringify(workflows), variables: stringify(variables), request },
    }));
    fc.assert(
      fc.property(texts, ({ workflows, variables, request }) => {
        try {
          compileBundle(makeInput({ workflows, variables, request: { variables: request } }));
        } catch (error) {
          if (error instanceof BundleError) return;
          throw error;
        }
        accepted += 1;
        expect(faultsOf(".dstack/workflows.yaml", workflows)).toEqual([]);
        expect(faultsOf(".dstack/variables.yaml", variables)).toEqual([]);
      }),
      { numRuns: runs(250) },
    );
    expect(accepted).toBeGreaterThan(5);
  });
});

describe("of the broken bundles, the schemas", () => {
  const folder = new URL("broken/", import.meta.url);
  const corpus = readdirSync(folder).map((name) => {
    const [bundle = ""] = readFileSync(new URL(name, folder), "utf8").split("=== problems\n");
    const parts = bundle.split(/^--- (.+)\n/m).slice(1);
    const files = parts.flatMap((part, index) =>
      index % 2 ? [] : [[part, parts[index + 1] ?? ""]],
    );
    return { name: name.replace(".txt", ""), files: files as [file: string, text: string][] };
  });

  /** Syntax errors are for the editor's YAML, and not for a schema. */
  const refuses = (files: readonly (readonly [string, string])[]): boolean =>
    files.some(([file, text]) => {
      try {
        return faultsOf(file, text).length > 0;
      } catch {
        return false;
      }
    });

  test("refuse those whose fault is in the shape of a file", () => {
    const refused = corpus.filter(({ files }) => refuses(files)).map(({ name }) => name);
    expect(refused).toMatchInlineSnapshot(`
      [
        "artifacts-paths",
        "artifacts-text",
        "curl-not-a-url",
        "curl-nothing",
        "curl-schemes",
        "curl-space",
        "custom-declaration",
        "custom-job",
        "depends-wrong-type",
        "environment-items",
        "environment-map",
        "environment-scalar",
        "environment-secrets",
        "files-binary",
        "files-both-spellings",
        "files-empty",
        "many-at-once",
        "names-bad-and-more",
        "names-bad",
        "paths-traversal",
        "providers-unknown-and-more",
        "python-requirements-items",
        "python-requirements-outside",
        "python-script-missing",
        "python-script-number",
        "python-version-list",
        "python-version-patch",
        "python-version-two",
        "python-version-word",
        "request-run-file",
        "resources-gpu",
        "resources-list",
        "resources-quoted",
        "resources-ranges",
        "resources-types",
        "resources-unknown-keys",
        "shape-no-name-no-provider",
        "shape-no-workflows",
        "shape-root-key",
        "shape-root-list",
        "shape-unknown-keys",
        "shape-workflow-is-text",
        "shape-workflows-map",
        "variables-root",
        "variables-section-unknown",
        "variables-shapes",
        "working-dir",
        "yaml-alias-in-itself",
        "yaml-binary-tag",
        "yaml-custom-tag",
        "yaml-merge-key",
        "yaml-version-1.1",
      ]
    `);
  });
});
