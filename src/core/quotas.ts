/**
 * vCPU quotas of an account: EC2 counts running on-demand vCPUs by groups of families, each with a limit of its own.
 * What is known of them holds jobs back before EC2 refuses; what is not known, EC2 says.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html
 */
import type { Offer } from "./offers.ts";

export const QUOTA_GROUPS = [
  "standard",
  "gAndVt",
  "p",
  "f",
  "x",
  "inf",
  "trn",
  "dl",
  "highMemory",
  "hpc",
] as const;
export type QuotaGroup = (typeof QUOTA_GROUPS)[number];

/** vCPUs by group; a group that is not in it has no limit that we know of. */
export type Quotas = Readonly<Partial<Record<QuotaGroup, number | undefined>>>;

/** As AWS names them. */
export const QUOTA_TITLES: Readonly<Record<QuotaGroup, string>> = {
  standard: "Standard (A, C, D, H, I, M, R, T, Z)",
  gAndVt: "G and VT",
  p: "P",
  f: "F",
  x: "X",
  inf: "Inf",
  trn: "Trn",
  dl: "DL",
  highMemory: "High Memory",
  hpc: "HPC",
};

/** By the letters before the first digit. */
const NAMED: Readonly<Record<string, QuotaGroup>> = {
  ...{ hpc: "hpc", dl: "dl", inf: "inf", trn: "trn", vt: "gAndVt" },
  ...{ g: "gAndVt", gr: "gAndVt", p: "p", f: "f", x: "x" },
};

/** Undefined for a family that no group is known for. The longer prefixes first: `hpc` is not `h`, `dl` not `d`. */
export function quotaGroupOf(instanceType: string): QuotaGroup | undefined {
  const letters = /^(u-|[a-z]+)/.exec(instanceType)?.[0] ?? "";
  // u-6tb1 and u7i-12tb.
  if (letters === "u-" || letters === "u") return "highMemory";
  if (letters in NAMED) return NAMED[letters];
  // im4gn, is4gen.
  return /^(a|c|d|h|i|im|is|m|r|t|z)$/.test(letters) ? "standard" : undefined;
}

/** vCPUs in use, by group. */
export type VcpusInUse = Readonly<Partial<Record<QuotaGroup, number>>>;

type Sized = Pick<Offer, "instanceType" | "vcpus">;

export function withVcpus(inUse: VcpusInUse, machines: readonly Sized[]): VcpusInUse {
  const next: Partial<Record<QuotaGroup, number>> = { ...inUse };
  for (const { instanceType, vcpus } of machines) {
    const group = quotaGroupOf(instanceType);
    if (group !== undefined) next[group] = (next[group] ?? 0) + vcpus;
  }
  return next;
}

/** True where no waiting helps: the machine alone is larger than its quota. */
export function exceedsQuota(offer: Sized, quotas: Quotas): boolean {
  const group = quotaGroupOf(offer.instanceType);
  const max = group && quotas[group];
  return max !== undefined && offer.vcpus > max;
}

/** Why a machine does not fit beside those in use, as "48 of 64 vCPUs of G and VT in use"; undefined when it does. */
export function quotaHold(offer: Sized, quotas: Quotas, inUse: VcpusInUse): string | undefined {
  const group = quotaGroupOf(offer.instanceType);
  const max = group && quotas[group];
  if (group === undefined || max === undefined) return undefined;
  const used = inUse[group] ?? 0;
  if (used + offer.vcpus <= max) return undefined;
  return `${used} of ${max} vCPUs of ${QUOTA_TITLES[group]} in use, ${offer.instanceType} needs ${offer.vcpus}`;
}

/** "trn1.32xlarge needs 128 vCPUs, the quota of Trn is 8". */
export function describeExcess(offer: Sized, quotas: Quotas): string {
  const group = quotaGroupOf(offer.instanceType);
  const told = group
    ? `the quota of ${QUOTA_TITLES[group]} is ${quotas[group]}`
    : "no quota is known";
  return `${offer.instanceType} needs ${offer.vcpus} vCPUs, ${told}`;
}
