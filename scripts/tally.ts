/**
 * Adds up what test runners report and prints `N passed, N failed, N skipped`, after a line for each test that failed, or passed on a second try: of a
 * long output, the end is what is looked at. Exits 1 when anything failed, when a file cannot be read, or when nothing was run
 * at all.
 *
 * Takes vitest's JSON, the output of Python's unittest, and lines that end in that same form. With
 * ERRAND_TALLY set to a file, these lines are appended to it; `--total FILE` adds up such a file.
 */
import { appendFileSync, readFileSync } from "node:fs";

type Counts = {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** A line each, of those that passed on a second try, too. */
  readonly failures: readonly string[];
};

const NONE: Counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
const MESSAGE_LENGTH_MAX = 300;

const add = (a: Counts, b: Counts): Counts => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
  failures: [...a.failures, ...b.failures],
});

type Vitest = {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
};

function countVitest(text: string): Counts {
  const report = JSON.parse(text) as Vitest;
  const failed = report.numFailedTests;
  return {
    passed: report.numPassedTests,
    // A file that does not load has failed although none of its tests did.
    failed: failed > 0 || report.success ? failed : Math.max(1, report.numFailedTestSuites),
    skipped: report.numPendingTests + report.numTodoTests,
    failures: report.testResults.flatMap(({ name, status, message, assertionResults }) => {
      const file = name.slice(name.lastIndexOf("/test/") + 1);
      const found = assertionResults
        .filter(({ failureMessages }) => failureMessages.length > 0)
        .map((each) => {
          const what = each.status === "failed" ? "FAILED" : "SECOND TRY";
          return tell(`${what} ${file}: ${each.fullName}`, each.failureMessages[0]);
        });
      return found.length === 0 && status === "failed" ? [tell(`FAILED ${file}`, message)] : found;
    }),
  };
}

function tell(name: string, message = ""): string {
  const [first = ""] = message.split("\n");
  return `${name}: ${first.slice(0, MESSAGE_LENGTH_MAX)}`;
}

function countUnittest(text: string): Counts {
  const ran = Number(/^Ran (\d+) tests? in/m.exec(text)?.[1] ?? 0);
  const count = (what: string) => Number(new RegExp(`${what}=(\\d+)`).exec(text)?.[1] ?? 0);
  const skipped = count("skipped");
  const failed = count("failures") + count("errors");
  const failures = [...text.matchAll(/^(?:FAIL|ERROR): (.+)$/gm)].map(
    ([, name]) => `FAILED ${name}`,
  );
  return { passed: ran - failed - skipped, failed, skipped, failures };
}

function countLines(text: string): Counts {
  const lines = text.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm);
  return [...lines]
    .map(([, passed, failed, skipped]) => ({
      passed: Number(passed),
      failed: Number(failed),
      skipped: Number(skipped),
      failures: [],
    }))
    .reduce(add, {
      ...NONE,
      failures: text.match(/^(?:FAILED|MISSED|SECOND TRY) [^(].+$/gm) ?? [],
    });
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
const lines = [...total.failures, line].join("\n");
if (process.env.ERRAND_TALLY && !isTotal) appendFileSync(process.env.ERRAND_TALLY, `${lines}\n`);
console.log(lines);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
