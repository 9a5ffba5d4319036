/** What a job asks of an instance type, as a list of tests that can each say in words how a type misses it. */
import type { InstanceType, Place, PricedType } from "./offers.ts";
import type { Resources } from "./workflow.ts";

export type Requirement = {
  readonly isMet: (type: PricedType) => boolean;
  /** What a type that misses it has: "8 GiB of memory, 32 GiB asked for". */
  readonly describe: (type: PricedType) => string;
  /** The share that is missing of what was asked for, to tell near from far; 1 where there is no measure. */
  readonly shortfall: (type: PricedType) => number;
};

export const isFit = (type: PricedType, requirements: readonly Requirement[]): boolean =>
  requirements.every(({ isMet }) => isMet(type));

export const missesOf = (
  type: PricedType,
  requirements: readonly Requirement[],
): readonly Requirement[] => requirements.filter(({ isMet }) => !isMet(type));

/**
 * NVIDIA GPUs that are not shared with others. DescribeInstanceTypes counts a share of one (g6f) as 0,
 * and has Gaudi (dl1) and Radeon (g4ad) among its GPUs too.
 */
export const wholeGpus = ({ gpu }: InstanceType): number =>
  gpu?.manufacturer === "NVIDIA" ? gpu.count : 0;

/** "g4dn" of g4dn.xlarge. */
export const familyOf = ({ name }: Pick<InstanceType, "name">): string => name.split(".")[0] ?? "";

/** Without any wish for size. Memory is GiB here as in the names of instance types. */
const DEFAULT_CPU = 2;
const DEFAULT_MEMORY_BYTES = 4 * 2 ** 30;

/**
 * Families for which the NVIDIA image (Deep Learning base, open kernel driver) has a working driver,
 * by its release notes. Not p3dn (Volta is too old for the open driver), not g6f and gr6f (shares of a GPU need the
 * GRID driver), not g7.
 */
const DRIVER_FAMILIES = new Set(
  "g4dn g5 g5g g6 g6e gr6 g7e p4d p4de p5 p5e p5en p6-b200 p6-b300".split(" "),
);

/**
 * What sort of machine is asked for: a type that misses one of these is no near miss.
 * A pin says that the user knows the type: it lifts what is left out for being slow, odd or dear, but not
 * what could never work.
 */
export function kindsOf(resources: Resources): readonly Requirement[] {
  const { instanceType: pin, arch, gpu } = resources;
  const pinned = kind(
    ({ name }) => name === pin,
    () => `${pin} asked for`,
  );
  return [
    ...workableKinds(arch),
    ...(gpu ? gpuKinds : []),
    ...(pin === undefined ? ordinaryKinds(resources) : [pinned]),
  ];
}

const workableKinds = (arch: Resources["arch"]): Requirement[] => [
  kind(
    (type) => type.arch === arch,
    (type) => `${type.arch}, ${arch} asked for`,
  ),
  kind(
    (type) => type.hourlyUsd !== undefined,
    () => "has no known price",
  ),
  // It boots for longer than a machine is given to claim its order.
  kind(
    (type) => !type.isBareMetal,
    () => "bare metal",
  ),
  kind(
    (type) => type.isNitro,
    () => "not on the Nitro system",
  ),
  // A Mac runs on dedicated hosts alone. EC2 has no field for it: the name decides.
  kind(
    (type) => !type.name.startsWith("mac"),
    () => "a Mac",
  ),
];

const gpuKinds: readonly Requirement[] = [
  kind(
    (type) => wholeGpus(type) > 0,
    () => "has no whole NVIDIA GPU",
  ),
  kind(
    (type) => DRIVER_FAMILIES.has(familyOf(type)),
    (type) => `the GPU image has no driver for ${familyOf(type)}`,
  ),
];

/** What is left out of choices unless it is asked for. */
function ordinaryKinds({ gpu, burstable }: Resources): Requirement[] {
  const kinds = [
    // HPC types stand in few zones and come in one price whatever the size. EC2 has no field for it either.
    kind(
      (type) => !type.name.startsWith("hpc"),
      () => "an HPC type",
    ),
  ];
  if (!gpu) {
    kinds.push(
      kind(
        (type) => !type.gpu && !type.hasOtherAccelerator,
        () => "has an accelerator that was not asked for",
      ),
    );
  }
  if (!burstable) {
    kinds.push(
      kind(
        (type) => !type.isBurstable,
        () => "burstable",
      ),
    );
  }
  return kinds;
}

function kind(isMet: Requirement["isMet"], describe: Requirement["describe"]): Requirement {
  return { isMet, describe, shortfall: () => 1 };
}

/** How much of it is asked for: `places` are the subnets where it may stand. */
export const minimumsOf = (
  resources: Resources,
  places: readonly Place[],
): readonly Requirement[] => [
  ...(resources.gpu ? gpuRequirements(resources.gpu) : []),
  ...sizeRequirements(resources),
  ...priceRequirement(resources.maxHourlyUsd),
  placeRequirement(places),
];

function gpuRequirements(gpu: NonNullable<Resources["gpu"]>): Requirement[] {
  const { name, memoryBytes } = gpu;
  const requirements = [
    minimum(gpu.count, wholeGpus, (has) => `${plural(has, "GPU")}, ${gpu.count} asked for`),
  ];
  if (name !== undefined) {
    const asked = plainName(name);
    requirements.push({
      isMet: (type) => plainName(type.gpu?.name ?? "") === asked,
      describe: (type) => `GPU is ${type.gpu?.name}, ${name} asked for`,
      shortfall: () => 1,
    });
  }
  if (memoryBytes !== undefined) {
    requirements.push(
      minimum(
        wholeMib(memoryBytes),
        (type) => type.gpu?.memoryMib ?? 0,
        (has) => `${gib(has)} of memory in each GPU, ${bytesText(memoryBytes)} asked for`,
      ),
    );
  }
  return requirements;
}

/** "RTX PRO Server 6000" is what people write as rtx-pro-server-6000. */
const plainName = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

function sizeRequirements({ cpu, memoryBytes, instanceType }: Resources): Requirement[] {
  const isUnsaid = cpu === undefined && memoryBytes === undefined && instanceType === undefined;
  const cpuMin = isUnsaid ? DEFAULT_CPU : cpu;
  const memoryMin = isUnsaid ? DEFAULT_MEMORY_BYTES : memoryBytes;
  const requirements: Requirement[] = [];
  if (cpuMin !== undefined) {
    requirements.push(
      minimum(
        cpuMin,
        (type) => type.vcpus,
        (has) => `${plural(has, "vCPU")}, ${cpuMin} asked for`,
      ),
    );
  }
  if (memoryMin !== undefined) {
    requirements.push(
      minimum(
        wholeMib(memoryMin),
        (type) => type.memoryMib,
        (has) => `${gib(has)} of memory, ${bytesText(memoryMin)} asked for`,
      ),
    );
  }
  return requirements;
}

const minimum = (
  asked: number,
  sizeOf: (type: InstanceType) => number,
  text: (has: number) => string,
): Requirement => ({
  isMet: (type) => sizeOf(type) >= asked,
  describe: (type) => text(sizeOf(type)),
  shortfall: (type) => 1 - sizeOf(type) / asked,
});

/**
 * EC2 tells memory in whole MiB, rounded down: the 24 GB of an A10G are 22888 MiB, which is 0.2 MB
 * short of them. So what is asked for is rounded down too.
 */
const wholeMib = (bytes: number): number => Math.floor(bytes / 2 ** 20);

function priceRequirement(maxHourlyUsd: number | undefined): Requirement[] {
  if (maxHourlyUsd === undefined) return [];
  const priceOf = (type: PricedType): number => type.hourlyUsd ?? Number.POSITIVE_INFINITY;
  return [
    {
      isMet: (type) => priceOf(type) <= maxHourlyUsd,
      describe: (type) => `$${priceOf(type)} an hour, at most $${maxHourlyUsd} asked for`,
      shortfall: (type) => 1 - maxHourlyUsd / priceOf(type),
    },
  ];
}

function placeRequirement(places: readonly Place[]): Requirement {
  const zones = places.map(({ zone }) => zone);
  return {
    isMet: (type) => zones.some((zone) => type.zones?.includes(zone) ?? true),
    describe: (type) =>
      zones.length === 0
        ? "no subnet is configured"
        : `offered in ${type.zones?.join(", ") || "no zone"}, subnets are in ${zones.join(", ")}`,
    shortfall: () => 1,
  };
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

const gib = (mib: number): string => `${Number((mib / 1024).toFixed(1))} GiB`;

/** In the unit it was probably written in. */
function bytesText(bytes: number): string {
  return bytes % 1e9 === 0 ? `${bytes / 1e9} GB` : `${Number((bytes / 2 ** 30).toFixed(1))} GiB`;
}
