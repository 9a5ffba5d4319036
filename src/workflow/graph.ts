/** What depends on what: unknown and circular references, roots, and the order in which jobs are listed. */
import { suggest } from "../providers/near.ts";
import { quote, type Report } from "../providers/problem.ts";
import type { Dependency, Workflow } from "./workflows.ts";

/** Dependencies that run first in the same run; a tag brings an earlier run's artifacts instead. */
export const jobDependencies = (workflow: Workflow): readonly Dependency[] =>
  workflow.dependsOn.filter(({ tag }) => tag === undefined);

/** `badlyNamed` are known and in no circle. Reports unknown workflows, workflows that depend on themselves, and each circle once. Returns whether there is a circle. */
export function checkGraph(
  workflows: ReadonlyMap<string, Workflow>,
  badlyNamed: readonly Workflow[],
  report: Report,
): boolean {
  const names = [...workflows.keys()];
  const known = new Set([...names, ...badlyNamed.map(({ name }) => name)]);
  for (const workflow of [...workflows.values(), ...badlyNamed]) {
    for (const { workflow: name, place } of jobDependencies(workflow)) {
      if (name === workflow.name) {
        const hint = `take it out, or name a tag, as in ${name}:latest, for the artifacts of an earlier run`;
        report(place, `${name} depends on itself`, hint);
      } else if (!known.has(name)) {
        report(place, `unknown workflow ${quote(name)}`, suggest(name, names, "workflows"));
      }
    }
  }
  return reportCircles(workflows, report);
}

function reportCircles(workflows: ReadonlyMap<string, Workflow>, report: Report): boolean {
  let isAny = false;
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (workflow: Workflow): void => {
    path.push(workflow.name);
    for (const { workflow: name, place } of jobDependencies(workflow)) {
      const next = workflows.get(name);
      const start = path.indexOf(name);
      if (start >= 0 && name !== workflow.name) {
        isAny = true;
        const circle = [...path.slice(start), name].join(" -> ");
        report(
          place,
          `workflows depend on each other in a circle: ${circle}`,
          "take one of these dependencies out",
        );
      } else if (next && start < 0 && !done.has(name)) visit(next);
    }
    path.pop();
    done.add(workflow.name);
  };
  for (const workflow of workflows.values()) if (!done.has(workflow.name)) visit(workflow);
  return isAny;
}

/** Those that no other workflow names, with or without a tag. */
export function findRoots(workflows: ReadonlyMap<string, Workflow>): readonly string[] {
  const named = new Set(
    [...workflows.values()].flatMap(({ name, dependsOn }) =>
      dependsOn.map(({ workflow }) => workflow).filter((other) => other !== name),
    ),
  );
  return [...workflows.keys()].filter((name) => !named.has(name));
}

/** The named workflows and all they depend on, dependencies first; `open` is asked once for each. */
export function closureOf(
  names: readonly string[],
  open: (name: string) => Workflow | undefined,
): readonly Workflow[] {
  const seen = new Set<string>();
  const order: Workflow[] = [];
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const workflow = open(name);
    if (!workflow) return;
    for (const dependency of jobDependencies(workflow)) visit(dependency.workflow);
    order.push(workflow);
  };
  for (const name of names) visit(name);
  return order;
}
