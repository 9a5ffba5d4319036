/** The one account and region of the local cloud, and what stands in it from the first day. */

export const ACCOUNT_ID = "000000000000";
export const REGION = "us-east-1";
export const VPC_ID = "vpc-0e44a2d0000000001";

export type Subnet = {
  readonly id: string;
  readonly zone: string;
  readonly zoneId: string;
  /** The first three bytes of its addresses. */
  readonly network: string;
};

const makeSubnet = (letter: string, index: number): Subnet => ({
  id: `subnet-0e44a2d000000000${letter}`,
  zone: `${REGION}${letter}`,
  zoneId: `use1-az${index + 1}`,
  network: `10.0.${index}`,
});

export const SUBNETS: readonly Subnet[] = ["a", "b", "c"].map(makeSubnet);

export const SECURITY_GROUP = { id: "sg-0e44a2d0000000001", name: "errand" } as const;

/** The instance profile and the role in it have one name, as the CLI's set-up makes them. */
export const INSTANCE_PROFILE = {
  name: "errand-instance",
  arn: `arn:aws:iam::${ACCOUNT_ID}:instance-profile/errand-instance`,
  id: "AIPALOCALERRAND000001",
} as const;

export type MachineImage = {
  readonly id: string;
  readonly name: string;
  readonly architecture: "x86_64" | "arm64";
  readonly rootDeviceName: string;
  readonly snapshotId: string;
  /** A root volume may not be smaller. */
  readonly diskGib: number;
  /** The public parameter of SSM that names it. */
  readonly parameter: string;
};

const makeImages = (architecture: "x86_64" | "arm64", digit: number): readonly MachineImage[] => [
  {
    id: `ami-0a1202300000000${digit}0`,
    name: `al2023-ami-local-kernel-default-${architecture}`,
    architecture,
    rootDeviceName: "/dev/xvda",
    snapshotId: `snap-0a1202300000000${digit}0`,
    diskGib: 8,
    parameter: `/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${architecture}`,
  },
  {
    id: `ami-0d1202300000000${digit}0`,
    name: `Deep Learning Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) local ${architecture}`,
    architecture,
    rootDeviceName: "/dev/xvda",
    snapshotId: `snap-0d1202300000000${digit}0`,
    diskGib: 45,
    parameter: `/aws/service/deeplearning/ami/${architecture}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id`,
  },
];

export const IMAGES: readonly MachineImage[] = [
  ...makeImages("x86_64", 1),
  ...makeImages("arm64", 2),
];
