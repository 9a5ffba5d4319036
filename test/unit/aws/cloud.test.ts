/** What neither the local cloud nor another can be made to answer: pages, failures, an unlucky order. */
import {
  DescribeInstancesCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { GetParametersCommand } from "@aws-sdk/client-ssm";
import { expect, test } from "vitest";
import type { Launch } from "../../../src/core/launches.ts";
import { makeWorld } from "../../support/mocked-cloud.ts";

const awsError = (name: string, status: number): Error =>
  Object.assign(new Error(`${name} in AWS's words`), {
    name,
    $metadata: { httpStatusCode: status },
  });

function makeLaunch(over: { size?: number; input?: Partial<Launch["input"]> } = {}): Launch {
  const { size = 1, input = {} } = over;
  return {
    format: 1,
    token: "token",
    createdAt: 0,
    attempts: Array.from({ length: size }, () => ({ run: "run", job: "train", number: 1 })),
    input: {
      instanceType: "m5.large",
      zone: "us-east-1a",
      subnetId: "subnet-a",
      imageId: "ami-cpu",
      rootDeviceName: "/dev/xvda",
      diskGib: 94,
      instanceProfile: "errand-instance",
      securityGroupIds: ["sg-1"],
      tags: { "errand:daemon": "home", "errand:launch": "token" },
      userData: {
        bucket: "errand-bucket",
        region: "us-east-1",
        endpoint: "",
        scriptSha256: "0".repeat(64),
      },
      ...input,
    },
  };
}

test("a launch is all or nothing, tagged, encrypted, guarded, and says when to end", async () => {
  const { cloud, launchEc2 } = makeWorld();
  launchEc2.on(RunInstancesCommand).resolves({
    Instances: [
      { AmiLaunchIndex: 1, InstanceId: "i-1" },
      { AmiLaunchIndex: 0, InstanceId: "i-0" },
    ],
  });
  expect(await cloud.launch(makeLaunch({ size: 2 }))).toEqual(["i-0", "i-1"]);
  const { UserData, ...input } =
    launchEc2.commandCalls(RunInstancesCommand)[0]?.args[0].input ?? {};
  const Tags = [
    { Key: "errand:daemon", Value: "home" },
    { Key: "errand:launch", Value: "token" },
  ];
  expect(input).toEqual({
    ClientToken: "token",
    MinCount: 2,
    MaxCount: 2,
    SubnetId: "subnet-a",
    InstanceType: "m5.large",
    ImageId: "ami-cpu",
    InstanceInitiatedShutdownBehavior: "terminate",
    SecurityGroupIds: ["sg-1"],
    IamInstanceProfile: { Name: "errand-instance" },
    BlockDeviceMappings: [
      {
        DeviceName: "/dev/xvda",
        Ebs: { VolumeSize: 94, VolumeType: "gp3", Encrypted: true, DeleteOnTermination: true },
      },
    ],
    MetadataOptions: {
      HttpEndpoint: "enabled",
      HttpTokens: "required",
      HttpPutResponseHopLimit: 1,
      InstanceMetadataTags: "enabled",
    },
    MaintenanceOptions: { AutoRecovery: "disabled" },
    TagSpecifications: [
      { ResourceType: "instance", Tags },
      { ResourceType: "volume", Tags },
    ],
  });
  const userData = Buffer.from(UserData ?? "", "base64").toString();
  expect(userData).toMatch(/^#!\/bin\/bash\nERRAND_BUCKET=errand-bucket\n/);
  expect(userData).toContain("ERRAND_TOKEN=token\n");
  expect(userData).toContain(`echo ${"0".repeat(64)}\n`);
});

test.each<[string, Partial<Launch["input"]>, unknown, unknown]>([
  [
    "an ARN",
    { instanceProfile: "arn:aws:iam::1:instance-profile/p" },
    { Arn: "arn:aws:iam::1:instance-profile/p" },
    ["sg-1"],
  ],
  ["nothing", { instanceProfile: "", securityGroupIds: [] }, undefined, undefined],
])("a profile and groups of %s are sent as such", async (_, input, profile, groups) => {
  const { cloud, launchEc2 } = makeWorld();
  launchEc2.on(RunInstancesCommand).resolves({ Instances: [] });
  await cloud.launch(makeLaunch({ input }));
  const sent = launchEc2.commandCalls(RunInstancesCommand)[0]?.args[0].input;
  expect([sent?.IamInstanceProfile, sent?.SecurityGroupIds]).toEqual([profile, groups]);
});

test("a refusal says which machine was asked for where", async () => {
  const { cloud, launchEc2 } = makeWorld();
  launchEc2.on(RunInstancesCommand).rejects(awsError("InsufficientInstanceCapacity", 500));
  await expect(cloud.launch(makeLaunch())).rejects.toMatchObject({
    kind: "no-capacity",
    code: "InsufficientInstanceCapacity",
    message: expect.stringMatching(/^launching m5.large in us-east-1a: /),
  });
});

test("instances are listed to the last page, by the installation's tag, without hiding what lacks tags", async () => {
  const { cloud, ec2 } = makeWorld();
  const instance = (InstanceId: string) => ({ InstanceId, State: { Name: "running" as const } });
  ec2
    .on(DescribeInstancesCommand)
    .resolvesOnce({ Reservations: [{ Instances: [instance("i-1")] }], NextToken: "next" })
    .resolves({
      Reservations: [
        {
          Instances: [
            {
              ...instance("i-2"),
              AmiLaunchIndex: 3,
              InstanceType: "m5.large",
              Placement: { AvailabilityZone: "us-east-1a" },
              LaunchTime: new Date(5_000),
              Tags: [{ Key: "errand:launch", Value: "token" }],
              StateReason: {
                Code: "Server.InternalError",
                Message: "Server.InternalError: Internal error on launch",
              },
            },
          ],
        },
      ],
    });
  const [bare, full] = await cloud.listInstances();
  expect(bare).toMatchObject({ id: "i-1", token: "", index: 0, stateReason: "" });
  expect(full).toEqual({
    id: "i-2",
    token: "token",
    index: 3,
    state: "running",
    instanceType: "m5.large",
    zone: "us-east-1a",
    launchedAt: 5_000,
    stateReason: "Server.InternalError: Internal error on launch",
  });
  // The SDK's paginator sends one input again with another token, so only what stays the same can be seen.
  const inputs = ec2.commandCalls(DescribeInstancesCommand).map(({ args }) => args[0].input);
  expect(inputs.map(({ Filters }) => Filters)).toEqual([
    [{ Name: "tag:errand:daemon", Values: ["home"] }],
    [{ Name: "tag:errand:daemon", Values: ["home"] }],
  ]);
});

test("one bad id spares no other of its batch, and what EC2 refuses is told after the last", async () => {
  const { cloud, ec2 } = makeWorld();
  const ids = Array.from({ length: 150 }, (_, index) => `i-${index}`);
  const gone: string[] = [];
  ec2.on(TerminateInstancesCommand).callsFake(({ InstanceIds }: { InstanceIds: string[] }) => {
    if (InstanceIds.includes("i-7")) throw awsError("InvalidInstanceID.NotFound", 400);
    if (InstanceIds.includes("i-9")) throw awsError("OperationNotPermitted", 400);
    gone.push(...InstanceIds);
    return {};
  });
  await expect(cloud.terminate(ids)).rejects.toMatchObject({
    kind: "refused",
    message: expect.stringMatching(/^terminating i-9: /),
  });
  expect(gone.toSorted()).toEqual(ids.filter((id) => id !== "i-7" && id !== "i-9").toSorted());
});

test("a throttled batch is not torn into a hundred calls", async () => {
  const { cloud, ec2 } = makeWorld();
  ec2.on(TerminateInstancesCommand).rejects(awsError("RequestLimitExceeded", 503));
  await expect(cloud.terminate(["i-1", "i-2"])).rejects.toMatchObject({ kind: "unavailable" });
  expect(ec2.commandCalls(TerminateInstancesCommand)).toHaveLength(1);
});

test("the catalog has what the zones offer, with prices, subnets by zone and images", async () => {
  const { cloud } = makeWorld();
  expect(await cloud.readCatalog()).toEqual({
    region: "us-east-1",
    types: [
      expect.objectContaining({
        name: "m5.large",
        hourlyUsd: 0.096,
        zones: ["us-east-1a", "us-east-1b"],
      }),
    ],
    places: [
      { zone: "us-east-1a", subnetId: "subnet-a" },
      { zone: "us-east-1b", subnetId: "subnet-b" },
    ],
    images: [
      { arch: "x86_64", hasGpuDriver: false, imageId: "ami-cpu", rootDeviceName: "/dev/xvda" },
      { arch: "x86_64", hasGpuDriver: true, imageId: "ami-gpu", rootDeviceName: "/dev/xvda" },
    ],
    isEstimate: false,
    diskGibMonthUsd: 0.08,
    pricedOn: "2026-07-20",
  });
});

test("without leave to ask for offerings, the snapshot's for the region do", async () => {
  const { cloud } = makeWorld({ offerings: awsError("UnauthorizedOperation", 403) });
  const { types } = await cloud.readCatalog();
  expect(types).toHaveLength(1_243);
  expect(types.every(({ zones }) => zones === undefined)).toBe(true);
});

test("an image of the operator's stands in for the public one, and its architecture is checked", async () => {
  const { cloud } = makeWorld({ images: { cpu: "ami-own" } });
  expect((await cloud.readCatalog()).images[0]?.imageId).toBe("ami-own");
  const wrong = makeWorld({ images: { armCpu: "ami-own" } });
  await expect(wrong.cloud.readCatalog()).rejects.toMatchObject({
    kind: "refused",
    message: "reading images: ami-own is x86_64, but images.armCpu has to be arm64",
  });
});

test("the catalog is read once an hour, and once for all who ask at once", async () => {
  const { cloud, ssm, time } = makeWorld();
  const [first, second] = await Promise.all([cloud.readCatalog(), cloud.readCatalog()]);
  expect(second).toBe(first);
  time.now = 59 * 60_000;
  expect(await cloud.readCatalog()).toBe(first);
  time.now = 61 * 60_000;
  expect(await cloud.readCatalog()).not.toBe(first);
  expect(ssm.commandCalls(GetParametersCommand)).toHaveLength(2);
});

test("a refresh that fails is told, and the catalog of before is used on for a minute", async () => {
  const { cloud, ssm, time, stale } = makeWorld();
  const first = await cloud.readCatalog();
  ssm.on(GetParametersCommand).rejects(awsError("ThrottlingException", 400));
  time.now = 61 * 60_000;
  expect(await cloud.readCatalog()).toBe(first);
  expect(await cloud.readCatalog()).toBe(first);
  expect(stale).toEqual([expect.objectContaining({ kind: "unavailable" })]);
  time.now += 61_000;
  await cloud.readCatalog();
  expect(stale).toHaveLength(2);
});

test("a first reading that fails is an error, and the next one tries again", async () => {
  const { cloud, ssm } = makeWorld();
  ssm
    .on(GetParametersCommand)
    .rejectsOnce(awsError("ThrottlingException", 400))
    .resolves({ Parameters: [] });
  await expect(cloud.readCatalog()).rejects.toMatchObject({ kind: "unavailable" });
  expect((await cloud.readCatalog()).images).toEqual([]);
});
