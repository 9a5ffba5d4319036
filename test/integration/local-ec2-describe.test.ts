/** What the Describe operations of the local EC2 find, and what all its operations refuse, through the AWS SDK over the wire. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateTagsCommand,
  DescribeAvailabilityZonesCommand,
  DescribeImagesCommand,
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeInstanceTypesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  GetConsoleOutputCommand,
  paginateDescribeImages,
  RebootInstancesCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
  waitUntilInstanceRunning,
  waitUntilInstanceStatusOk,
  waitUntilInstanceTerminated,
} from "@aws-sdk/client-ec2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalEc2, startLocalEc2 } from "../support/local-ec2.ts";
import { describeInstance, launch, waitForState } from "../support/machine.ts";
import { refusalOf } from "../support/test-cloud.ts";

let folder: string;
let cloud: LocalEc2;
/** One that runs, and one of another kind that has ended. */
let [running, ended]: string[] = [];

const SUBNET_B = "subnet-0e44a2d000000000b";
const SLEEP = "#!/bin/sh\nsleep 600\n";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-describe-"));
  cloud = await startLocalEc2({ folder });
  [running] = await launch(cloud.ec2, SLEEP, {
    ClientToken: "one",
    SubnetId: SUBNET_B,
    IamInstanceProfile: { Name: "errand-instance" },
    MetadataOptions: { InstanceMetadataTags: "enabled" },
    TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "role", Value: "x*y" }] }],
  });
  [ended] = await launch(cloud.ec2, SLEEP, { InstanceType: "t3.micro" });
  await cloud.ec2.send(new TerminateInstancesCommand({ InstanceIds: [ended ?? ""] }));
  await waitForState(cloud.ec2, ended ?? "", "terminated");
  await waitForState(cloud.ec2, running ?? "", "running");
});

afterAll(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

async function find(Name: string, ...Values: string[]): Promise<(string | undefined)[]> {
  const { Reservations = [] } = await cloud.ec2.send(
    new DescribeInstancesCommand({ Filters: [{ Name, Values }] }),
  );
  return Reservations.flatMap(({ Instances = [] }) =>
    Instances.map(({ InstanceId }) => InstanceId),
  );
}

describe("DescribeInstances", () => {
  it.each([
    ["architecture", "x86_64", true],
    ["availability-zone", "us-east-1b", false],
    ["availability-zone-id", "use1-az2", false],
    ["block-device-mapping.device-name", "/dev/xvda", false],
    ["block-device-mapping.volume-id", "vol-*", false],
    ["client-token", "one", false],
    ["group-id", "sg-0e44a2d0000000001", false],
    ["iam-instance-profile.arn", "*/errand-instance", false],
    ["image-id", "ami-0a120230000000010", true],
    ["instance-state-code", "16", false],
    ["instance-state-name", "running", false],
    ["instance-type", "m5.*", false],
    ["instance.group-name", "errand", false],
    ["launch-index", "0", true],
    ["launch-time", "20*", true],
    ["metadata-options.instance-metadata-tags", "enabled", false],
    ["owner-id", "000000000000", true],
    ["private-dns-name", "ip-10-0-1-*.ec2.internal", false],
    ["private-ip-address", "10.0.1.*", false],
    ["root-device-type", "ebs", true],
    ["subnet-id", SUBNET_B, false],
    ["tag-key", "rol?", false],
    ["tag:role", "x\\*y", false],
    ["tag:role", "?\\*?", false],
    ["tenancy", "default", true],
    ["vpc-id", "vpc-*", false],
  ])("finds by %s %s, the terminated one too: %s", async (name, value, withEnded) => {
    expect(await find(name, value)).toEqual(withEnded ? [running, ended] : [running]);
  });

  it("finds a terminated one by its reason and by none of what it has lost", async () => {
    expect(await find("state-reason-code", "Client.UserInitiatedShutdown")).toEqual([ended]);
    expect(await find("reason", "User initiated*")).toEqual([ended]);
    const lost = ["subnet-id", "vpc-id", "private-ip-address", "group-id"];
    for (const name of lost) expect(await find(name, "*")).toEqual([running]);
  });

  it("takes 200 values and no more", async () => {
    const values = (count: number) => Array.from({ length: count }, (_, at) => `v${at}`);
    expect(await find("client-token", ...values(200))).toEqual([]);
    expect(await refusalOf(find("client-token", ...values(201)))).toBe("FilterLimitExceeded");
  });
});

describe("a tag that is added", () => {
  const tag = (Key: string, ...more: string[]) =>
    cloud.ec2.send(
      new CreateTagsCommand({
        Resources: [running ?? ""],
        Tags: [Key, ...more].map((each) => ({ Key: each, Value: "v" })),
      }),
    );

  it.each(["a b", "a/b", ".", "_index"])(
    "may not be called %j where IMDS shows tags",
    async (key) => {
      expect(await refusalOf(tag(key))).toBe("InvalidParameterValue");
    },
  );

  it.each(["aws:x", "AWS:x", ""])("may never be called %j", async (key) => {
    expect(await refusalOf(tag(key))).toBe("InvalidParameterValue");
  });

  it("may have a space and a slash where IMDS shows none", async () => {
    const Tags = [{ Key: "a b/c", Value: "v" }];
    await cloud.ec2.send(new CreateTagsCommand({ Resources: [ended ?? ""], Tags }));
    expect((await describeInstance(cloud.ec2, ended ?? ""))?.Tags).toEqual(Tags);
  });

  it("may not be the fifty-first", async () => {
    const names = Array.from({ length: 50 }, (_, at) => `k${at}`);
    expect(await refusalOf(tag("first", ...names))).toBe("TagLimitExceeded");
    expect((await describeInstance(cloud.ec2, running ?? ""))?.Tags).toHaveLength(1);
  });
});

describe("what stands in the account", () => {
  it("is found by filters and ids, and refused by a filter that there is not", async () => {
    const { Vpcs = [] } = await cloud.ec2.send(
      new DescribeVpcsCommand({ Filters: [{ Name: "is-default", Values: ["true"] }] }),
    );
    const VpcIds = Vpcs.map(({ VpcId = "" }) => VpcId);
    expect(VpcIds).toHaveLength(1);
    const inVpc = { Filters: [{ Name: "vpc-id", Values: VpcIds }] };
    const { Subnets = [] } = await cloud.ec2.send(new DescribeSubnetsCommand(inVpc));
    expect(Subnets).toHaveLength(3);
    const { SecurityGroups = [] } = await cloud.ec2.send(new DescribeSecurityGroupsCommand(inVpc));
    expect(SecurityGroups).toMatchObject([{ GroupName: "errand", VpcId: VpcIds[0] }]);
    const odd = { Filters: [{ Name: "colour", Values: ["red"] }] };
    for (const command of [new DescribeVpcsCommand(odd), new DescribeSubnetsCommand(odd)]) {
      expect(await refusalOf(cloud.ec2.send(command as DescribeVpcsCommand))).toBe(
        "InvalidParameterValue",
      );
    }
    const none = { Filters: [{ Name: "tag:Name", Values: ["*"] }] };
    expect((await cloud.ec2.send(new DescribeSubnetsCommand(none))).Subnets ?? []).toEqual([]);
  });

  it("is refused by an id that there is not", async () => {
    const group = new DescribeSecurityGroupsCommand({ GroupIds: ["sg-0dead"] });
    expect(await refusalOf(cloud.ec2.send(group))).toBe("InvalidGroup.NotFound");
    const vpc = new DescribeVpcsCommand({ VpcIds: ["vpc-0dead"] });
    expect(await refusalOf(cloud.ec2.send(vpc))).toBe("InvalidVpcID.NotFound");
  });

  it("comes in pages, each image once", async () => {
    const pages: string[][] = [];
    for await (const page of paginateDescribeImages({ client: cloud.ec2, pageSize: 3 }, {})) {
      pages.push((page.Images ?? []).map(({ ImageId = "" }) => ImageId));
    }
    expect(pages.map(({ length }) => length)).toEqual([3, 1]);
    expect(new Set(pages.flat()).size).toBe(4);
  });
});

it("the SDK's waiters see an instance run, be well, and end", async () => {
  const [id = ""] = await launch(cloud.ec2, SLEEP);
  const options = { client: cloud.ec2, maxWaitTime: 30, minDelay: 1, maxDelay: 1 };
  const input = { InstanceIds: [id] };
  expect((await waitUntilInstanceRunning(options, input)).state).toBe("SUCCESS");
  expect((await waitUntilInstanceStatusOk(options, input)).state).toBe("SUCCESS");
  await cloud.ec2.send(new TerminateInstancesCommand(input));
  expect((await waitUntilInstanceTerminated(options, input)).state).toBe("SUCCESS");
  const { InstanceStatuses = [] } = await cloud.ec2.send(
    new DescribeInstanceStatusCommand({ ...input, IncludeAllInstances: true }),
  );
  expect(InstanceStatuses).toMatchObject([
    { InstanceState: { Name: "terminated" }, InstanceStatus: { Status: "not-applicable" } },
  ]);
});

describe("a dry run", () => {
  const ids = () => [running ?? ""];
  const DryRun = true;
  const commands = () => [
    new RunInstancesCommand({
      ImageId: "ami-0a120230000000010",
      InstanceType: "m5.large",
      MinCount: 1,
      MaxCount: 1,
      DryRun,
    }),
    new TerminateInstancesCommand({ InstanceIds: ids(), DryRun }),
    new RebootInstancesCommand({ InstanceIds: ids(), DryRun }),
    new CreateTagsCommand({ Resources: ids(), Tags: [{ Key: "dry", Value: "" }], DryRun }),
    new GetConsoleOutputCommand({ InstanceId: running, DryRun }),
    new DescribeInstancesCommand({ DryRun }),
    new DescribeInstanceStatusCommand({ DryRun }),
    new DescribeInstanceTypesCommand({ DryRun }),
    new DescribeInstanceTypeOfferingsCommand({ DryRun }),
    new DescribeImagesCommand({ DryRun }),
    new DescribeSubnetsCommand({ DryRun }),
    new DescribeVpcsCommand({ DryRun }),
    new DescribeSecurityGroupsCommand({ DryRun }),
    new DescribeAvailabilityZonesCommand({ DryRun }),
  ];

  it("of any action says that it would have succeeded, and does nothing", async () => {
    for (const command of commands()) {
      const answer = refusalOf(cloud.ec2.send(command as DescribeInstancesCommand));
      expect([command.constructor.name, await answer]).toEqual([
        command.constructor.name,
        "DryRunOperation",
      ]);
    }
    const instance = await describeInstance(cloud.ec2, running ?? "");
    expect(instance?.State?.Name).toBe("running");
    expect(instance?.Tags).toHaveLength(1);
  });

  it("that could not succeed says why", async () => {
    const InstanceIds = ["i-00000000000000000"];
    for (const command of [
      new TerminateInstancesCommand({ InstanceIds, DryRun }),
      new DescribeInstancesCommand({ InstanceIds, DryRun }),
    ]) {
      const answer = refusalOf(cloud.ec2.send(command as DescribeInstancesCommand));
      expect(await answer).toBe("InvalidInstanceID.NotFound");
    }
  });
});
