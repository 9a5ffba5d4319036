/**
 * A corpus of broken bundles. Each file of `broken/` holds the bundle's files, each under a line
 * `--- <path>` (`--- request` is what came with the submission, as JSON; `--- <path>, repeated to N characters` is for
 * what is too large to keep), and under `=== problems` what a user is told. `vitest -u` writes the problems anew; read the difference before keeping it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BundleError } from "../../../src/workflow/bundle-error.ts";
import { type CompileInput, compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput } from "./bundle.ts";

const folder = new URL("broken/", import.meta.url);
const MARK = "=== problems\n";

describe("a broken bundle", () => {
  const names = readdirSync(folder).filter((name) => name.endsWith(".txt"));

  test.each(names)("%s is refused with all its problems, places and cures", async (name) => {
    const [bundle = ""] = readFileSync(new URL(name, folder), "utf8").split(MARK);
    const told = problemsOf(parseBundle(bundle));
    await expect(`${bundle}${MARK}${told.join("\n")}\n`).toMatchFileSnapshot(
      new URL(name, folder).pathname,
    );
  });

  test("stands in a corpus of at least sixty", () => {
    expect(names.length).toBeGreaterThanOrEqual(60);
  });
});

function parseBundle(text: string): CompileInput {
  const parts = text.split(/^--- (.+)\n/m).slice(1);
  const files = new Map<string, string>();
  for (let index = 0; index < parts.length; index += 2) {
    const [, path = "", count = "1"] =
      /^(.*?)(?:, repeated to (\d+) characters)?$/.exec(parts[index] ?? "") ?? [];
    const part = parts[index + 1] ?? "";
    files.set(path, part.repeat(Math.ceil(Number(count) / Math.max(1, part.length))));
  }
  const request: Partial<CompileInput["request"]> = JSON.parse(files.get("request") ?? "{}");
  files.delete("request");
  return makeInput({
    files: Object.fromEntries(files),
    request,
    tags: {
      "prepare:v1": { run: "20261101-000000-aaaaaa", sets: [{ job: "prepare", attempt: 1 }] },
    },
    limits: { jobsMax: 10, jobRoles: ["training", "data"] },
  });
}

function problemsOf(input: CompileInput): readonly string[] {
  try {
    compileBundle(input);
  } catch (error) {
    if (error instanceof BundleError) return error.lines;
    throw error;
  }
  return ["(none)"];
}
