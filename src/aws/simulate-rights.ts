/** What IAM says that a user or role may do, without doing it. All throw CloudError. */
import {
  type EvaluationResult,
  GetInstanceProfileCommand,
  GetRoleCommand,
  IAMClient,
  SimulatePrincipalPolicyCommand,
} from "@aws-sdk/client-iam";
import { CloudError, isCloudError } from "../errors.ts";
import { callAws } from "./error-codes.ts";
import { type ClientOptions, commonOptions } from "./s3-client.ts";

export type Question = {
  readonly actions: readonly string[];
  /** One, as a simulation of several tells of them together. */
  readonly resource: string;
};

export type Decision = {
  readonly action: string;
  readonly resource: string;
  /**
   * `missing`: no statement allows it. `barred`: a statement that allowed it would not help. `unclear`: it hangs on what is known only
   * when the call is made, such as the address that it comes from.
   */
  readonly verdict: "allowed" | "missing" | "barred" | "unclear";
  /** What bars it, or what it hangs on; else empty. */
  readonly why: string;
};

/** Who is asked about. */
export type Principal = {
  readonly arn: string;
  /** Of a role whose ARN came without its path. */
  readonly role?: string;
};

/** By the ARN that STS tells of a caller; undefined for those that IAM does not simulate: an account's root, federated users. */
export function principalOf(callerArn: string): Principal | undefined {
  const [, partition, , , account, resource = ""] = callerArn.split(":");
  const [kind, name = ""] = resource.split("/");
  if (kind === "user") return { arn: callerArn };
  if (kind !== "assumed-role") return undefined;
  return { arn: `arn:${partition}:iam::${account}:role/${name}`, role: name };
}

export type Asked = {
  readonly questions: readonly Question[];
  /** Condition keys that the calls would have. */
  readonly context: Readonly<Record<string, string>>;
};

export type Simulated = {
  /** Whose rights they are, with the role's path. */
  readonly arn: string;
  /** In the order of the questions and their actions. */
  readonly decisions: readonly Decision[];
};

export async function simulateRights(
  options: ClientOptions,
  { arn, role }: Principal,
  asked: Asked,
): Promise<Simulated> {
  return withIam(options, async (iam) => {
    try {
      return { arn, decisions: await simulate(iam, arn, asked) };
    } catch (error) {
      if (!role || !isCloudError(error, "refused", "not-found")) throw error;
      const whole = await findRoleArn(iam, role);
      if (!whole || whole === arn) throw error;
      return { arn: whole, decisions: await simulate(iam, whole, asked) };
    }
  });
}

/** The ARN of the role that machines get by an instance profile's name or ARN. */
export async function readProfileRole(options: ClientOptions, profile: string): Promise<string> {
  const name = profile.split("/").at(-1) ?? profile;
  return withIam(options, async (iam) => {
    const { InstanceProfile } = await callAws(`reading the instance profile ${name}`, () =>
      iam.send(new GetInstanceProfileCommand({ InstanceProfileName: name })),
    );
    const [role] = InstanceProfile?.Roles ?? [];
    if (role?.Arn) return role.Arn;
    throw new CloudError("refused", `the instance profile ${name} has no role`);
  });
}

/** With its path, as the roles of IAM Identity Center have one; undefined where the caller may not ask. */
async function findRoleArn(iam: IAMClient, RoleName: string): Promise<string | undefined> {
  try {
    const { Role } = await callAws(`reading the role ${RoleName}`, () =>
      iam.send(new GetRoleCommand({ RoleName })),
    );
    return Role?.Arn;
  } catch (error) {
    if (isCloudError(error, "refused", "not-found")) return undefined;
    throw error;
  }
}

/** One question after the other: IAM is slow to be asked, and quick to throttle. */
async function simulate(
  iam: IAMClient,
  arn: string,
  { questions, context }: Asked,
): Promise<readonly Decision[]> {
  const ContextEntries = Object.entries(context).map(([name, value]) => ({
    ContextKeyName: name,
    ContextKeyValues: [value],
    ContextKeyType: value === "true" ? ("boolean" as const) : ("string" as const),
  }));
  const decisions: Decision[] = [];
  for (const { actions, resource } of questions) {
    const input = {
      PolicySourceArn: arn,
      ActionNames: [...actions],
      ResourceArns: [resource],
      ContextEntries,
    };
    // A page has a hundred decisions, and a question ten actions at most.
    const { EvaluationResults = [] } = await callAws(`asking what ${arn} may do`, () =>
      iam.send(new SimulatePrincipalPolicyCommand(input)),
    );
    for (const action of actions) {
      const result = EvaluationResults.find((each) => each.EvalActionName === action);
      decisions.push({ action, resource, ...judge(result) });
    }
  }
  return decisions;
}

function judge(result: EvaluationResult | undefined): Pick<Decision, "verdict" | "why"> {
  if (result?.EvalDecision === "allowed") return { verdict: "allowed", why: "" };
  const hangsOn = result?.MissingContextValues ?? [];
  if (hangsOn.length > 0) return { verdict: "unclear", why: `hangs on ${hangsOn.join(", ")}` };
  if (result?.EvalDecision === "explicitDeny") {
    const names = (result.MatchedStatements ?? []).flatMap((each) => each.SourcePolicyId ?? []);
    return { verdict: "barred", why: `denied by ${names.join(", ") || "a policy"}` };
  }
  if (result?.OrganizationsDecisionDetail?.AllowedByOrganizations === false) {
    return { verdict: "barred", why: "not allowed by the organization's policies" };
  }
  if (result?.PermissionsBoundaryDecisionDetail?.AllowedByPermissionsBoundary === false) {
    return { verdict: "barred", why: "not allowed by the permissions boundary" };
  }
  return { verdict: "missing", why: "" };
}

async function withIam<T>(options: ClientOptions, use: (iam: IAMClient) => Promise<T>): Promise<T> {
  const iam = new IAMClient(commonOptions(options));
  try {
    return await use(iam);
  } finally {
    iam.destroy();
  }
}
