/** What the local cloud sells: the shipped snapshot, as its DescribeInstanceTypes tells of it. */
import { readSnapshot } from "../aws/snapshot.ts";
import type { InstanceType } from "../core/offers.ts";
import type { InstanceTypeData } from "../local/ec2-instance-types.ts";
import { REGION } from "../local/ec2-world.ts";

export async function readLocalTypes(): Promise<InstanceTypeData[]> {
  const { types, offerings } = await readSnapshot();
  const offered = offerings.get(REGION);
  return types.filter((type) => offered?.has(type.name) ?? true).map(toData);
}

function toData(type: InstanceType): InstanceTypeData {
  const { name, vcpus, memoryMib, isBareMetal, isBurstable } = type;
  return {
    name,
    vcpus,
    memoryMib,
    architectures: [type.arch === "other" ? "x86_64_mac" : type.arch],
    isBareMetal,
    isBurstable,
    ...(isBareMetal ? {} : { hypervisor: type.isNitro ? "nitro" : "xen" }),
    ...(type.gpu ? { gpus: [type.gpu] } : {}),
    // The snapshot says that there is one, and not which.
    ...(type.hasOtherAccelerator ? { neuronDevices: [{ count: 1, name: "accelerator" }] } : {}),
  };
}
