/** What `errand doctor` asks of AWS: calls that read, or that EC2 checks and does not carry out. All throw CloudError. */
import { RunInstancesCommand } from "@aws-sdk/client-ec2";
import { HeadBucketCommand } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import type { Launch } from "../core/launches.ts";
import { isCloudError } from "../errors.ts";
import type { Clients } from "./clients.ts";
import { callAws } from "./error-codes.ts";
import { runInstancesInput } from "./run-instances.ts";
import { type ClientOptions, commonOptions } from "./s3-client.ts";
import { renderUserData } from "./user-data.ts";

export type Identity = {
  readonly account: string;
  readonly arn: string;
  /** What policies know as `aws:userid`. */
  readonly userId: string;
};

export async function readIdentity(options: ClientOptions): Promise<Identity> {
  const sts = new STSClient(commonOptions(options));
  try {
    const {
      Account: account = "",
      Arn: arn = "",
      UserId: userId = "",
    } = await callAws("asking who calls", () => sts.send(new GetCallerIdentityCommand({})));
    return { account, arn, userId };
  } finally {
    sts.destroy();
  }
}

/** The region that a bucket is in; undefined where the endpoint does not say. */
export async function readBucketRegion(
  { s3 }: Pick<Clients, "s3">,
  bucket: string,
): Promise<string | undefined> {
  const { BucketRegion } = await callAws(`looking at the bucket ${bucket}`, () =>
    s3.send(new HeadBucketCommand({ Bucket: bucket })),
  );
  return BucketRegion;
}

/** How far this machine's clock is ahead of AWS's, milliseconds, to a second; undefined where nobody says the time. */
export async function readClockSkew(endpoint: string): Promise<number | undefined> {
  const sentAt = Date.now();
  const response = await fetch(endpoint, { method: "HEAD", redirect: "manual" });
  const receivedAt = Date.now();
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds: on average half of one is cut off.
  return Number.isNaN(date) ? undefined : (sentAt + receivedAt) / 2 - (date + 500);
}

/** Resolves when EC2 would carry the launch out. */
export async function tryLaunch(
  { launchEc2 }: Pick<Clients, "launchEc2">,
  launch: Launch,
  script: string,
): Promise<void> {
  const { scriptSha256: _, ...header } = launch.input.userData;
  const userData = renderUserData({ ...header, token: launch.token }, script);
  const input = { ...runInstancesInput(launch, userData), DryRun: true };
  const { instanceType, zone } = launch.input;
  try {
    await callAws(`launching ${instanceType} in ${zone}, as a trial`, () =>
      launchEc2.send(new RunInstancesCommand(input)),
    );
  } catch (error) {
    if (isCloudError(error) && error.code === "DryRunOperation") return;
    throw error;
  }
}
