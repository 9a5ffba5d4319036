/**
 * What each service of the local cloud can be asked. The services' own tables are typed by these names, so that none is missing here
 * and none is here alone; rules of faults are held against them.
 */
import type { ServiceName } from "./signature.ts";
import { matchesWildcard } from "./wildcards.ts";

export const EC2_ACTIONS = [
  "CreateTags",
  "DescribeAvailabilityZones",
  "DescribeImages",
  "DescribeInstanceStatus",
  "DescribeInstanceTypeOfferings",
  "DescribeInstanceTypes",
  "DescribeInstances",
  "DescribeSecurityGroups",
  "DescribeSubnets",
  "DescribeVpcs",
  "GetConsoleOutput",
  "RebootInstances",
  "RunInstances",
  "TerminateInstances",
] as const;

export const S3_OPERATIONS = [
  "AbortMultipartUpload",
  "CompleteMultipartUpload",
  "CopyObject",
  "CreateBucket",
  "CreateMultipartUpload",
  "DeleteBucket",
  "DeleteObject",
  "DeleteObjects",
  "GetBucketLocation",
  "GetBucketNotificationConfiguration",
  "GetObject",
  "HeadBucket",
  "HeadObject",
  "ListBuckets",
  "ListMultipartUploads",
  "ListObjects",
  "ListObjectsV2",
  "ListParts",
  "PutBucketNotificationConfiguration",
  "PutObject",
  "UploadPart",
  "UploadPartCopy",
] as const;

export const SQS_QUEUE_OPERATIONS = [
  "CreateQueue",
  "DeleteQueue",
  "GetQueueAttributes",
  "GetQueueUrl",
  "ListQueues",
  "PurgeQueue",
  "SetQueueAttributes",
] as const;

export const SQS_MESSAGE_OPERATIONS = [
  "ChangeMessageVisibility",
  "ChangeMessageVisibilityBatch",
  "DeleteMessage",
  "DeleteMessageBatch",
  "ReceiveMessage",
  "SendMessage",
  "SendMessageBatch",
] as const;

export const SSM_SESSION_OPERATIONS = [
  "CreateDocument",
  "DescribeDocument",
  "DescribeInstanceInformation",
  "GetConnectionStatus",
  "ResumeSession",
  "StartSession",
  "TerminateSession",
] as const;

export const SSM_PARAMETER_OPERATIONS = [
  "DeleteParameter",
  "GetParameter",
  "GetParameters",
  "PutParameter",
] as const;

export const SECRETS_MANAGER_OPERATIONS = [
  "CreateSecret",
  "DeleteSecret",
  "GetSecretValue",
  "PutSecretValue",
] as const;

export const STS_ACTIONS = ["AssumeRole", "GetCallerIdentity"] as const;

const OPERATIONS: Readonly<Record<ServiceName | "imds", readonly string[]>> = {
  ec2: EC2_ACTIONS,
  imds: ["Get", "PutToken"],
  kms: ["GenerateDataKey"],
  s3: S3_OPERATIONS,
  secretsmanager: SECRETS_MANAGER_OPERATIONS,
  servicequotas: ["ListServiceQuotas"],
  sqs: [...SQS_MESSAGE_OPERATIONS, ...SQS_QUEUE_OPERATIONS],
  ssm: [...SSM_PARAMETER_OPERATIONS, ...SSM_SESSION_OPERATIONS],
  sts: STS_ACTIONS,
};

export const SERVICES: readonly string[] = Object.keys(OPERATIONS);

const NAMES: readonly string[] = Object.entries(OPERATIONS).flatMap(([service, names]) =>
  names.map((name) => `${service}:${name}`),
);

/** Whether there is an operation such as `s3:PutObject` that the pattern matches. */
export const isOperation = (pattern: string): boolean =>
  NAMES.some((name) => matchesWildcard(name, pattern));

const NEAR_MAX = 3;

/** Of operations such as `s3:PutObject` those that come nearest to one that is none, or else all of its service. */
export function listNearOperations(wrong: string): readonly string[] {
  const [service = "", wrongName = ""] = wrong.toLowerCase().split(":");
  const near = NAMES.map((name) => {
    const [ofService, ownName = ""] = name.toLowerCase().split(":");
    return { name, distance: countEdits(wrongName, ownName) + (ofService === service ? 0 : 0.5) };
  })
    .filter(({ distance }) => distance <= Math.max(2, wrongName.length / 3))
    .toSorted((a, b) => a.distance - b.distance);
  if (near.length > 0) return near.slice(0, NEAR_MAX).map(({ name }) => name);
  return NAMES.filter((name) => name.startsWith(`${service}:`));
}

/** Letters to insert, to leave out or to put in another's place. */
function countEdits(one: string, other: string): number {
  let above = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [row, letter] of [...one].entries()) {
    const current = [row + 1];
    for (const [column, wanted] of [...other].entries()) {
      const replaced = (above[column] ?? 0) + (letter === wanted ? 0 : 1);
      current.push(Math.min(replaced, (above[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    above = current;
  }
  return above[other.length] ?? 0;
}
