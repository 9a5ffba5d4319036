/** EC2, SSM and quotas as a test says, behind the production adapter: for what nothing real can be made to answer. */
import {
  DescribeImagesCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeSubnetsCommand,
  EC2Client,
} from "@aws-sdk/client-ec2";
import { ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import { GetParametersCommand, SSMClient } from "@aws-sdk/client-ssm";
import { mockClient } from "aws-sdk-client-mock";
import { createCloud } from "../../src/aws/cloud.ts";

type WorldOptions = {
  readonly images?: Record<string, string>;
  readonly offerings?: Error;
  readonly subnets?: readonly { readonly subnetId: string; readonly zone?: string }[];
  readonly live?: Parameters<typeof createCloud>[1]["live"];
  readonly ignoresNamedImages?: boolean;
};

/** A cloud whose clients answer what the test says; the catalog's answers are there already. */
export function makeWorld({
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
