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
      const problem = problemAt(place, message, hint);
      // A hint may say one of several uses of the same wrong value.
      const text = renderProblem({ ...problem, hint: "" });
      if (!byText.has(text)) byText.set(text, problem);
      if (byText.size >= PROBLEMS_MAX) throw new BundleError(list());
      return undefined;
    },
    list,
  };
}

/** Of a value that was given elsewhere, there: that is what can be mended. */
export function problemAt(place: Place, message: string, hint: string): Problem {
  const { givenAt, ...here } = place;
  if (!givenAt) return { ...here, message, hint };
  const use = `it is for ${place.path}`;
  return { ...givenAt, message, hint: hint === "" ? use : `${use}: ${hint}` };
}

function byPlace(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
