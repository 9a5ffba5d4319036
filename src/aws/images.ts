/** The machine images that jobs run on: the operator's own, or else the newest public ones of AWS. */
import { DescribeImagesCommand, type EC2Client, type Image as Ec2Image } from "@aws-sdk/client-ec2";
import { GetParametersCommand, type SSMClient } from "@aws-sdk/client-ssm";
import type { Image } from "../core/offers.ts";
import { CloudError } from "../errors.ts";
import { callAws } from "./error-codes.ts";

/** Image ids of the operator, under their names in the configuration. */
export type ImageIds = { readonly [Name in ImageKind["name"]]?: string | undefined };

type ImageKind = Pick<Image, "arch" | "hasGpuDriver"> & {
  readonly name: "cpu" | "gpu" | "armCpu" | "armGpu";
  /** The public parameter that holds the id of the newest one. */
  readonly parameter: string;
};

const amazonLinux = (arch: Image["arch"]): string =>
  `/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${arch}`;
const deepLearning = (arch: Image["arch"]): string =>
  `/aws/service/deeplearning/ami/${arch}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id`;

const KINDS: readonly ImageKind[] = [
  { name: "cpu", arch: "x86_64", hasGpuDriver: false, parameter: amazonLinux("x86_64") },
  { name: "gpu", arch: "x86_64", hasGpuDriver: true, parameter: deepLearning("x86_64") },
  { name: "armCpu", arch: "arm64", hasGpuDriver: false, parameter: amazonLinux("arm64") },
  { name: "armGpu", arch: "arm64", hasGpuDriver: true, parameter: deepLearning("arm64") },
];

/** A kind that the region has no public image of is left out. Throws CloudError. */
export async function readImages(
  { ec2, ssm }: { readonly ec2: EC2Client; readonly ssm: SSMClient },
  configured: ImageIds,
): Promise<readonly Image[]> {
  const published = await readPublished(
    ssm,
    KINDS.filter(({ name }) => configured[name] === undefined),
  );
  const chosen = KINDS.flatMap((kind) => {
    const imageId = configured[kind.name] ?? published.get(kind.parameter);
    return imageId === undefined ? [] : [{ kind, imageId }];
  });
  const described = await describeImages(ec2, [...new Set(chosen.map(({ imageId }) => imageId))]);
  return chosen.map(({ kind, imageId }) => toImage(kind, imageId, described));
}

/** Images that jobs name by their ids. One that does not exist, or may not be seen, is left out. Throws CloudError. */
export async function readNamedImages(
  ec2: EC2Client,
  imageIds: readonly string[],
): Promise<readonly Image[]> {
  // Asked for by a filter, as a list of ids is refused for one that does not exist.
  const { Images = [] } = await callAws("reading images", () =>
    ec2.send(new DescribeImagesCommand({ Filters: [{ Name: "image-id", Values: [...imageIds] }] })),
  );
  return Images.flatMap((image) => {
    const { ImageId: imageId = "", Architecture: arch } = image;
    if (arch !== "x86_64" && arch !== "arm64") return [];
    return [{ arch, hasGpuDriver: false, imageId, namedAs: imageId, ...rootOf(image) }];
  });
}

async function readPublished(
  ssm: SSMClient,
  kinds: readonly ImageKind[],
): Promise<ReadonlyMap<string, string>> {
  if (kinds.length === 0) return new Map();
  const Names = kinds.map(({ parameter }) => parameter);
  const { Parameters = [] } = await callAws("reading image ids", () =>
    ssm.send(new GetParametersCommand({ Names })),
  );
  return new Map(Parameters.map(({ Name = "", Value = "" }) => [Name, Value]));
}

async function describeImages(
  ec2: EC2Client,
  ImageIds: string[],
): Promise<ReadonlyMap<string, Ec2Image>> {
  if (ImageIds.length === 0) return new Map();
  const { Images = [] } = await callAws("reading images", () =>
    ec2.send(new DescribeImagesCommand({ ImageIds })),
  );
  return new Map(Images.map((image) => [image.ImageId ?? "", image]));
}

function toImage(
  { name, arch, hasGpuDriver }: ImageKind,
  imageId: string,
  described: ReadonlyMap<string, Ec2Image>,
): Image {
  const image = described.get(imageId);
  if (!image)
    throw new CloudError("refused", `reading images: ${imageId} (${name}) does not exist`);
  if (image.Architecture !== arch) {
    throw new CloudError(
      "refused",
      `reading images: ${imageId} is ${image.Architecture}, but images.${name} has to be ${arch}`,
    );
  }
  return { arch, hasGpuDriver, imageId, ...rootOf(image) };
}

/** Amazon's own images say where their root is; it differs between distributions. */
function rootOf(image: Ec2Image): Pick<Image, "rootDeviceName" | "diskGib"> {
  const { RootDeviceName: rootDeviceName = "/dev/xvda", BlockDeviceMappings = [] } = image;
  const root = BlockDeviceMappings.find(({ DeviceName }) => DeviceName === rootDeviceName);
  const diskGib = root?.Ebs?.VolumeSize;
  return { rootDeviceName, ...(diskGib !== undefined && { diskGib }) };
}
