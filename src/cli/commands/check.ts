/** `errand check`: everything that is wrong with a directory's workflow files, at its place, without asking a cloud. */
import { runName } from "../../daemon/names.ts";
import type { Problem } from "../../providers/problem.ts";
import { BundleError } from "../../workflow/bundle-error.ts";
import { type Bundle, compile, readBundle } from "../bundle.ts";
import { chooseRunId } from "../drop.ts";
import { readLimitsNearby } from "../limits.ts";
import { findMissingFiles } from "../missing-files.ts";
import type { Output } from "../output.ts";
import { loadProvidersNearby } from "../provider-modules.ts";
import { problemJson, renderProblems } from "../render-problems.ts";
import { formatCount } from "../render-values.ts";
import { readAsked } from "../request.ts";
import { systemClock } from "../system-clock.ts";
import type { PlanOptions } from "./plan.ts";

type Findings = {
  readonly workflows: readonly string[];
  readonly jobs: readonly string[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

/** 0 when all is well, warnings or not; 2 with problems. */
export async function check(
  output: Output,
  words: readonly string[],
  options: PlanOptions,
): Promise<number> {
  const asked = await readAsked(words, options);
  const bundle = await readBundle(asked.directory);
  const limits = await readLimitsNearby(options);
  const id = chooseRunId(systemClock.now());
  const run = { id, name: runName(id) };
  const providers = await loadProvidersNearby(options);
  const { request } = asked;
  const findings = await find(bundle, { request, run, limits, tags: "assumed", providers });
  if (options.json) {
    const { workflows, jobs, problems, warnings } = findings;
    output.json({
      problems: problems.map(problemJson),
      warnings: warnings.map(problemJson),
      workflows,
      jobs,
    });
  } else {
    tell(output, bundle, findings);
  }
  return findings.problems.length > 0 ? EXIT_PROBLEMS : 0;
}

const EXIT_PROBLEMS = 2;

async function find(bundle: Bundle, asked: Parameters<typeof compile>[1]): Promise<Findings> {
  try {
    const compiled = await compile(bundle, asked);
    const { jobs, workflows, warned } = compiled;
    return {
      workflows,
      jobs: jobs.map(({ name }) => name),
      problems: await findMissingFiles(bundle, compiled),
      warnings: warned,
    };
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    return { workflows: [], jobs: [], problems: error.problems, warnings: [] };
  }
}

/** Problems are the answer, and go where answers go. */
function tell(output: Output, bundle: Bundle, findings: Findings): void {
  const { workflows, jobs, problems, warnings } = findings;
  const { texts } = bundle;
  const { palette, notePalette } = output;
  const caution = { texts, palette: notePalette, paint: notePalette.warn };
  for (const line of renderProblems(warnings, { ...caution, label: "warning: " })) {
    output.note(line);
  }
  for (const line of renderProblems(problems, { texts, palette, paint: palette.strong })) {
    output.line(line);
  }
  if (problems.length > 0) {
    output.note(notePalette.bad(formatCount(problems.length, "problem")));
    return;
  }
  output.line(`all is well: ${formatCount(jobs.length, "job")} for ${workflows.join(", ")}`);
}
