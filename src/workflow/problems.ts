/** A list of problems being made. */

import { type Place, type Problem, type Report, renderProblem } from "../providers/problem.ts";
import { BundleError } from "./bundle-error.ts";

/** More than anybody reads; a hostile file could have one for each of its characters. */
const PROBLEMS_MAX = 200;

export type Problems = {
  /** Throws BundleError when there are so many that looking for more is of no use. */
  readonly report: Report;
  /** Without repetition, in the order of file, line and column. */
  readonly list: () => readonly Problem[];
};

export function collectProblems(): Problems {
  const byText = new Map<string, Problem>();
  const list = () => [...byText.values()].sort(byPlace);
  return {
    report: (place: Place, message: string, hint = "") => {
      const problem = { ...place, message, hint };
      byText.set(renderProblem(problem), problem);
      if (byText.size >= PROBLEMS_MAX) throw new BundleError(list());
      return undefined;
    },
    list,
  };
}

function byPlace(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
