/** What `errand doctor` finds, check by check. */
import { describeError, isCloudError, UserError } from "../../errors.ts";

/** `skip`: it could not be looked at from here, which says nothing either way. */
export type Verdict = "pass" | "warn" | "fail" | "skip";

export type Finding = {
  readonly check: string;
  readonly verdict: Verdict;
  readonly detail: string;
  /** What to do; empty where nothing is to be done. */
  readonly cure: string;
};

export type Outcome = Omit<Finding, "check">;

export const pass = (detail: string): Outcome => ({ verdict: "pass", detail, cure: "" });
export const skip = (detail: string): Outcome => ({ verdict: "skip", detail, cure: "" });
export const warn = (detail: string, cure: string): Outcome => ({ verdict: "warn", detail, cure });
export const fail = (detail: string, cure: string): Outcome => ({ verdict: "fail", detail, cure });

/** What AWS refused, and the policy statement that would allow it. Anything that is no answer of AWS is a bug, and thrown. */
export function refusalOf(error: unknown): Outcome {
  if (error instanceof UserError) return fail(describeError(error), error.hint);
  if (!isCloudError(error)) throw error;
  const detail = describeError(error);
  const statement = statementFor(detail);
  if (statement) return fail(detail, `Add to the policy of whoever calls: ${statement}`);
  const cure =
    error.kind === "unavailable"
      ? "Look at the network, and try again."
      : "docs/operations.md has what to do.";
  return fail(detail, cure);
}

const DENIED = /not authorized to perform: ([\w-]+:\w+)(?: on resource: "?(arn:[^\s"]+))?/;

/** Of AWS's words of a refusal; undefined where they do not name an action. */
export function statementFor(words: string): string | undefined {
  const [, action, resource = "*"] = DENIED.exec(words) ?? [];
  return action && policyStatement([{ Action: [action], Resource: resource }]);
}

/** Of an IAM policy, as what allows. */
export type Statement = {
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

/** As they stand in a policy, one line. */
export const policyStatement = (statements: readonly Statement[]): string =>
  statements
    .map(({ Action, ...rest }) =>
      JSON.stringify({
        Effect: "Allow",
        Action: Action.length === 1 ? Action[0] : Action,
        ...rest,
      }),
    )
    .join(", ");
