/** Instance types: what the local cloud is told of them, and DescribeInstanceTypes and DescribeInstanceTypeOfferings. */
import { z } from "zod";
import { filters, integer, list, parseForm, text } from "./ec2-form.ts";
import { applyFilters, takePage } from "./ec2-pages.ts";
import { REGION, SUBNETS } from "./ec2-world.ts";
import { items, type Xml } from "./ec2-xml.ts";
import { ApiError } from "./http.ts";

/** A type as DescribeInstanceTypes tells of it. Memory is MiB; absent accelerators are none. */
export type InstanceTypeData = {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  /** SupportedArchitectures, as "x86_64" or "arm64"; AWS has lists such as i386 and x86_64. */
  readonly architectures: readonly string[];
  /** Absent for bare metal. */
  readonly hypervisor?: "nitro" | "xen";
  readonly isBareMetal: boolean;
  readonly isBurstable: boolean;
  /** True by default: AWS's own answers are of little use (false for m6i, true for t2). */
  readonly isCurrentGeneration?: boolean;
  readonly gpus?: readonly AcceleratorData[];
  readonly fpgas?: readonly AcceleratorData[];
  readonly inferenceAccelerators?: readonly AcceleratorData[];
  readonly neuronDevices?: readonly AcceleratorData[];
  readonly mediaAccelerators?: readonly AcceleratorData[];
  /** Zones that offer it; absent for all. */
  readonly zones?: readonly string[];
};

export type AcceleratorData = {
  readonly count: number;
  readonly name: string;
  readonly manufacturer?: string;
  /** Of each. */
  readonly memoryMib?: number;
};

export const zonesOf = (type: InstanceTypeData): readonly string[] =>
  type.zones ?? SUBNETS.map(({ zone }) => zone);

/** The shape of parameters that the two operations share. */
const describeTypes = z.strictObject({
  InstanceType: list(text).optional(),
  Filter: filters.optional(),
  MaxResults: integer.optional(),
  NextToken: text.optional(),
});

const typeFilters: Readonly<Record<string, (type: InstanceTypeData) => readonly string[]>> = {
  "instance-type": ({ name }) => [name],
  "current-generation": ({ isCurrentGeneration = true }) => [String(isCurrentGeneration)],
  "bare-metal": ({ isBareMetal }) => [String(isBareMetal)],
  hypervisor: ({ hypervisor }) => (hypervisor ? [hypervisor] : []),
  "burstable-performance-supported": ({ isBurstable }) => [String(isBurstable)],
  "processor-info.supported-architecture": ({ architectures }) => architectures,
  "supported-usage-class": () => ["on-demand"],
  "vcpu-info.default-vcpus": ({ vcpus }) => [String(vcpus)],
  "memory-info.size-in-mib": ({ memoryMib }) => [String(memoryMib)],
};

/** `types` are sorted by name. */
export function describeInstanceTypes(
  types: readonly InstanceTypeData[],
  form: URLSearchParams,
): Xml {
  const input = parseForm(describeTypes, form);
  const named = input.InstanceType === undefined ? types : pickTypes(types, input.InstanceType);
  const matching = applyFilters(
    named,
    input.Filter ?? [],
    (name) => Object.hasOwn(typeFilters, name),
    (type, name) => typeFilters[name]?.(type),
  );
  const { page, nextToken } = takePage(matching, input, { least: 5, most: 100 }, nameOf);
  return { instanceTypeSet: items(page.map(renderType)), nextToken };
}

const nameOf = ({ name }: InstanceTypeData): string => name;

function pickTypes(
  types: readonly InstanceTypeData[],
  names: readonly string[],
): readonly InstanceTypeData[] {
  const known = new Set(types.map(nameOf));
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    const message = `The following supplied instance types do not exist: [${unknown.join(", ")}]`;
    throw new ApiError(400, "InvalidInstanceType", message);
  }
  return types.filter(({ name }) => names.includes(name));
}

function renderType(type: InstanceTypeData): Xml {
  return {
    instanceType: type.name,
    currentGeneration: type.isCurrentGeneration ?? true,
    freeTierEligible: false,
    supportedUsageClasses: items(["on-demand"]),
    supportedRootDeviceTypes: items(["ebs"]),
    supportedVirtualizationTypes: items(["hvm"]),
    bareMetal: type.isBareMetal,
    hypervisor: type.hypervisor,
    processorInfo: { supportedArchitectures: items(type.architectures) },
    vCpuInfo: { defaultVCpus: type.vcpus },
    memoryInfo: { sizeInMiB: type.memoryMib },
    instanceStorageSupported: false,
    gpuInfo: renderGpus(type.gpus),
    fpgaInfo: renderAccelerators("fpgas", type.fpgas),
    inferenceAcceleratorInfo: type.inferenceAccelerators && {
      accelerators: { member: type.inferenceAccelerators.map(renderAccelerator) },
    },
    neuronInfo: renderAccelerators("neuronDevices", type.neuronDevices),
    mediaAcceleratorInfo: renderAccelerators("accelerators", type.mediaAccelerators),
    burstablePerformanceSupported: type.isBurstable,
    dedicatedHostsSupported: false,
    autoRecoverySupported: true,
  };
}

function renderGpus(gpus: readonly AcceleratorData[] | undefined): Xml | undefined {
  if (gpus === undefined) return undefined;
  const totalGpuMemoryInMiB = gpus.reduce(
    (total, { count, memoryMib = 0 }) => total + count * memoryMib,
    0,
  );
  return { gpus: items(gpus.map(renderAccelerator)), totalGpuMemoryInMiB };
}

const renderAccelerators = (listName: string, devices: readonly AcceleratorData[] | undefined) =>
  devices && { [listName]: items(devices.map(renderAccelerator)) };

const renderAccelerator = ({ count, name, manufacturer, memoryMib }: AcceleratorData): Xml => ({
  count,
  name,
  manufacturer,
  memoryInfo: memoryMib === undefined ? undefined : { sizeInMiB: memoryMib },
});

const describeOfferings = z.strictObject({
  LocationType: z.enum(["region", "availability-zone"]).optional(),
  Filter: filters.optional(),
  MaxResults: integer.optional(),
  NextToken: text.optional(),
});

type Offering = { readonly instanceType: string; readonly location: string };

/** `types` are sorted by name. */
export function describeInstanceTypeOfferings(
  types: readonly InstanceTypeData[],
  form: URLSearchParams,
): Xml {
  const input = parseForm(describeOfferings, form);
  const locationType = input.LocationType ?? "region";
  const offerings = types.flatMap((type) =>
    (locationType === "region" ? [REGION] : zonesOf(type)).map(
      (location): Offering => ({ instanceType: type.name, location }),
    ),
  );
  const matching = applyFilters(
    offerings,
    input.Filter ?? [],
    (name) => name === "instance-type" || name === "location",
    (offering, name) => [name === "location" ? offering.location : offering.instanceType],
  );
  const sorted = matching.toSorted((left, right) =>
    offeringKey(left) < offeringKey(right) ? -1 : 1,
  );
  const { page, nextToken } = takePage(sorted, input, { least: 5, most: 1_000 }, offeringKey);
  const instanceTypeOfferingSet = items(page.map((offering) => ({ ...offering, locationType })));
  return { instanceTypeOfferingSet, nextToken };
}

const offeringKey = ({ instanceType, location }: Offering): string => `${instanceType} ${location}`;
