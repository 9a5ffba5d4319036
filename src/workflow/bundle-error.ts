/** Everything that is wrong with a bundle, at once. */
import { UserError } from "../errors.ts";
import { type Problem, renderProblem } from "../providers/problem.ts";

/** At most this many are shown: the rest mostly follows from the first. */
const SHOWN_MAX = 100;

/** The message has one line for each problem, `file:line:column: path: what is wrong; how to mend it`. */
export class BundleError extends UserError {
  /** In the order of file, line and column; at least one. */
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(renderLines(problems).join("\n"));
    this.problems = problems;
  }

  /** The problems as they are shown, one a line. */
  get lines(): readonly string[] {
    return renderLines(this.problems);
  }
}

function renderLines(problems: readonly Problem[]): readonly string[] {
  const lines = problems.slice(0, SHOWN_MAX).map(renderProblem);
  const left = problems.length - lines.length;
  return left > 0 ? [...lines, `and ${left} more`] : lines;
}
