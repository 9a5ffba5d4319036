/** What is wrong with what somebody has sent or written, in words that say what it should be. */
import type { z } from "zod";

type Issue = z.core.$ZodIssue;

/** One for each place, such as `bootMs: must be a whole number`. */
export const describeProblems = (error: z.ZodError): readonly string[] =>
  error.issues.map((issue) => {
    const path = issue.path.map(String).join(".");
    return path === "" ? describeProblem(issue) : `${path}: ${describeProblem(issue)}`;
  });

export function describeProblem(issue: Issue): string {
  // A schema's own words go before ours; the library's begin with these.
  if (!/^(Invalid|Too (small|big)|Unrecognized)\b/.test(issue.message)) return issue.message;
  switch (issue.code) {
    case "invalid_type":
      return isMissing(issue) ? "is missing" : `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case "too_small":
      return `must ${bound(issue.origin, "at least", issue.minimum)}`;
    case "too_big":
      return `must ${bound(issue.origin, "at most", issue.maximum)}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    case "unrecognized_keys":
      return `there is no ${issue.keys.join(", ")}`;
    default:
      return "is not of the right form";
  }
}

export const isMissing = (issue: Issue): boolean =>
  issue.code === "invalid_type" && issue.message.endsWith("received undefined");

const TYPES: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
  object: "an object",
  record: "an object",
  string: "a text",
};

function bound(origin: string, word: string, limit: number | bigint): string {
  if (origin === "string") return `have ${word} ${limit} characters`;
  if (origin === "array") return `have ${word} ${limit} entries`;
  return `be ${word} ${limit}`;
}
