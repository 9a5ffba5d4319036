/** The catalog: where machines may stand, from which images, of which types and at which prices. */
import { DescribeImagesCommand, DescribeSubnetsCommand } from "@aws-sdk/client-ec2";
import { expect, test } from "vitest";
import { makeType } from "../../support/make.ts";
import { makeWorld } from "../../support/mocked-cloud.ts";

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
