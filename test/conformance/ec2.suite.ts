/** EC2 and Parameter Store as AWS documents them, beyond what the Cloud promises. Through the SDK, call by call. */
import { randomBytes } from "node:crypto";
import {
  CreateTagsCommand,
  DescribeImagesCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandInput,
  DescribeInstanceTypeOfferingsCommand,
  DescribeInstanceTypesCommand,
  DescribeSubnetsCommand,
  type EC2Client,
  type Instance,
  RunInstancesCommand,
  type RunInstancesCommandInput,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { GetParameterCommand, type SSMClient } from "@aws-sdk/client-ssm";
import { expect } from "vitest";
import { type Backend, type Check, conformance } from "./backend.ts";
import { errorOf } from "./errors.ts";

export type Ec2UnderTest = {
  readonly ec2: EC2Client;
  readonly ssm: SSMClient;
  /** Lets this much time go by. */
  readonly pass: (ms: number) => Promise<void>;
};

type World = Awaited<ReturnType<typeof makeCalls>>;
type Open = () => Promise<World>;

/** `makeWorld` is called for each test; all may share one account. Every instance is terminated again. */
export function ec2Conformance(backend: Backend, makeWorld: () => Promise<Ec2UnderTest>): void {
  const open = async () => makeCalls(await makeWorld());
  conformance("EC2", backend, (test) => {
    describeRefusals(open, test);
    describeTokens(open, test);
    describeLives(open, test);
    describeLists(open, test);
    describeCatalog(open, test);
  });
}

const TYPE = "m5.large";
const IMAGE_PARAMETER = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
const NO_INSTANCE = "i-0123456789abcdef0";

async function makeCalls({ ec2, ssm, pass }: Ec2UnderTest) {
  const { Parameter } = await ssm.send(new GetParameterCommand({ Name: IMAGE_PARAMETER }));
  const input: RunInstancesCommandInput = {
    ImageId: Parameter?.Value,
    InstanceType: TYPE,
    MinCount: 1,
    MaxCount: 1,
    UserData: Buffer.from("#!/bin/sh\nsleep 600\n").toString("base64"),
  };
  const run = async (more: Partial<RunInstancesCommandInput> = {}) =>
    (await ec2.send(new RunInstancesCommand({ ...input, ...more }))).Instances ?? [];
  const list = async (more: DescribeInstancesCommandInput): Promise<readonly Instance[]> =>
    ((await ec2.send(new DescribeInstancesCommand(more))).Reservations ?? []).flatMap(
      ({ Instances = [] }) => Instances,
    );
  const terminate = (InstanceIds: string[]) =>
    ec2.send(new TerminateInstancesCommand({ InstanceIds }));
  return { ec2, ssm, pass, run, list, terminate, image: Parameter?.Value ?? "" };
}

const idsOf = (instances: readonly Instance[]): string[] =>
  instances.map(({ InstanceId = "" }) => InstanceId);

function describeRefusals(open: Open, test: Check): void {
  const refusals: readonly (readonly [string, Partial<RunInstancesCommandInput>, string])[] = [
    ["an image that there is not", { ImageId: "ami-0123456789abcdef0" }, "InvalidAMIID.NotFound"],
    [
      "a type that there is not",
      { InstanceType: "m5.gigantic" as "m5.large" },
      "InvalidParameterValue",
    ],
    [
      "a subnet that there is not",
      { SubnetId: "subnet-0123456789abcdef0" },
      "InvalidSubnetID.NotFound",
    ],
    [
      "a security group that there is not",
      { SecurityGroupIds: ["sg-0123456789abcdef0"] },
      "InvalidGroup.NotFound",
    ],
    [
      "an instance profile that there is not",
      { IamInstanceProfile: { Name: "there-is-none" } },
      "InvalidParameterValue",
    ],
    [
      "user-data of more than 16 KB",
      { UserData: Buffer.alloc(16_385, "#").toString("base64") },
      "InvalidParameterValue",
    ],
  ];
  for (const [what, more, code] of refusals) {
    test(`RunInstances refuses ${what}`, async () => {
      const { run } = await open();
      expect(await errorOf(run(more))).toBe(`400 ${code}`);
    });
  }

  test("a dry run launches nothing and says that it would have", async () => {
    const { run, list } = await open();
    const tag = randomBytes(8).toString("hex");
    const Tags = [{ Key: "dry", Value: tag }];
    const TagSpecifications = [{ ResourceType: "instance" as const, Tags }];
    const dry = run({ DryRun: true, TagSpecifications });
    expect(await errorOf(dry)).toBe("412 DryRunOperation");
    expect(await list({ Filters: [{ Name: "tag:dry", Values: [tag] }] })).toEqual([]);
  });

  test("one bad id refuses a whole TerminateInstances", async () => {
    const { run, terminate, list } = await open();
    const ids = idsOf(await run());
    expect(await errorOf(terminate([...ids, NO_INSTANCE]))).toBe("400 InvalidInstanceID.NotFound");
    const [instance] = await list({ InstanceIds: ids });
    expect(instance?.State?.Name).toMatch(/^(pending|running)$/);
    await terminate(ids);
  });
}

function describeTokens(open: Open, test: Check): void {
  test("a client token is IdempotentParameterMismatch with other parameters", async () => {
    const { run, terminate } = await open();
    const ClientToken = randomBytes(12).toString("hex");
    const ids = idsOf(await run({ ClientToken }));
    const other = run({ ClientToken, MinCount: 2, MaxCount: 2 });
    expect(await errorOf(other)).toBe("400 IdempotentParameterMismatch");
    await terminate(ids);
  });

  test("a client token of instances that are terminated is IdempotentInstanceTerminated", async () => {
    const { run, terminate } = await open();
    const ClientToken = randomBytes(12).toString("hex");
    await terminate(idsOf(await run({ ClientToken })));
    expect(await errorOf(run({ ClientToken }))).toBe("400 IdempotentInstanceTerminated");
  });

  test("a client token launches again in another zone", async () => {
    const { ec2, run, terminate } = await open();
    const { Subnets = [] } = await ec2.send(new DescribeSubnetsCommand({}));
    const [one, two] = Subnets.map(({ SubnetId }) => SubnetId);
    const ClientToken = randomBytes(12).toString("hex");
    const first = idsOf(await run({ ClientToken, SubnetId: one }));
    const second = idsOf(await run({ ClientToken, SubnetId: two }));
    expect(second).not.toEqual(first);
    await terminate([...first, ...second]);
  });
}

function describeLives(open: Open, test: Check): void {
  test("an instance is pending at first, running later, and says why it is terminated", async () => {
    const { run, list, terminate, pass } = await open();
    const [instance] = await run();
    const InstanceIds = idsOf(instance ? [instance] : []);
    const waitFor = async (state: string): Promise<Instance | undefined> => {
      for (let look = 0; look < 300; look += 1) {
        const [found] = await list({ InstanceIds });
        if (found?.State?.Name === state) return found;
        await pass(100);
      }
      return undefined;
    };
    expect(instance?.State?.Name).toBe("pending");
    expect(await waitFor("running")).toBeDefined();
    await terminate(InstanceIds);
    expect((await waitFor("terminated"))?.StateReason?.Code).toBe("Client.UserInitiatedShutdown");
  });

  test("the answer to RunInstances is still pending when it is listed at once", async () => {
    const { run, list, terminate } = await open();
    const InstanceIds = idsOf(await run());
    const [listed] = await list({ InstanceIds });
    await terminate(InstanceIds);
    expect(listed?.State?.Name).toBe("pending");
  });
}

function describeLists(open: Open, test: Check): void {
  test("instances of one call have launch indexes and the tags they were launched with", async () => {
    const { run, list, terminate } = await open();
    const group = randomBytes(8).toString("hex");
    const Tags = [{ Key: "group", Value: group }];
    const TagSpecifications = [{ ResourceType: "instance" as const, Tags }];
    const ids = idsOf(await run({ MinCount: 3, MaxCount: 3, TagSpecifications }));
    const found = await list({ Filters: [{ Name: "tag:group", Values: [group] }] });
    expect(found.map(({ AmiLaunchIndex }) => AmiLaunchIndex).toSorted()).toEqual([0, 1, 2]);
    expect(idsOf(found).toSorted()).toEqual(ids.toSorted());
    await terminate(ids);
  });

  test("DescribeInstances comes in pages of MaxResults", async () => {
    const { ec2, run, terminate } = await open();
    const group = randomBytes(8).toString("hex");
    const Tags = [{ Key: "group", Value: group }];
    const TagSpecifications = [{ ResourceType: "instance" as const, Tags }];
    const ids: string[] = [];
    // MaxResults is at least 5, and a page does not cut through a reservation.
    for (let call = 0; call < 2; call += 1) {
      ids.push(...idsOf(await run({ MinCount: 4, MaxCount: 4, TagSpecifications })));
    }
    const Filters = [{ Name: "tag:group", Values: [group] }];
    const first = await ec2.send(new DescribeInstancesCommand({ Filters, MaxResults: 5 }));
    const { NextToken } = first;
    const rest = NextToken
      ? await ec2.send(new DescribeInstancesCommand({ Filters, MaxResults: 5, NextToken }))
      : undefined;
    await terminate(ids);
    const counts = [first, rest].map((page) =>
      (page?.Reservations ?? []).reduce((sum, { Instances = [] }) => sum + Instances.length, 0),
    );
    expect(counts[0]).toBeLessThan(8);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(8);
  });

  test("tags are added to an instance, and found by", async () => {
    const { ec2, run, list, terminate } = await open();
    const Resources = idsOf(await run());
    const Value = randomBytes(8).toString("hex");
    await ec2.send(new CreateTagsCommand({ Resources, Tags: [{ Key: "later", Value }] }));
    expect(idsOf(await list({ Filters: [{ Name: "tag:later", Values: [Value] }] }))).toEqual(
      Resources,
    );
    await terminate(Resources);
  });

  test("an id that there is not is InvalidInstanceID.NotFound", async () => {
    const { list } = await open();
    expect(await errorOf(list({ InstanceIds: [NO_INSTANCE] }))).toBe(
      "400 InvalidInstanceID.NotFound",
    );
  });
}

function describeCatalog(open: Open, test: Check): void {
  test("types are described with their processors and memory, and offered by zone", async () => {
    const { ec2 } = await open();
    const InstanceTypes = [TYPE as "m5.large"];
    const types = await ec2.send(new DescribeInstanceTypesCommand({ InstanceTypes }));
    expect(types.InstanceTypes).toMatchObject([
      { InstanceType: TYPE, VCpuInfo: { DefaultVCpus: 2 }, MemoryInfo: { SizeInMiB: 8192 } },
    ]);
    const offerings = await ec2.send(
      new DescribeInstanceTypeOfferingsCommand({
        LocationType: "availability-zone",
        Filters: [{ Name: "instance-type", Values: [TYPE] }],
      }),
    );
    expect(offerings.InstanceTypeOfferings?.[0]?.Location).toMatch(/^us-east-1[a-f]$/);
  });

  test("the image that Parameter Store names is described with its root device", async () => {
    const { ec2, image } = await open();
    const { Images } = await ec2.send(new DescribeImagesCommand({ ImageIds: [image] }));
    expect(Images).toMatchObject([{ ImageId: image, RootDeviceName: "/dev/xvda" }]);
  });

  test("a parameter that there is not is ParameterNotFound", async () => {
    const { ssm } = await open();
    const read = ssm.send(new GetParameterCommand({ Name: "/there/is/none" }));
    expect(await errorOf(read)).toBe("400 ParameterNotFound");
  });
}
