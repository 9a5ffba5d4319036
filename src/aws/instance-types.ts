/** DescribeInstanceTypes and DescribeInstanceTypeOfferings, as the types of core/. */
import {
  type EC2Client,
  type InstanceTypeInfo,
  paginateDescribeInstanceTypeOfferings,
  paginateDescribeInstanceTypes,
} from "@aws-sdk/client-ec2";
import type { InstanceType } from "../core/offers.ts";
import { callAws } from "./error-codes.ts";

/** Every type the endpoint's region has, sorted by name. Throws CloudError. */
export function describeInstanceTypes(ec2: EC2Client): Promise<readonly InstanceType[]> {
  return callAws("reading instance types", async () => {
    const types: InstanceType[] = [];
    for await (const page of paginateDescribeInstanceTypes({ client: ec2 }, {})) {
      types.push(...(page.InstanceTypes ?? []).map(toInstanceType));
    }
    return types.sort((a, b) => (a.name < b.name ? -1 : 1));
  });
}

/** Type names by location: the names of the region, or of each of its zones. Throws CloudError. */
export function describeOfferings(
  ec2: EC2Client,
  locationType: "region" | "availability-zone",
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  return callAws("reading instance type offerings", async () => {
    const byLocation = new Map<string, Set<string>>();
    const pages = paginateDescribeInstanceTypeOfferings(
      { client: ec2 },
      { LocationType: locationType, MaxResults: 1_000 },
    );
    for await (const page of pages) {
      for (const { InstanceType: name, Location: location } of page.InstanceTypeOfferings ?? []) {
        if (!name || !location) continue;
        const names = byLocation.get(location) ?? new Set();
        byLocation.set(location, names.add(name));
      }
    }
    return byLocation;
  });
}

export function toInstanceType(info: InstanceTypeInfo): InstanceType {
  const gpu = info.GpuInfo?.Gpus?.[0];
  return {
    name: info.InstanceType ?? "",
    vcpus: info.VCpuInfo?.DefaultVCpus ?? 0,
    memoryMib: info.MemoryInfo?.SizeInMiB ?? 0,
    arch: archOf(info.ProcessorInfo?.SupportedArchitectures ?? []),
    isNitro: info.Hypervisor === "nitro",
    isBareMetal: info.BareMetal ?? false,
    isBurstable: info.BurstablePerformanceSupported ?? false,
    ...(gpu && {
      gpu: {
        count: gpu.Count ?? 0,
        name: gpu.Name ?? "",
        manufacturer: gpu.Manufacturer ?? "",
        memoryMib: gpu.MemoryInfo?.SizeInMiB ?? 0,
      },
    }),
    hasOtherAccelerator: Boolean(
      info.FpgaInfo ??
        info.InferenceAcceleratorInfo ??
        info.NeuronInfo ??
        info.MediaAcceleratorInfo,
    ),
  };
}

/** Old types run i386 as well as x86_64; a Mac's x86_64_mac is another thing. */
function archOf(names: readonly string[]): InstanceType["arch"] {
  if (names.includes("x86_64")) return "x86_64";
  return names.includes("arm64") ? "arm64" : "other";
}
