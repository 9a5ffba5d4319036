/** What doctor asks IAM about a daemon's rights, against the rights that the stack gives, and what it says of IAM's answers. */
import {
  GetInstanceProfileCommand,
  GetRoleCommand,
  IAMClient,
  SimulatePrincipalPolicyCommand,
  type SimulatePrincipalPolicyCommandInput,
} from "@aws-sdk/client-iam";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { mockClient } from "aws-sdk-client-mock";
import { beforeEach, describe, expect, it } from "vitest";
import { contextOf, daemonGrants, type Place } from "../../../src/cli/doctor/daemon-rights.ts";
import type { Patient } from "../../../src/cli/doctor/doctor.ts";
import { checkOwnRights } from "../../../src/cli/doctor/roles.ts";
import { parseConfig } from "../../../src/config.ts";
import { CloudError } from "../../../src/errors.ts";
import {
  ACCOUNT,
  actionsOf,
  isAllowed,
  readTemplate,
  STACK_UUID,
  type Statement,
  statementsOf,
} from "../../support/template.ts";

const statements = statementsOf(readTemplate(), "DaemonPolicy");
const ROLE = `arn:aws:iam::${ACCOUNT}:role/errand-DaemonRole-1`;
const MACHINE_ROLE = `arn:aws:any:us-east-1:${ACCOUNT}:InstanceRole`;
const queueUrl = `https://sqs.us-east-1.amazonaws.com/${ACCOUNT}/Queue`;
const place: Place = {
  ...{ partition: "aws", account: ACCOUNT, region: "us-east-1", bucket: "Bucket-id", queueUrl },
  ...{ installation: STACK_UUID, userId: "AROA1:i-1", machineRole: MACHINE_ROLE },
};
/** The test's CloudFormation makes an ARN of its own for the queue. */
const asInTemplate = (text: string): string => text.replace(":sqs:us-east-1:", ":any:us-east-1:");

describe("the rights that are asked about", () => {
  it("are all that the stack gives the daemon, but for launching, which is tried", () => {
    const asked = daemonGrants(place).flatMap(({ statement }) => statement.Action);
    const launching = ["ec2:CreateTags", "ec2:RunInstances"];
    expect([...new Set([...asked, ...launching])].sort()).toEqual(actionsOf(statements));
  });

  it.each(daemonGrants(place).map((grant) => [grant.statement.Action.join(" "), grant] as const))(
    "stand so in the stack, and are given on the example: %s",
    (_, { statement, example }) => {
      const { Action, Resource, Condition } = statement;
      const same = statements.filter(
        (each) =>
          [each.Resource].flat().includes(asInTemplate(Resource)) &&
          JSON.stringify(each.Condition) === JSON.stringify(Condition) &&
          Action.every((action) => [each.Action].flat().includes(action)),
      );
      expect(same).toHaveLength(1);
      const context = contextOf(place);
      for (const action of Action) {
        expect(isAllowed(same, { action, resource: asInTemplate(example), context })).toBe(true);
      }
    },
  );
});

const iam = mockClient(IAMClient);
const sts = mockClient(STSClient);

/** An IAM that decides by these statements. */
function decideBy(given: readonly Statement[], others: Readonly<Record<string, object>> = {}) {
  iam.on(SimulatePrincipalPolicyCommand).callsFake((input: SimulatePrincipalPolicyCommandInput) => {
    const context = Object.fromEntries(
      (input.ContextEntries ?? []).map(({ ContextKeyName, ContextKeyValues }) => [
        ContextKeyName,
        ContextKeyValues?.[0] ?? "",
      ]),
    );
    const resource = asInTemplate(input.ResourceArns?.[0] ?? "*");
    const EvaluationResults = (input.ActionNames ?? []).map((action) => ({
      EvalActionName: action,
      EvalDecision: isAllowed(given, { action, resource, context }) ? "allowed" : "implicitDeny",
      ...others[action],
    }));
    return { EvaluationResults, IsTruncated: false };
  });
}

const refusal = (name: string, status: number) =>
  Object.assign(new Error("User is not authorized to perform that"), {
    name,
    $metadata: { httpStatusCode: status },
  });

const settings = {
  ...{ region: "us-east-1", bucket: "errand", queueUrl, installation: STACK_UUID },
};
const patient = {
  config: {
    ...parseConfig({ file: { name: "errand.yaml", text: JSON.stringify(settings) } }),
    bucket: "Bucket-id",
  },
  where: { region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" } },
  store: {
    find: async () => {
      throw new CloudError("refused", "no bucket here");
    },
  },
  isLocal: false,
  token: "examination",
} as unknown as Patient;

const signInAs = (Arn: string) =>
  sts.on(GetCallerIdentityCommand).resolves({ Account: ACCOUNT, Arn, UserId: "AROA1:i-1" });

beforeEach(() => {
  iam.reset();
  sts.reset();
  signInAs(`arn:aws:sts::${ACCOUNT}:assumed-role/errand-DaemonRole-1/i-1`);
  iam.on(GetInstanceProfileCommand).resolves({
    InstanceProfile: { Roles: [{ Arn: MACHINE_ROLE }] } as never,
  });
});

const without = (...sids: string[]) => statements.filter(({ Sid }) => !sids.includes(Sid));
const askedAs = () =>
  iam.commandCalls(SimulatePrincipalPolicyCommand).map(({ args }) => args[0].input.PolicySourceArn);

describe("rights of whoever calls", () => {
  it("pass with those of the stack, asked for the role behind a session of it", async () => {
    decideBy(statements);
    expect(await checkOwnRights(patient)).toEqual({
      verdict: "pass",
      detail: `${ROLE} may do what a daemon does, with no other roles, machines or shells`,
      cure: "",
    });
    expect([...new Set(askedAs())]).toEqual([ROLE]);
  });

  it("tell of an administrator what a daemon need not be able to do", async () => {
    signInAs(`arn:aws:iam::${ACCOUNT}:user/ops/ann`);
    iam.on(SimulatePrincipalPolicyCommand).callsFake(({ ActionNames }) => ({
      EvaluationResults: ActionNames.map((EvalActionName: string) => ({
        ...{ EvalActionName, EvalDecision: "allowed" },
      })),
    }));
    const { verdict, detail } = await checkOwnRights(patient);
    expect(verdict).toBe("pass");
    expect(detail).toBe(
      `arn:aws:iam::${ACCOUNT}:user/ops/ann may do what a daemon does, and more: ` +
        "give EC2 any role, end any machine, open a shell by Session Manager",
    );
  });

  it("fail with the very statement where one is missing that a daemon cannot do without", async () => {
    decideBy(without("Terminate", "FollowLogDocument"));
    const { verdict, detail, cure } = await checkOwnRights(patient);
    expect(verdict).toBe("fail");
    expect(detail).toBe(
      `${ROLE} may not: ec2:TerminateInstances on arn:aws:ec2:us-east-1:${ACCOUNT}:instance/i-0123456789abcdef0, ` +
        `ssm:StartSession on arn:aws:ssm:us-east-1:${ACCOUNT}:document/errand-follow-log-1 (without, logs come in chunks)`,
    );
    expect(cure).toContain(
      `{"Effect":"Allow","Action":"ec2:TerminateInstances","Resource":"arn:aws:ec2:us-east-1:${ACCOUNT}:instance/*",` +
        `"Condition":{"StringEquals":{"aws:ResourceTag/errand:daemon":"${STACK_UUID}"}}}`,
    );
  });

  it("warn where a daemon can do without, and where it hangs on what nobody knows beforehand", async () => {
    decideBy(without("Prices"));
    const prices = await checkOwnRights(patient);
    expect(prices).toMatchObject({
      verdict: "warn",
      detail: `${ROLE} may not: pricing:GetProducts on * (without, it plans with the prices that it is shipped with)`,
      cure: expect.stringContaining('"Action":"pricing:GetProducts"'),
    });
    const address = { EvalDecision: "implicitDeny", MissingContextValues: ["aws:SourceIp"] };
    decideBy(statements, { "ec2:TerminateInstances": address });
    const unclear = await checkOwnRights(patient);
    expect(unclear.verdict).toBe("warn");
    expect(unclear.detail).toContain("(hangs on aws:SourceIp)");
  });

  it.each([
    ["denied by keep-out", { MatchedStatements: [{ SourcePolicyId: "keep-out" }] }, "explicitDeny"],
    [
      "not allowed by the organization's policies",
      { OrganizationsDecisionDetail: { AllowedByOrganizations: false } },
      "implicitDeny",
    ],
    [
      "not allowed by the permissions boundary",
      { PermissionsBoundaryDecisionDetail: { AllowedByPermissionsBoundary: false } },
      "implicitDeny",
    ],
  ])("fail without a statement where none would help: %s", async (words, details, decision) => {
    decideBy(statements, { "s3:DeleteObject": { ...details, EvalDecision: decision } });
    const { verdict, detail, cure } = await checkOwnRights(patient);
    expect(verdict).toBe("fail");
    expect(detail).toContain(`s3:DeleteObject on arn:aws:s3:::Bucket-id/drops/doctor.tar.gz`);
    expect(detail).toContain(words);
    expect(cure).toBe("What is denied stays so whatever is added: lift the denial.");
  });

  it("are asked for by the role's whole ARN where it has a path", async () => {
    const whole = `arn:aws:iam::${ACCOUNT}:role/aws-reserved/sso/errand-DaemonRole-1`;
    decideBy(statements);
    iam
      .on(SimulatePrincipalPolicyCommand, { PolicySourceArn: ROLE })
      .rejects(refusal("NoSuchEntityException", 404));
    iam.on(GetRoleCommand).resolves({ Role: { Arn: whole } as never });
    expect((await checkOwnRights(patient)).detail).toContain(`${whole} may do`);
  });

  it.each([
    ["where it may not be", "AccessDenied", 403, "iam:SimulatePrincipalPolicy", ROLE],
    [
      "where the role's path is not known",
      "NoSuchEntityException",
      404,
      "iam:GetRole",
      ROLE.replace("role/", "role/*/"),
    ],
  ])("warn, with the statement that lets IAM be asked, %s", async (_, name, status, right, on) => {
    iam.on(SimulatePrincipalPolicyCommand).rejects(refusal(name, status));
    iam.on(GetRoleCommand).rejects(refusal("AccessDenied", 403));
    expect(await checkOwnRights(patient)).toMatchObject({
      verdict: "warn",
      cure: `Add to the policy of whoever calls: {"Effect":"Allow","Action":"${right}","Resource":"${on}"}`,
    });
  });

  it("warn with IAM's words alone where no right would help", async () => {
    iam.on(SimulatePrincipalPolicyCommand).rejects(refusal("InvalidInputException", 400));
    iam.on(GetRoleCommand).rejects(refusal("AccessDenied", 403));
    expect(await checkOwnRights(patient)).toMatchObject({
      verdict: "warn",
      detail: expect.stringContaining("InvalidInputException"),
      cure: "docs/operations.md has what to do.",
    });
  });

  it("are skipped where nobody can say: an IAM that is away, a federated user, an account's root", async () => {
    iam.on(SimulatePrincipalPolicyCommand).rejects(refusal("InternalFailure", 500));
    expect((await checkOwnRights(patient)).verdict).toBe("skip");
    for (const name of [`sts::${ACCOUNT}:federated-user/ann`, `iam::${ACCOUNT}:root`]) {
      signInAs(`arn:aws:${name}`);
      const { verdict, detail } = await checkOwnRights(patient);
      expect([verdict, detail]).toEqual([
        "skip",
        `IAM simulates users and roles, and arn:aws:${name} is neither`,
      ]);
    }
  });

  it("are asked about without PassRole where the machines' role may not be looked up", async () => {
    iam.on(GetInstanceProfileCommand).rejects(refusal("AccessDenied", 403));
    decideBy(without("PassInstanceRole"));
    expect((await checkOwnRights(patient)).verdict).toBe("pass");
  });
});
