/** Every example of docs/workflows.md is a bundle that compiles, and what the page lists is what there is. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { AttemptState, JobState, RunState } from "../../../src/core/view.ts";
import { curl } from "../../../src/providers/curl.ts";
import type { Provider } from "../../../src/providers/provider.ts";
import { python } from "../../../src/providers/python.ts";
import { resourcesSchema } from "../../../src/providers/resources.ts";
import { compileBundle } from "../../../src/workflow/compile.ts";
import { makeInput, WORKFLOWS } from "./bundle.ts";

const page = readFileSync(new URL("../../../docs/workflows.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, body]) => body ?? "");

type Example = Readonly<Record<string, string>>;

/** A block's first line names its file; each `workflows.yaml` begins another bundle. */
function readExamples(): readonly Example[] {
  const examples: Record<string, string>[] = [];
  for (const block of blocks) {
    const file = /^# (\.dstack\/\S+)\n/.exec(block)?.[1] ?? "";
    if (file === WORKFLOWS) examples.push({});
    const last = examples.at(-1);
    if (last) last[file] = block;
  }
  return examples;
}

const tags = {
  "prepare:latest": { run: "20261101-000000-aaaaaa", sets: [{ job: "prepare", attempt: 1 }] },
};

/** Lines of the section under a heading, up to the next one. */
const section = (heading: string): string =>
  page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";

/** What stands in backquotes in the first column of the section's tables. */
const listed = (text: string): readonly string[] =>
  [...text.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell]) =>
    [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? ""),
  );

const keysOf = (schema: Provider["parameters"]): readonly string[] =>
  Object.keys((schema.properties as object | undefined) ?? {});

describe("docs/workflows.md", () => {
  test("names the file of each of its blocks", () => {
    expect(blocks.length).toBeGreaterThanOrEqual(10);
    for (const block of blocks)
      expect(block).toMatch(/^# \.dstack\/(workflows|variables|run|providers\/\w+)\.yaml\n/);
  });

  test.each(readExamples().map((files, index) => [index + 1, files] as const))(
    "example %i compiles without a warning",
    (_, files) => {
      const { jobs, warnings } = compileBundle(makeInput({ files, tags }));
      expect(jobs.length).toBeGreaterThan(0);
      expect(warnings).toEqual([]);
    },
  );

  test.each([
    ["Provider python", keysOf(python.parameters)],
    ["Provider curl", keysOf(curl.parameters)],
    ["Resources", keysOf(resourcesSchema)],
  ])("lists every parameter of %s", (heading, keys) => {
    expect([...listed(section(heading))].sort()).toEqual([...keys].sort());
  });

  test("lists every state", () => {
    const runs: readonly RunState[] = ["queued", "running", "succeeded", "failed", "cancelled"];
    const jobs: readonly JobState[] = [
      "waiting",
      "starting",
      "running",
      "uploading",
      "succeeded",
      "failed",
      "timed-out",
      "cancelled",
      "skipped",
      "lost",
    ];
    const attempts: readonly AttemptState[] = [
      "launching",
      "booting",
      "running",
      "uploading",
      "succeeded",
      "failed",
      "timed-out",
      "cancelled",
      "lost",
    ];
    const states = section("States");
    expect(listed(states)).toEqual([...runs, ...jobs]);
    const sentence = states.slice(states.indexOf("An attempt is"));
    expect([...sentence.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name)).toEqual(attempts);
  });
});
