/** The stack gives the rights that the code needs, and no more; its document is the code's. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { DOCUMENT_NAME, documentContent } from "../../../src/aws/session/document.ts";
import { key } from "../../../src/core/layout.ts";
import { rightsByFile, runnerRights } from "../../support/api-calls.ts";
import {
  ACCOUNT,
  actionsOf,
  isAllowed,
  type Request,
  readTemplate,
  STACK_UUID,
  statementsOf,
} from "../../support/template.ts";

/** CloudFormation takes no more in a call; a larger template would need a bucket before there is one. */
const TEMPLATE_BYTES_MAX = 51_200;
/** IAM's limit for a managed policy, blanks not counted. */
const POLICY_CHARACTERS_MAX = 6_144;

const KEY_ARN = `arn:aws:kms:us-east-1:${ACCOUNT}:key/sessions`;
const template = readTemplate();
const whole = readTemplate({ SessionKeyArn: KEY_ARN });
const daemon = [...statementsOf(whole, "DaemonPolicy"), ...statementsOf(whole, "DaemonRole")];
const instance = statementsOf(template, "InstanceRole");
const user = statementsOf(template, "UserPolicy");

/** Calls that only a person's command makes, by the file they stand in; all others are the daemon's, or made on its host. */
const OF_PEOPLE = ["aws/stack.ts"];
/** The stack makes the document, and its roles have no path that would have to be asked for. */
const UNNEEDED = ["ssm:CreateDocument", "iam:GetRole"];
/** The socket of a session is opened without a client of the SDK. */
const BEYOND_CALLS = ["ssmmessages:OpenDataChannel"];

const object = (name: string): string => `arn:aws:s3:::Bucket-id/${name}`;
const run = "20261125-070000-abcdef";
const attempt = key.attempt(run, "train", 1);

describe("rights of the daemon", () => {
  it("are those of the calls in src/, but for what the stack makes unneeded", () => {
    const needed = [...rightsByFile()]
      .filter(([file]) => !OF_PEOPLE.includes(file))
      .flatMap(([, rights]) => rights)
      .filter((right) => !UNNEEDED.includes(right));
    expect(actionsOf(daemon)).toEqual([...new Set([...needed, ...BEYOND_CALLS])].sort());
  });

  it("are on the whole bucket, and on no other", () => {
    for (const name of ["records/r.json", "drops/a.tgz", "tags/w/latest.json"]) {
      expect(isAllowed(daemon, { action: "s3:PutObject", resource: object(name) })).toBe(true);
    }
    const elsewhere = {
      action: "s3:GetObject",
      resource: "arn:aws:s3:::Bucket-id-2/records/r.json",
    };
    expect(isAllowed(daemon, elsewhere)).toBe(false);
  });

  const launched = (part: string, context: Request["context"]): Request => ({
    action: "ec2:RunInstances",
    resource: `arn:aws:ec2:us-east-1:${part}`,
    ...(context && { context }),
  });
  const profile = `arn:aws:any:us-east-1:${ACCOUNT}:InstanceProfile`;
  const tagged = { "aws:RequestTag/errand:daemon": STACK_UUID };
  const machine = {
    ...tagged,
    "ec2:MetadataHttpTokens": "required",
    "ec2:InstanceProfile": profile,
  };

  it.each<[string, boolean, Request]>([
    ["a machine with our tag and profile", true, launched(`${ACCOUNT}:instance/i-1`, machine)],
    [
      "a machine with another installation's tag",
      false,
      launched(`${ACCOUNT}:instance/i-1`, { ...machine, "aws:RequestTag/errand:daemon": "other" }),
    ],
    [
      "a machine with another profile",
      false,
      launched(`${ACCOUNT}:instance/i-1`, { ...machine, "ec2:InstanceProfile": `${profile}2` }),
    ],
    [
      "a machine without IMDSv2",
      false,
      launched(`${ACCOUNT}:instance/i-1`, { ...machine, "ec2:MetadataHttpTokens": "optional" }),
    ],
    [
      "an encrypted disk",
      true,
      launched(`${ACCOUNT}:volume/v`, { ...tagged, "ec2:Encrypted": "true" }),
    ],
    [
      "a plain disk",
      false,
      launched(`${ACCOUNT}:volume/v`, { ...tagged, "ec2:Encrypted": "false" }),
    ],
    ["an image of amazon's", true, launched(":image/ami-1", { "ec2:Owner": "amazon" })],
    ["an image of the account's", true, launched(":image/ami-1", { "ec2:Owner": ACCOUNT })],
    ["an image of anybody's", false, launched(":image/ami-1", { "ec2:Owner": "999999999999" })],
    [
      "a subnet of the stack",
      true,
      launched(`${ACCOUNT}:subnet/s`, { "ec2:SubnetID": "Subnet3-id" }),
    ],
    ["another subnet", false, launched(`${ACCOUNT}:subnet/s`, { "ec2:SubnetID": "Subnet4-id" })],
    [
      "the stack's security group",
      true,
      launched(`${ACCOUNT}:security-group/JobGroup-GroupId`, {}),
    ],
    ["another security group", false, launched(`${ACCOUNT}:security-group/sg-2`, {})],
  ])("launching with %s: %s", (_, allowed, request) => {
    expect(isAllowed(daemon, request)).toBe(allowed);
  });

  it.each<[string, boolean, Request]>([
    [
      "ending a machine of this installation",
      true,
      {
        action: "ec2:TerminateInstances",
        resource: `arn:aws:ec2:us-east-1:${ACCOUNT}:instance/i-1`,
        context: { "aws:ResourceTag/errand:daemon": STACK_UUID },
      },
    ],
    [
      "ending any other machine",
      false,
      {
        action: "ec2:TerminateInstances",
        resource: `arn:aws:ec2:us-east-1:${ACCOUNT}:instance/i-1`,
        context: { "aws:ResourceTag/errand:daemon": "other" },
      },
    ],
    [
      "tagging what exists",
      false,
      { action: "ec2:CreateTags", resource: `arn:aws:ec2:us-east-1:${ACCOUNT}:instance/i-1` },
    ],
    [
      "giving the machines' role to EC2",
      true,
      {
        action: "iam:PassRole",
        resource: `arn:aws:any:us-east-1:${ACCOUNT}:InstanceRole`,
        context: { "iam:PassedToService": "ec2.amazonaws.com" },
      },
    ],
    [
      "giving any other role away",
      false,
      {
        action: "iam:PassRole",
        resource: `arn:aws:any:us-east-1:${ACCOUNT}:DaemonRole`,
        context: { "iam:PassedToService": "ec2.amazonaws.com" },
      },
    ],
    [
      "a session by our document",
      true,
      {
        action: "ssm:StartSession",
        resource: `arn:aws:ssm:us-east-1:${ACCOUNT}:document/${DOCUMENT_NAME}`,
      },
    ],
    [
      "a session by the document that opens a shell",
      false,
      {
        action: "ssm:StartSession",
        resource: `arn:aws:ssm:us-east-1:${ACCOUNT}:document/SSM-SessionManagerRunShell`,
      },
    ],
    [
      "a session whose document nobody checks",
      false,
      {
        action: "ssm:StartSession",
        resource: `arn:aws:ec2:us-east-1:${ACCOUNT}:instance/i-1`,
        context: { "ssm:resourceTag/errand:daemon": STACK_UUID },
      },
    ],
    ["ending a session of its own", true, ending("AROA1:i-1")],
    ["ending another's session", false, ending("AROA2:somebody")],
  ])("%s: %s", (_, allowed, request) => {
    expect(isAllowed(daemon, request)).toBe(allowed);
  });
});

/** A session that `owner` has started, by a role's session that is named i-1. */
function ending(owner: string): Request {
  return {
    action: "ssm:TerminateSession",
    resource: `arn:aws:ssm:us-east-1:${ACCOUNT}:session/i-1-0123456789abcdef0`,
    context: { "aws:userid": "AROA1:i-1", "ssm:resourceTag/aws:ssmmessages:session-id": owner },
  };
}

describe("rights of a job's machine", () => {
  /** Of the SSM agent, which is no part of Errand. AWS's documentation of its least rights names these. */
  const agent = /^ssmmessages:|^ssm:UpdateInstanceInformation$/;

  it("are those of the runner's calls and of the SSM agent", () => {
    const given = readTemplate({ JobRoleArns: "arn:aws:iam::1:role/a" });
    const actions = actionsOf(statementsOf(given, "InstanceRole"));
    expect(actions.filter((action) => !agent.test(action))).toEqual(runnerRights());
    expect(actions.filter((action) => agent.test(action))).toHaveLength(5);
  });

  const created = { "s3:if-none-match": "*" };
  it.each<[string, boolean, string, string, Request["context"]?]>([
    ["reading its order", true, "s3:GetObject", key.order("token", 0)],
    ["reading a bundle", true, "s3:GetObject", key.bundle(run, "tar.gz")],
    ["reading another job's artifacts", true, "s3:GetObject", `${attempt}artifacts/data/x`],
    ["reading uv", true, "s3:GetObject", key.uv("1", "x86_64")],
    ["reading a record", false, "s3:GetObject", key.record(run)],
    ["reading what others drop", false, "s3:GetObject", "drops/a.tar.gz"],
    ["writing its log", true, "s3:PutObject", `${key.log(run, "train", 1)}0000000001`],
    ["writing an artifact", true, "s3:PutObject", `${attempt}artifacts/deep/a b/ü`],
    ["writing its manifest", true, "s3:PutObject", key.manifest(run, "train", 1)],
    ["writing its heartbeat", true, "s3:PutObject", `${attempt}heartbeat.json`],
    ["reporting", true, "s3:PutObject", key.report("token", 0, "started")],
    ["claiming, once", true, "s3:PutObject", key.claim("token", 0), created],
    ["overwriting a claim", false, "s3:PutObject", key.claim("token", 0)],
    ["writing an order", false, "s3:PutObject", key.order("token", 0), created],
    ["writing a stop object", false, "s3:PutObject", key.stop("token", 0), created],
    ["writing a record", false, "s3:PutObject", key.record(run)],
    ["overwriting a bundle", false, "s3:PutObject", key.bundle(run, "tar.gz")],
    ["dropping a bundle", false, "s3:PutObject", "drops/w/a.tar.gz"],
    ["cancelling a run", false, "s3:PutObject", key.cancel(run)],
    ["replacing the runner", false, "s3:PutObject", key.bootstrap("0".repeat(64))],
    ["moving a tag", false, "s3:PutObject", key.tag("prepare", "latest")],
    ["deleting anything", false, "s3:DeleteObject", `${attempt}artifacts/x`],
    ["breaking off an upload", true, "s3:AbortMultipartUpload", `${attempt}artifacts/x`],
  ])("%s: %s", (_, allowed, action, name, context = {}) => {
    expect(isAllowed(instance, { action, resource: object(name), context })).toBe(allowed);
  });

  it("read secrets below /errand/ alone", () => {
    const parameter = (name: string) => ({
      action: "ssm:GetParameters",
      resource: `arn:aws:ssm:us-east-1:${ACCOUNT}:parameter${name}`,
    });
    const secret = (name: string) => ({
      action: "secretsmanager:GetSecretValue",
      resource: `arn:aws:secretsmanager:us-east-1:${ACCOUNT}:secret:${name}-AbCdEf`,
    });
    expect(isAllowed(instance, parameter("/errand/token"))).toBe(true);
    expect(isAllowed(instance, secret("errand/token"))).toBe(true);
    expect(isAllowed(instance, parameter("/prod/token"))).toBe(false);
    expect(isAllowed(instance, secret("prod/token"))).toBe(false);
  });

  it("have keys and job roles only where parameters name some", () => {
    const roles = ["arn:aws:iam::1:role/a", "arn:aws:iam::1:role/b"];
    const assume = { action: "sts:AssumeRole", resource: roles[1] ?? "" };
    expect(isAllowed(instance, assume)).toBe(false);
    const given = readTemplate({ JobRoleArns: roles.join(","), SecretKeyArns: KEY_ARN });
    expect(isAllowed(statementsOf(given, "InstanceRole"), assume)).toBe(true);
    expect(actionsOf(instance)).not.toContain("kms:Decrypt");
    expect(actionsOf(statementsOf(given, "InstanceRole"))).toContain("kms:Decrypt");
  });
});

describe("rights of people who send bundles", () => {
  it.each<[string, boolean, string, string]>([
    ["submitting", true, "s3:PutObject", "drops/train/20261125-070000-abcdef.tar.gz"],
    ["cancelling", true, "s3:PutObject", key.cancel(run)],
    ["reading a status", true, "s3:GetObject", key.status(run)],
    ["reading a log", true, "s3:GetObject", key.log(run, "train", 1)],
    ["tagging", true, "s3:PutObject", key.tag("prepare", "latest")],
    ["taking a tag away", true, "s3:DeleteObject", key.tag("prepare", "latest")],
    ["writing a record", false, "s3:PutObject", key.record(run)],
    ["deleting artifacts", false, "s3:DeleteObject", `${attempt}artifacts/x`],
    ["reporting as a machine", false, "s3:PutObject", key.report("token", 0, "finished")],
    ["reading orders", false, "s3:GetObject", key.order("token", 0)],
  ])("%s: %s", (_, allowed, action, name) => {
    expect(isAllowed(user, { action, resource: object(name) })).toBe(allowed);
  });
});

describe("the stack", () => {
  it("makes the Session document that the code starts", () => {
    const document = template.properties("SessionDocument");
    expect(document?.Name).toBe(DOCUMENT_NAME);
    expect(document?.Content).toEqual(JSON.parse(documentContent()));
  });

  it("makes subnets in as many zones as are asked for, and names them all", () => {
    for (const count of [2, 3, 4, 5, 6]) {
      const made = readTemplate({ Zones: String(count) });
      const names = [1, 2, 3, 4, 5, 6].filter((each) => made.properties(`Subnet${each}`));
      expect(names).toHaveLength(count);
      expect(made.output("SubnetIds")).toBe(names.map((each) => `Subnet${each}-id`).join(","));
    }
  });

  it("makes no network where it is given one", () => {
    const given = readTemplate({ VpcId: "vpc-1", SubnetIds: "subnet-1,subnet-2" });
    expect(given.properties("Vpc")).toBeUndefined();
    expect(given.properties("Subnet1")).toBeUndefined();
    expect(given.output("SubnetIds")).toBe("subnet-1,subnet-2");
    expect(given.properties("JobGroup")?.VpcId).toBe("vpc-1");
  });

  it("starts its host with scripts that bash can read", () => {
    const properties = readTemplate({ DaemonHostType: "t4g.small" }).properties("DaemonHost");
    const script = String(properties?.UserData);
    const inner = [...script.matchAll(/<<'UPGRADE'\n([\s\S]*?)\nUPGRADE$/gm)].map(
      ([, text]) => text,
    );
    expect(inner).toHaveLength(1);
    for (const input of [script, ...inner]) {
      const { status, stderr } = spawnSync("bash", ["-n"], { input, encoding: "utf8" });
      expect([status, stderr]).toEqual([0, ""]);
    }
    expect(script).not.toMatch(/\$\{[A-Z]/);
  });

  it("lets nothing in", () => {
    expect(template.properties("JobGroup")).not.toHaveProperty("SecurityGroupIngress");
  });

  it("is small enough to be deployed without a bucket, and its policies for IAM", () => {
    expect(Buffer.byteLength(template.text)).toBeLessThan(TEMPLATE_BYTES_MAX);
    for (const name of ["DaemonPolicy", "UserPolicy"]) {
      const document = JSON.stringify(template.properties(name)?.PolicyDocument);
      expect(document.length).toBeLessThan(POLICY_CHARACTERS_MAX);
    }
  });
});
