/**
 * Adds up what test runners report and prints `N passed, N failed, N skipped`. Exits 1 when anything
 * failed, when a file cannot be read, or when nothing was run at all.
 *
 * Takes vitest's JSON, the output of Python's unittest, and lines that end in that same form. With
 * ERRAND_TALLY set to a file, the line is appended to it; `--total FILE` adds up such a file.
 */
import { appendFileSync, readFileSync } from "node:fs";

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

const add = (a: Counts, b: Counts): Counts => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
});

function countVitest(text: string): Counts {
  const report = JSON.parse(text) as Record<string, number | boolean>;
  const suitesBroken = Number(report.numFailedTestSuites ?? 0);
  const failed = Number(report.numFailedTests ?? 0);
  return {
    passed: Number(report.numPassedTests ?? 0),
    // A file that does not load has failed although none of its tests did.
    failed: failed > 0 || report.success === true ? failed : Math.max(1, suitesBroken),
    skipped: Number(report.numPendingTests ?? 0) + Number(report.numTodoTests ?? 0),
  };
}

function countUnittest(text: string): Counts {
  const ran = Number(/^Ran (\d+) tests? in/m.exec(text)?.[1] ?? 0);
  const count = (what: string) => Number(new RegExp(`${what}=(\\d+)`).exec(text)?.[1] ?? 0);
  const skipped = count("skipped");
  const failed = count("failures") + count("errors");
  return { passed: ran - failed - skipped, failed, skipped };
}

function countLines(text: string): Counts {
  const lines = text.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm);
  return [...lines]
    .map(([, passed, failed, skipped]) => ({
      passed: Number(passed),
      failed: Number(failed),
      skipped: Number(skipped),
    }))
    .reduce(add, NONE);
}

function count(file: string): Counts {
  const text = readFileSync(file, "utf8");
  if (file.endsWith(".json")) return countVitest(text);
  return /^Ran \d+ tests? in/m.test(text) ? countUnittest(text) : countLines(text);
}

const isTotal = process.argv[2] === "--total";
const files = process.argv.slice(isTotal ? 3 : 2);
const total = files.map(count).reduce(add, NONE);
const line = `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`;
if (process.env.ERRAND_TALLY && !isTotal) appendFileSync(process.env.ERRAND_TALLY, `${line}\n`);
console.log(line);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
