/** The artifacts that a workflow's jobs start with: those of its direct dependencies, in the order listed. */
import type { Input, Job } from "../core/workflow.ts";
import { quote, type Report } from "../providers/problem.ts";
import type { Dependency, Workflow } from "./workflows.ts";

/** The tags there are, as read before compiling. */
export type Tags = {
  readonly find: (workflow: string, tag: string) => TaggedSets | undefined;
  /** Names of the tags of a workflow. */
  readonly list: (workflow: string) => readonly string[];
};

export type TaggedSets = {
  readonly run: string;
  readonly sets: readonly { readonly job: string; readonly attempt: number }[];
};

type JobsOf = (workflow: string) => readonly Pick<Job, "name" | "artifacts">[];

export function listInputs(
  workflow: Workflow,
  jobsOf: JobsOf,
  tags: Tags,
  report: Report,
): readonly Input[] {
  return workflow.dependsOn.flatMap((dependency): readonly Input[] => {
    if (dependency.tag !== undefined) return taggedInputs(dependency, dependency.tag, tags, report);
    return jobsOf(dependency.workflow).map(({ name }) => ({ type: "job", job: name }));
  });
}

function taggedInputs(
  { workflow, reference, place }: Dependency,
  tag: string,
  tags: Tags,
  report: Report,
): readonly Input[] {
  const found = tags.find(workflow, tag);
  if (found && found.sets.length > 0) {
    const { run, sets } = found;
    return sets.map(({ job, attempt }) => ({ type: "set", reference, run, job, attempt }));
  }
  const known = tags.list(workflow);
  const hint =
    known.length > 0
      ? `tags of ${workflow}: ${known.slice(0, 20).join(", ")}`
      : `${workflow} has no tags yet: errand submit . ${workflow} --tag ${tag}`;
  report(place, `no run of ${workflow} carries the tag ${quote(tag)}`, hint);
  return [];
}

/** Two dependencies that declare the same artifact: one would hide the other. */
export function checkCollisions(
  workflow: Workflow,
  jobsOf: JobsOf,
  report: Report,
  warn: Report,
): void {
  const bringers = new Map<string, Dependency>();
  const references = new Map<string, Dependency>();
  for (const dependency of workflow.dependsOn) {
    const other = references.get(dependency.workflow);
    references.set(dependency.workflow, dependency);
    if (other) {
      const both = `${other.reference} and ${dependency.reference}`;
      warn(dependency.place, `${both} bring the same artifacts: the last one wins`, "keep one");
      continue;
    }
    if (dependency.tag !== undefined) continue;
    const paths = new Set(jobsOf(dependency.workflow).flatMap(({ artifacts }) => artifacts));
    for (const path of paths) {
      const first = bringers.get(path);
      bringers.set(path, first ?? dependency);
      if (!first) continue;
      const both = `${first.reference} and ${dependency.reference}`;
      report(
        dependency.place,
        `${both} both bring ${quote(path)}`,
        "give one of them another artifact path",
      );
    }
  }
}
