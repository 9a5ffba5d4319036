/** EC2's instances of the local cloud, through the AWS SDK over the wire. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateTagsCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandInput,
  DescribeVolumesCommand,
  type Instance,
  RunInstancesCommand,
  type RunInstancesCommandInput,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type LocalEc2, startLocalEc2 } from "../support/local-ec2.ts";
import { waitForState as untilState, WAIT } from "../support/machine.ts";

const AL2023 = "ami-0a120230000000010";
const SUBNET_A = "subnet-0e44a2d000000000a";
const SUBNET_B = "subnet-0e44a2d000000000b";

let folder: string;
let cloud: LocalEc2;
let now = Date.now();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-ec2-"));
  cloud = await startLocalEc2({ folder, now: () => now });
});

afterEach(async () => {
  const ids = (await list({})).map(({ InstanceId }) => InstanceId ?? "");
  if (ids.length > 0) await cloud.ec2.send(new TerminateInstancesCommand({ InstanceIds: ids }));
});

afterAll(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

const launchInput = (more: Partial<RunInstancesCommandInput> = {}): RunInstancesCommandInput => ({
  ImageId: AL2023,
  InstanceType: "m5.large",
  MinCount: 1,
  MaxCount: 1,
  SubnetId: SUBNET_A,
  ...more,
});

const run = (more: Partial<RunInstancesCommandInput> = {}) =>
  cloud.ec2.send(new RunInstancesCommand(launchInput(more)));

const terminate = (...InstanceIds: string[]) =>
  cloud.ec2.send(new TerminateInstancesCommand({ InstanceIds }));

async function list(input: DescribeInstancesCommandInput): Promise<Instance[]> {
  const { Reservations = [] } = await cloud.ec2.send(new DescribeInstancesCommand(input));
  return Reservations.flatMap(({ Instances = [] }) => Instances);
}

const waitForState = (id: string, state: string) => untilState(cloud.ec2, id, state);

const idsOf = ({ Instances = [] }: { Instances?: Instance[] | undefined }): string[] =>
  Instances.map(({ InstanceId }) => InstanceId ?? "");

describe("RunInstances", () => {
  it("launches all of a batch with the indexes 0 to n-1 and one reservation", async () => {
    const { Instances = [], ReservationId } = await run({ MinCount: 5, MaxCount: 5 });
    expect(Instances.map(({ AmiLaunchIndex }) => AmiLaunchIndex)).toEqual([0, 1, 2, 3, 4]);
    expect(new Set(Instances.map(({ InstanceId }) => InstanceId)).size).toBe(5);
    expect(ReservationId).toMatch(/^r-[0-9a-f]{17}$/);
    expect(Instances[0]).toMatchObject({
      State: { Code: 0, Name: "pending" },
      StateReason: { Code: "pending" },
      InstanceType: "m5.large",
      Placement: { AvailabilityZone: "us-east-1a" },
      SubnetId: SUBNET_A,
      Architecture: "x86_64",
    });
  });

  it("puts the tags, profile and options of the launch on each instance", async () => {
    const { Instances } = await run({
      IamInstanceProfile: { Name: "errand-instance" },
      TagSpecifications: [
        { ResourceType: "instance", Tags: [{ Key: "errand:launch", Value: 'a<b>&"c' }] },
        { ResourceType: "volume", Tags: [{ Key: "errand:launch", Value: "x" }] },
      ],
      BlockDeviceMappings: [
        {
          DeviceName: "/dev/xvda",
          Ebs: { VolumeSize: 93, VolumeType: "gp3", Encrypted: true, DeleteOnTermination: true },
        },
      ],
      MetadataOptions: { HttpTokens: "required", HttpPutResponseHopLimit: 2 },
      MaintenanceOptions: { AutoRecovery: "disabled" },
      InstanceInitiatedShutdownBehavior: "terminate",
    });
    expect(Instances?.[0]).toMatchObject({
      Tags: [{ Key: "errand:launch", Value: 'a<b>&"c' }],
      IamInstanceProfile: { Arn: "arn:aws:iam::000000000000:instance-profile/errand-instance" },
      MetadataOptions: { HttpTokens: "required", HttpPutResponseHopLimit: 2 },
      MaintenanceOptions: { AutoRecovery: "disabled" },
    });
  });

  it("takes the subnet and groups of a network interface", async () => {
    const { SubnetId: _, ...input } = launchInput();
    const { Instances } = await cloud.ec2.send(
      new RunInstancesCommand({
        ...input,
        NetworkInterfaces: [
          {
            DeviceIndex: 0,
            SubnetId: SUBNET_B,
            Groups: ["sg-0e44a2d0000000001"],
            AssociatePublicIpAddress: true,
          },
        ],
      }),
    );
    expect(Instances?.[0]).toMatchObject({
      SubnetId: SUBNET_B,
      SecurityGroups: [{ GroupId: "sg-0e44a2d0000000001", GroupName: "errand" }],
    });
  });

  it.each([
    ["an unknown type", { InstanceType: "z9.large" as never }, "InvalidParameterValue"],
    ["an unknown image", { ImageId: "ami-0000000000000dead" }, "InvalidAMIID.NotFound"],
    ["an image id that is none", { ImageId: "al2023" }, "InvalidAMIID.Malformed"],
    ["an unknown subnet", { SubnetId: "subnet-0dead" }, "InvalidSubnetID.NotFound"],
    ["an unknown group", { SecurityGroupIds: ["sg-0dead"] }, "InvalidGroup.NotFound"],
    ["an unknown profile", { IamInstanceProfile: { Name: "nobody" } }, "InvalidParameterValue"],
    [
      "a type that the zone does not have",
      { InstanceType: "m5.xlarge" as const, SubnetId: SUBNET_B },
      "Unsupported",
    ],
    [
      "an image of another architecture",
      { InstanceType: "m6g.large" as const },
      "InvalidParameterValue",
    ],
    ["more at least than at most", { MinCount: 2 }, "InvalidParameterValue"],
    [
      "17 KB of user-data",
      { UserData: Buffer.alloc(16_385).toString("base64") },
      "InvalidParameterValue",
    ],
    ["user-data that is not base64", { UserData: "#!/bin/bash" }, "InvalidUserData.Malformed"],
    [
      "a volume smaller than the image",
      { BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs: { VolumeSize: 4 } }] },
      "InvalidBlockDeviceMapping",
    ],
    ["IMDSv1", { MetadataOptions: { HttpTokens: "optional" as const } }, "InvalidParameterValue"],
    [
      "a metadata tag with a space",
      {
        MetadataOptions: { InstanceMetadataTags: "enabled" as const },
        TagSpecifications: [
          { ResourceType: "instance" as const, Tags: [{ Key: "a b", Value: "" }] },
        ],
      },
      "InvalidParameterValue",
    ],
    [
      "a tag of AWS's own",
      {
        TagSpecifications: [
          { ResourceType: "instance" as const, Tags: [{ Key: "aws:x", Value: "" }] },
        ],
      },
      "InvalidParameterValue",
    ],
    ["a parameter that it does not know", { KeyName: "me" }, "UnknownParameter"],
    [
      "a nested parameter that it does not know",
      { Placement: { HostId: "h-1" } },
      "UnknownParameter",
    ],
  ])("refuses %s and launches nothing", async (_, more, code) => {
    await expect(run(more)).rejects.toMatchObject({ name: code });
    expect(await list({ Filters: [{ Name: "instance-state-name", Values: ["pending"] }] })).toEqual(
      [],
    );
  });

  it("takes 16 KB of user-data", async () => {
    const { Instances } = await run({ UserData: Buffer.alloc(16_384, 10).toString("base64") });
    expect(Instances).toHaveLength(1);
  });

  it("names the parameter that is missing", async () => {
    const { ImageId: _, ...input } = launchInput();
    await expect(cloud.ec2.send(new RunInstancesCommand(input))).rejects.toMatchObject({
      name: "MissingParameter",
      message: "The request must contain the parameter ImageId",
    });
  });

  it("answers a dry run with DryRunOperation and launches nothing", async () => {
    await expect(run({ DryRun: true, ClientToken: "dry" })).rejects.toMatchObject({
      name: "DryRunOperation",
      $metadata: { httpStatusCode: 412 },
    });
    expect(await list({ Filters: [{ Name: "client-token", Values: ["dry"] }] })).toEqual([]);
  });

  it("refuses a wrong type in a dry run, too", async () => {
    await expect(run({ DryRun: true, InstanceType: "z9.large" as never })).rejects.toMatchObject({
      name: "InvalidParameterValue",
    });
  });
});

describe("a client token", () => {
  it("gives the first answer again, also to calls at the same moment", async () => {
    const answers = await Promise.all(
      [1, 2, 3].map(() => run({ ClientToken: "once", MinCount: 2, MaxCount: 2 })),
    );
    const later = await run({ ClientToken: "once", MinCount: 2, MaxCount: 2 });
    const first = answers.map(idsOf)[0];
    expect([...answers, later].map(idsOf)).toEqual([first, first, first, first]);
    expect(await list({ Filters: [{ Name: "client-token", Values: ["once"] }] })).toHaveLength(2);
  });

  it("with other parameters is a mismatch", async () => {
    await run({ ClientToken: "mismatch" });
    await expect(run({ ClientToken: "mismatch", MaxCount: 2 })).rejects.toMatchObject({
      name: "IdempotentParameterMismatch",
    });
  });

  it("launches again in another zone", async () => {
    const one = await run({ ClientToken: "zonal" });
    const other = await run({ ClientToken: "zonal", SubnetId: SUBNET_B });
    expect(idsOf(other)).not.toEqual(idsOf(one));
  });

  it("does not launch again when its instances are terminated", async () => {
    const [id = ""] = idsOf(await run({ ClientToken: "ended" }));
    await terminate(id);
    await waitForState(id, "terminated");
    await expect(run({ ClientToken: "ended" })).rejects.toMatchObject({
      name: "IdempotentInstanceTerminated",
    });
  });
});

describe("DescribeInstances", () => {
  it("finds by tag, tag key, wildcard, zone, type, token and state, and by all of them together", async () => {
    const tags = [{ Key: "errand:daemon", Value: "d1" }];
    const [id = ""] = idsOf(
      await run({
        ClientToken: "filtered",
        TagSpecifications: [{ ResourceType: "instance", Tags: tags }],
      }),
    );
    await run({ SubnetId: SUBNET_B });
    await waitForState(id, "running");
    const filters = [
      { Name: "tag:errand:daemon", Values: ["d0", "d1"] },
      { Name: "tag-key", Values: ["errand:*"] },
      { Name: "availability-zone", Values: ["us-east-1a"] },
      { Name: "instance-type", Values: ["m5.?arge"] },
      { Name: "client-token", Values: ["filtered"] },
      { Name: "instance-id", Values: [id] },
      { Name: "instance-state-name", Values: ["running"] },
    ];
    for (const filter of [...filters.map((each) => [each]), filters]) {
      const isTerminated = { Name: "instance-state-name", Values: ["pending", "running"] };
      const found = await list({ Filters: [isTerminated, ...filter] });
      expect([filter, found.map(({ InstanceId }) => InstanceId)]).toEqual([
        filter,
        expect.arrayContaining([id]),
      ]);
    }
    expect(await list({ Filters: filters })).toHaveLength(1);
    expect(await list({ Filters: [{ Name: "tag:errand:daemon", Values: ["d"] }] })).toEqual([]);
  });

  it("refuses a filter that it does not know", async () => {
    await expect(list({ Filters: [{ Name: "colour", Values: ["x"] }] })).rejects.toMatchObject({
      name: "InvalidParameterValue",
    });
  });

  it("says NotFound of an id that there is not, and Malformed of what is no id", async () => {
    await expect(list({ InstanceIds: ["i-00000000000000000"] })).rejects.toMatchObject({
      name: "InvalidInstanceID.NotFound",
    });
    await expect(list({ InstanceIds: ["me"] })).rejects.toMatchObject({
      name: "InvalidInstanceID.Malformed",
    });
  });

  it("gives each instance once over pages of five", async () => {
    const launched = idsOf(await run({ MinCount: 12, MaxCount: 12, ClientToken: "pages" }));
    const filter = { Filters: [{ Name: "client-token", Values: ["pages"] }], MaxResults: 5 };
    const seen: string[][] = [];
    for (let token: string | undefined, more = true; more; ) {
      const page: {
        NextToken?: string | undefined;
        Reservations?: { Instances?: Instance[] | undefined }[] | undefined;
      } = await cloud.ec2.send(
        new DescribeInstancesCommand({ ...filter, ...(token ? { NextToken: token } : {}) }),
      );
      seen.push((page.Reservations ?? []).flatMap(idsOf));
      token = page.NextToken;
      more = token !== undefined;
    }
    expect(seen.map(({ length }) => length)).toEqual([5, 5, 2]);
    expect(seen.flat()).toEqual(launched);
  });

  it("forgets an instance an hour after its end, and not before", async () => {
    const [id = ""] = idsOf(await run());
    await terminate(id);
    await waitForState(id, "terminated");
    now += 59 * 60_000;
    expect(await list({ InstanceIds: [id] })).toHaveLength(1);
    now += 2 * 60_000;
    await expect(list({ InstanceIds: [id] })).rejects.toMatchObject({
      name: "InvalidInstanceID.NotFound",
    });
  });
});

describe("TerminateInstances", () => {
  it("tells the old and the new state, ends as the user's doing, and may be repeated", async () => {
    const [id = ""] = idsOf(await run());
    await waitForState(id, "running");
    const { TerminatingInstances: [change] = [] } = await terminate(id);
    expect(change).toMatchObject({
      PreviousState: { Name: "running", Code: 16 },
      CurrentState: { Name: "shutting-down", Code: 32 },
    });
    const ended = await waitForState(id, "terminated");
    expect(ended?.StateReason?.Code).toBe("Client.UserInitiatedShutdown");
    expect(ended?.StateTransitionReason).toMatch(
      /^User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)$/,
    );
    const again = await terminate(id);
    expect(again.TerminatingInstances?.[0]?.CurrentState?.Name).toBe("terminated");
  });

  it("touches none when one id is wrong", async () => {
    const [id = ""] = idsOf(await run());
    await waitForState(id, "running");
    await expect(terminate(id, "i-00000000000000000")).rejects.toMatchObject({
      name: "InvalidInstanceID.NotFound",
    });
    expect((await list({ InstanceIds: [id] }))[0]?.State?.Name).toBe("running");
  });

  it("sends an event for every state in order", async () => {
    const [id = ""] = idsOf(await run());
    await waitForState(id, "running");
    await terminate(id);
    await waitForState(id, "terminated");
    const events = await vi.waitFor(() => {
      const told = cloud.events
        .map((body) => JSON.parse(body))
        .filter(({ detail }) => detail["instance-id"] === id);
      expect(told).toHaveLength(4);
      return told;
    }, WAIT);
    expect(events.map(({ detail }) => detail.state)).toEqual([
      "pending",
      "running",
      "shutting-down",
      "terminated",
    ]);
    expect(events[0]).toMatchObject({
      source: "aws.ec2",
      "detail-type": "EC2 Instance State-change Notification",
      resources: [`arn:aws:ec2:us-east-1:000000000000:instance/${id}`],
    });
  });
});

it("tags an instance that runs", async () => {
  const [id = ""] = idsOf(await run());
  const Tags = [{ Key: "Name", Value: "x" }];
  await cloud.ec2.send(new CreateTagsCommand({ Resources: [id], Tags }));
  expect((await list({ InstanceIds: [id] }))[0]?.Tags).toEqual(Tags);
});

it("refuses an action that it does not know", async () => {
  await expect(cloud.ec2.send(new DescribeVolumesCommand({}))).rejects.toMatchObject({
    name: "InvalidAction",
  });
});
