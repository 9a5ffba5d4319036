/** Builders for what `compileBundle` is given. */
import type { CompileInput } from "../../../src/workflow/compile.ts";

export const WORKFLOWS = ".dstack/workflows.yaml";
export const VARIABLES = ".dstack/variables.yaml";

type Parts = {
  readonly workflows?: string;
  readonly variables?: string;
  readonly run?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly request?: Partial<CompileInput["request"]>;
  /** By "workflow:tag". */
  readonly tags?: Readonly<
    Record<string, { run: string; sets: { job: string; attempt: number }[] }>
  >;
  readonly limits?: Partial<CompileInput["limits"]>;
};

const HOUR_MS = 3_600_000;

export function makeInput(parts: Parts): CompileInput {
  const files = new Map(Object.entries(parts.files ?? {}));
  if (parts.workflows !== undefined) files.set(WORKFLOWS, parts.workflows);
  if (parts.variables !== undefined) files.set(VARIABLES, parts.variables);
  if (parts.run !== undefined) files.set(".dstack/run.yaml", parts.run);
  const tags = parts.tags ?? {};
  return {
    files,
    request: { workflows: [], variables: {}, ...parts.request },
    run: { id: "20261123-211530-k3f9q2", name: "brave-otter-42" },
    tags: {
      find: (workflow, tag) => tags[`${workflow}:${tag}`],
      list: (workflow) =>
        Object.keys(tags)
          .filter((reference) => reference.startsWith(`${workflow}:`))
          .map((reference) => reference.slice(workflow.length + 1)),
    },
    limits: { jobsMax: 1_000, maxDurationMs: 24 * HOUR_MS, ...parts.limits },
  };
}

/** One python workflow with these further lines, each indented by four. */
export const pythonWorkflow = (name: string, ...lines: readonly string[]): string =>
  [
    `  - name: ${name}`,
    "    provider: python",
    "    python_script: main.py",
    ...lines.map((line) => `    ${line}`),
  ].join("\n");

export const workflowsFile = (...items: readonly string[]): string =>
  `workflows:\n${items.join("\n")}\n`;
