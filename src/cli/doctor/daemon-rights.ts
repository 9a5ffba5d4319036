/**
 * The rights that a daemon uses, as the statements of infra/errand.yaml that give them, each with a thing to ask IAM about. Launching
 * (ec2:RunInstances, ec2:CreateTags) is not among them: a dry run proves it, with every condition.
 */
import { DOCUMENT_NAME } from "../../aws/session/document.ts";
import type { Statement } from "./finding.ts";

export type Grant = {
  readonly statement: Statement;
  /** What it is asked for on. */
  readonly example: string;
  /** What becomes of a daemon that has not got it; absent where it cannot do without. */
  readonly without?: string;
};

/** Where the rights are used, and by whom. */
export type Place = {
  readonly partition: string;
  readonly account: string;
  readonly region: string;
  readonly bucket: string;
  readonly installation: string;
  readonly userId: string;
  readonly queueUrl?: string | undefined;
  /** The ARN of the machines' role, where it is known. */
  readonly machineRole?: string | undefined;
};

const NO_LIVE_LOGS = "logs come in chunks";
/** Nobody's: as good as any, where it is the tag that counts. */
const INSTANCE = "i-0123456789abcdef0";
const SESSION_OWNER = "ssm:resourceTag/aws:ssmmessages:session-id";

export function daemonGrants(place: Place): readonly Grant[] {
  return [...ofStore(place), ...ofEc2(place), ...ofLiveLogs(place)];
}

function ofStore({ partition, account, region, bucket, queueUrl }: Place): readonly Grant[] {
  const bucketArn = `arn:${partition}:s3:::${bucket}`;
  const grants: Grant[] = [
    {
      statement: {
        Action: ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
        Resource: bucketArn,
      },
      example: bucketArn,
    },
    {
      statement: {
        Action: [
          "s3:GetObject",
          "s3:PutObject",
          "s3:DeleteObject",
          "s3:AbortMultipartUpload",
          "s3:GetObjectTagging",
          "s3:PutObjectTagging",
        ],
        Resource: `${bucketArn}/*`,
      },
      example: `${bucketArn}/drops/doctor.tar.gz`,
    },
  ];
  if (queueUrl === undefined) return grants;
  const queueArn = `arn:${partition}:sqs:${region}:${account}:${queueUrl.split("/").at(-1)}`;
  const wake = { Action: ["sqs:ReceiveMessage", "sqs:DeleteMessage"], Resource: queueArn };
  return [...grants, { statement: wake, example: queueArn }];
}

function ofEc2(place: Place): readonly Grant[] {
  const { partition, account, region, installation, machineRole } = place;
  const instances = `arn:${partition}:ec2:${region}:${account}:instance/`;
  const images = `arn:${partition}:ssm:${region}::parameter/aws/service/`;
  const onOurs = (action: string): Statement => ({
    Action: [action],
    Resource: `${instances}*`,
    Condition: { StringEquals: { "aws:ResourceTag/errand:daemon": installation } },
  });
  const onAll = (...Action: string[]): Statement => ({ Action, Resource: "*" });
  const grants: Grant[] = [
    {
      statement: onAll(
        "ec2:DescribeImages",
        "ec2:DescribeInstances",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeSubnets",
      ),
      example: "*",
    },
    {
      statement: onAll("servicequotas:ListServiceQuotas"),
      example: "*",
      without: "jobs wait only once EC2 has refused them",
    },
    {
      statement: onAll("pricing:GetProducts"),
      example: "*",
      without: "it plans with the prices that it is shipped with",
    },
    {
      statement: { Action: ["ssm:GetParameters"], Resource: `${images}*` },
      example: `${images}ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64`,
    },
    { statement: onOurs("ec2:TerminateInstances"), example: `${instances}${INSTANCE}` },
    {
      statement: onOurs("ec2:GetConsoleOutput"),
      example: `${instances}${INSTANCE}`,
      without: "nobody sees what a machine said whose job never began",
    },
  ];
  if (machineRole === undefined) return grants;
  const pass: Statement = {
    Action: ["iam:PassRole"],
    Resource: machineRole,
    Condition: { StringEquals: { "iam:PassedToService": ec2Service(partition) } },
  };
  return [...grants, { statement: pass, example: machineRole }];
}

function ofLiveLogs({ partition, account, region, installation }: Place): readonly Grant[] {
  const instances = `arn:${partition}:ec2:${region}:${account}:instance/`;
  const document = `arn:${partition}:ssm:${region}:${account}:document/${DOCUMENT_NAME}`;
  const sessions = `arn:${partition}:ssm:${region}:${account}:session/`;
  const follow: Statement = {
    Action: ["ssm:StartSession"],
    Resource: `${instances}*`,
    Condition: {
      StringEquals: { "ssm:resourceTag/errand:daemon": installation },
      Bool: { "ssm:SessionDocumentAccessCheck": "true" },
    },
  };
  const end: Statement = {
    Action: ["ssm:TerminateSession"],
    Resource: `${sessions}*`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of IAM's, filled in when a call is made.
    Condition: { StringEquals: { [SESSION_OWNER]: "${aws:userid}" } },
  };
  const grants: Omit<Grant, "without">[] = [
    { statement: follow, example: `${instances}${INSTANCE}` },
    { statement: { Action: ["ssm:StartSession"], Resource: document }, example: document },
    {
      statement: { Action: ["ssmmessages:OpenDataChannel"], Resource: `${sessions}*` },
      example: `${sessions}doctor-0123456789abcdef0`,
    },
    { statement: end, example: `${sessions}doctor-0123456789abcdef0` },
    { statement: { Action: ["ssm:GetConnectionStatus"], Resource: "*" }, example: "*" },
  ];
  return grants.map((grant) => ({ ...grant, without: NO_LIVE_LOGS }));
}

/** What the calls say of themselves, for the conditions of the statements and for those that many accounts add. */
export const contextOf = (place: Place): Readonly<Record<string, string>> => ({
  "aws:RequestedRegion": place.region,
  "aws:SecureTransport": "true",
  "aws:userid": place.userId,
  "aws:ResourceTag/errand:daemon": place.installation,
  "ssm:resourceTag/errand:daemon": place.installation,
  "ssm:SessionDocumentAccessCheck": "true",
  [SESSION_OWNER]: place.userId,
  "iam:PassedToService": ec2Service(place.partition),
});

/** What no daemon needs, and who may do it could do harm with: how wide the rights are. */
export function wideRights({ partition, account, region }: Place): readonly Wide[] {
  return [
    {
      what: "give EC2 any role",
      action: "iam:PassRole",
      example: `arn:${partition}:iam::${account}:role/errand-doctor-asks-for-another`,
    },
    {
      what: "end any machine",
      action: "ec2:TerminateInstances",
      example: `arn:${partition}:ec2:${region}:${account}:instance/${INSTANCE}`,
    },
    {
      what: "open a shell by Session Manager",
      action: "ssm:StartSession",
      example: `arn:${partition}:ssm:${region}:${account}:document/SSM-SessionManagerRunShell`,
    },
  ];
}

export type Wide = { readonly what: string; readonly action: string; readonly example: string };

/** For a machine of somebody else. */
export const foreignContextOf = (place: Place): Readonly<Record<string, string>> =>
  contextOf({ ...place, installation: "errand-doctor-asks-for-another" });

const ec2Service = (partition: string): string =>
  partition === "aws-cn" ? "ec2.amazonaws.com.cn" : "ec2.amazonaws.com";
