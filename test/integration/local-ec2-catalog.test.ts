/** What EC2 of the local cloud sells and where, and the image names of SSM, through the AWS SDK over the wire. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DescribeAvailabilityZonesCommand,
  DescribeImagesCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeInstanceTypesCommand,
  DescribeSubnetsCommand,
} from "@aws-sdk/client-ec2";
import { GetParameterCommand, GetParametersCommand } from "@aws-sdk/client-ssm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalEc2, startLocalEc2, TEST_TYPES } from "../support/local-ec2.ts";

let folder: string;
let cloud: LocalEc2;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-ec2-"));
  cloud = await startLocalEc2({ folder });
});

afterAll(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

describe("what EC2 sells", () => {
  it("tells of a type all that was put in", async () => {
    const { InstanceTypes = [] } = await cloud.ec2.send(
      new DescribeInstanceTypesCommand({
        InstanceTypes: ["g5.xlarge", "inf1.xlarge", "f1.2xlarge"],
      }),
    );
    expect(InstanceTypes).toMatchObject([
      { InstanceType: "f1.2xlarge", FpgaInfo: { Fpgas: [{ Count: 1, Manufacturer: "Xilinx" }] } },
      {
        InstanceType: "g5.xlarge",
        CurrentGeneration: true,
        BareMetal: false,
        Hypervisor: "nitro",
        BurstablePerformanceSupported: false,
        ProcessorInfo: { SupportedArchitectures: ["x86_64"] },
        VCpuInfo: { DefaultVCpus: 4 },
        MemoryInfo: { SizeInMiB: 16384 },
        GpuInfo: {
          Gpus: [
            { Name: "A10G", Manufacturer: "NVIDIA", Count: 1, MemoryInfo: { SizeInMiB: 22888 } },
          ],
        },
      },
      {
        InstanceType: "inf1.xlarge",
        InferenceAcceleratorInfo: { Accelerators: [{ Count: 1, Name: "Inferentia" }] },
        NeuronInfo: { NeuronDevices: [{ Count: 1, Name: "Inferentia" }] },
      },
    ]);
  });

  it("lists every type once over pages", async () => {
    const first = await cloud.ec2.send(new DescribeInstanceTypesCommand({ MaxResults: 5 }));
    const second = await cloud.ec2.send(
      new DescribeInstanceTypesCommand({ MaxResults: 5, NextToken: first.NextToken }),
    );
    const names = [first, second].flatMap(({ InstanceTypes = [] }) =>
      InstanceTypes.map(({ InstanceType }) => InstanceType),
    );
    expect(names).toEqual(TEST_TYPES.map(({ name }) => name).toSorted());
    expect(second.NextToken).toBeUndefined();
  });

  it("refuses a type that does not exist", async () => {
    const command = new DescribeInstanceTypesCommand({ InstanceTypes: ["z9.large" as never] });
    await expect(cloud.ec2.send(command)).rejects.toMatchObject({ name: "InvalidInstanceType" });
  });

  it("offers a type where it is offered", async () => {
    const offerings = await cloud.ec2.send(
      new DescribeInstanceTypeOfferingsCommand({
        LocationType: "availability-zone",
        Filters: [{ Name: "instance-type", Values: ["m5.*"] }],
      }),
    );
    expect(
      offerings.InstanceTypeOfferings?.map(({ InstanceType, Location }) => [
        InstanceType,
        Location,
      ]),
    ).toEqual([
      ["m5.large", "us-east-1a"],
      ["m5.large", "us-east-1b"],
      ["m5.large", "us-east-1c"],
      ["m5.xlarge", "us-east-1a"],
    ]);
  });

  it("has one subnet in each zone, and images that SSM names", async () => {
    const { Subnets = [] } = await cloud.ec2.send(new DescribeSubnetsCommand({}));
    const { AvailabilityZones = [] } = await cloud.ec2.send(
      new DescribeAvailabilityZonesCommand({}),
    );
    expect(Subnets.map(({ AvailabilityZone }) => AvailabilityZone)).toEqual(
      AvailabilityZones.map(({ ZoneName }) => ZoneName),
    );
    const names = [
      "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
      "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
      "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id",
    ];
    const found = await cloud.ssm.send(new GetParametersCommand({ Names: [...names, "/none"] }));
    expect(found.InvalidParameters).toEqual(["/none"]);
    const ImageIds = found.Parameters?.map(({ Value = "" }) => Value) ?? [];
    const { Images = [] } = await cloud.ec2.send(new DescribeImagesCommand({ ImageIds }));
    expect(Images.map(({ Architecture, State }) => [Architecture, State])).toEqual([
      ["x86_64", "available"],
      ["x86_64", "available"],
      ["arm64", "available"],
    ]);
    expect(Images[0]).toMatchObject({
      RootDeviceName: "/dev/xvda",
      BlockDeviceMappings: [{ Ebs: { VolumeSize: 8 } }],
    });
  });

  it("says ParameterNotFound of a parameter that there is not", async () => {
    const command = new GetParameterCommand({ Name: "/none" });
    await expect(cloud.ssm.send(command)).rejects.toMatchObject({ name: "ParameterNotFound" });
  });
});
