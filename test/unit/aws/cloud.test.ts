/** What neither the local cloud nor another can be made to answer: pages, failures, an unlucky order. */
import {
  DescribeImagesCommand,
  DescribeInstancesCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeSubnetsCommand,
  EC2Client,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import { GetParametersCommand, SSMClient } from "@aws-sdk/client-ssm";
import { mockClient } from "aws-sdk-client-mock";
import { expect, test } from "vitest";
import { createCloud } from "../../../src/aws/cloud.ts";
import type { Launch } from "../../../src/core/launches.ts";
import { makeType } from "../../support/make.ts";

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

type WorldOptions = {
  readonly images?: Record<string, string>;
  readonly offerings?: Error;
  readonly subnets?: readonly { readonly subnetId: string; readonly zone?: string }[];
  readonly live?: Parameters<typeof createCloud>[1]["live"];
  readonly ignoresNamedImages?: boolean;
};

/** A cloud whose clients answer what the test says; the catalog's answers are there already. */
function makeWorld({
  images = {},
  offerings,
  subnets = [],
  live,
  ignoresNamedImages = false,
}: WorldOptions = {}) {
  const clients = {
    serviceQuotas: new ServiceQuotasClient({ region: "us-east-1" }),
    ec2: new EC2Client({ region: "us-east-1" }),
    launchEc2: new EC2Client({ region: "us-east-1" }),
    ssm: new SSMClient({ region: "us-east-1" }),
  };
  const ec2 = mockClient(clients.ec2);
  const launchEc2 = mockClient(clients.launchEc2);
  const ssm = mockClient(clients.ssm);
  const time = { now: 0 };
  const stale: unknown[] = [];
  ssm.on(GetParametersCommand).callsFake(({ Names }: { Names: string[] }) => ({
    Parameters: Names.filter((name) => name.includes("x86_64")).map((Name) => ({
      Name,
      Value: Name.includes("deep") ? "ami-gpu" : "ami-cpu",
    })),
    InvalidParameters: Names.filter((name) => name.includes("arm64")),
  }));
  ec2.on(DescribeImagesCommand).callsFake(({ ImageIds }: { ImageIds: string[] }) => ({
    Images: ImageIds.map((ImageId) => ({
      ImageId,
      Architecture: "x86_64",
      RootDeviceName: "/dev/xvda",
    })),
  }));
  ec2.on(DescribeSubnetsCommand).resolves({
    Subnets: [
      { AvailabilityZone: "us-east-1b", SubnetId: "subnet-b" },
      { AvailabilityZone: "us-east-1a", SubnetId: "subnet-a" },
    ],
  });
  ec2.on(DescribeInstanceTypeOfferingsCommand).callsFake(({ NextToken }) => {
    if (offerings) throw offerings;
    const page = NextToken
      ? [{ InstanceType: "m5.large", Location: "us-east-1b" }]
      : [
          { InstanceType: "m5.large", Location: "us-east-1a" },
          { InstanceType: "z9.large", Location: "us-east-1a" },
        ];
    return { InstanceTypeOfferings: page, ...(NextToken ? {} : { NextToken: "next" }) };
  });
  const cloud = createCloud(clients, {
    region: "us-east-1",
    subnets,
    ...(live && { live }),
    ignoresNamedImages,
    images,
    installation: "home",
    readScript: async (sha256) => `echo ${sha256}\n:RUNNER\n`,
    now: () => time.now,
    onStale: (error) => stale.push(error),
  });
  return { cloud, ec2, launchEc2, ssm, time, stale };
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

test("subnets keep the order of the configuration, and EC2 is asked for zones that it does not say", async () => {
  const subnets = [{ subnetId: "subnet-b" }, { subnetId: "subnet-c", zone: "us-east-1c" }];
  const { cloud, ec2 } = makeWorld({ subnets });
  const { places } = await cloud.readCatalog();
  expect(places).toEqual([
    { subnetId: "subnet-b", zone: "us-east-1b" },
    { subnetId: "subnet-c", zone: "us-east-1c" },
  ]);
  const [call] = ec2.commandCalls(DescribeSubnetsCommand);
  expect(call?.args[0].input).toEqual({ SubnetIds: ["subnet-b"] });
});

test("images that jobs name are asked for once, with their root device and size, and unknown ones are left out", async () => {
  const { cloud, ec2 } = makeWorld();
  ec2
    .on(DescribeImagesCommand, { Filters: [{ Name: "image-id", Values: ["ami-1", "ami-2"] }] })
    .resolves({
      Images: [
        {
          ImageId: "ami-1",
          Architecture: "arm64",
          RootDeviceName: "/dev/sda1",
          BlockDeviceMappings: [
            { DeviceName: "/dev/sdb", Ebs: { VolumeSize: 500 } },
            { DeviceName: "/dev/sda1", Ebs: { VolumeSize: 30 } },
          ],
        },
      ],
    });
  const plain = await cloud.readCatalog();
  const { images } = await cloud.readCatalog(["ami-1", "ami-2"]);
  expect(images).toEqual([
    ...plain.images,
    {
      ...{ arch: "arm64", hasGpuDriver: false, imageId: "ami-1", namedAs: "ami-1" },
      ...{ rootDeviceName: "/dev/sda1", diskGib: 30 },
    },
  ]);
  // Choices are remembered by the catalog, so it stays the same object.
  expect(await cloud.readCatalog(["ami-1"])).toBe(await cloud.readCatalog(["ami-1"]));
  expect(ec2.commandCalls(DescribeImagesCommand)).toHaveLength(2);
});

test("types and prices that AWS told take the place of the shipped ones as soon as they are there", async () => {
  const { hourlyUsd: _, ...type } = makeType({ name: "z9.large" });
  const told = {
    ...{ region: "us-east-1", readAt: Date.parse("2026-11-25T08:00:00Z"), types: [type] },
    prices: { hourlyUsd: { "z9.large": 0.5 }, diskGibMonthUsd: 0.09, isConverted: false },
  };
  const known: { types?: typeof told } = {};
  const { cloud } = makeWorld({ live: { current: async () => known.types } });
  const shipped = await cloud.readCatalog();
  expect(shipped.types.map(({ name }) => name)).toEqual(["m5.large"]);
  expect(shipped.isLive).toBeUndefined();
  known.types = told;
  const catalog = await cloud.readCatalog();
  expect(catalog).toMatchObject({
    types: [{ name: "z9.large", hourlyUsd: 0.5, zones: ["us-east-1a"] }],
    ...{ isLive: true, pricedOn: "2026-11-25", diskGibMonthUsd: 0.09 },
  });
  expect(await cloud.readCatalog()).toBe(catalog);
});

test("where machines are the host, an image that a job names is the one that there is", async () => {
  const { cloud, ec2 } = makeWorld({ ignoresNamedImages: true });
  const plain = await cloud.readCatalog();
  const { images } = await cloud.readCatalog(["ami-1"]);
  expect(images).toEqual([
    ...plain.images,
    ...plain.images.map((image) => ({ ...image, namedAs: "ami-1" })),
  ]);
  expect(ec2.commandCalls(DescribeImagesCommand)).toHaveLength(1);
});
