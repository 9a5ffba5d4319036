/**
 * How many instances a launch may have: capacity by zone and type, and quotas of vCPUs by family. Both are without limit
 * unless a rule of faults says otherwise.
 */
import type { QUOTA_FAMILIES, RuleOf } from "./fault-rules.ts";
import type { Faults } from "./faults.ts";
import { ApiError } from "./http.ts";
import type { Placed } from "./instances-store.ts";
import { matchesWildcard } from "./wildcards.ts";

export type QuotaFamily = (typeof QUOTA_FAMILIES)[number];

/** Families of "Running On-Demand … instances" in Service Quotas; those that have a quota of their own are `other` here. */
export function quotaFamilyOf(instanceType: string): QuotaFamily {
  const family = /^[a-z]+/.exec(instanceType)?.[0] ?? "";
  if (/^(g|gr|vt)$/.test(family)) return "g-vt";
  if (family === "p") return "p";
  if (/^(dl|hpc|inf|trn|u|x|f|mac)$/.test(family)) return "other";
  return "standard";
}

export type WantedLaunch = {
  readonly instanceType: string;
  readonly zone: string;
  /** Of one instance. */
  readonly vcpus: number;
  readonly countMin: number;
  readonly countMax: number;
};

export type LaunchLimitsOptions = {
  readonly faults: Faults;
  readonly listPlaced: () => readonly Placed[];
  readonly vcpusOf: (instanceType: string) => number;
  readonly now: () => number;
};

/** Returns how many are to be launched, from the least to the most asked for. Throws ApiError when there is no room for the least. */
export type LimitLaunch = (wanted: WantedLaunch) => number;

export function createLaunchLimits({ faults, ...options }: LaunchLimitsOptions): LimitLaunch {
  return (wanted) => {
    const capacity = (rule: RuleOf<"no-capacity">): number =>
      rule.room - countLiving(options.listPlaced(), rule);
    const noCapacity = faults.fire(
      "no-capacity",
      (rule) => isCovered(rule, wanted) && capacity(rule) < wanted.countMax,
    );
    const room = noCapacity ? capacity(noCapacity) : wanted.countMax;
    if (room < wanted.countMin) throw insufficientCapacity(wanted);
    const family = quotaFamilyOf(wanted.instanceType);
    const free = (rule: RuleOf<"quota">): number =>
      Math.floor((rule.vcpus - countVcpus(rule, options)) / wanted.vcpus);
    const quota = faults.fire(
      "quota",
      (rule) => rule.family === family && free(rule) < wanted.countMax,
    );
    const allowed = quota ? free(quota) : wanted.countMax;
    if (quota && allowed < wanted.countMin) throw overQuota(quota);
    return Math.min(room, allowed);
  };
}

type Place = { readonly instanceType: string; readonly zone: string };

const isCovered = (rule: RuleOf<"no-capacity">, { instanceType, zone }: Place): boolean =>
  matchesWildcard(instanceType, rule.type) && matchesWildcard(zone, rule.zone);

const isLiving = ({ instance }: Placed): boolean =>
  instance.state === "pending" || instance.state === "running";

const countLiving = (placed: readonly Placed[], rule: RuleOf<"no-capacity">): number =>
  placed.filter((each) => isLiving(each) && isCovered(rule, each.reservation)).length;

/** What has ended counts until `releaseMs` after that, as EC2 is late to notice. */
function countVcpus(
  { family, releaseMs }: RuleOf<"quota">,
  { listPlaced, vcpusOf, now }: Omit<LaunchLimitsOptions, "faults">,
): number {
  const isCounted = (placed: Placed): boolean => {
    const { state, terminatedAt } = placed.instance;
    if (isLiving(placed)) return true;
    if (releaseMs === 0) return false;
    return state === "shutting-down" || (terminatedAt ?? 0) + releaseMs > now();
  };
  return listPlaced()
    .filter(({ reservation }) => quotaFamilyOf(reservation.instanceType) === family)
    .filter(isCounted)
    .reduce((total, { reservation }) => total + vcpusOf(reservation.instanceType), 0);
}

function insufficientCapacity({ instanceType, zone }: WantedLaunch): ApiError {
  const message = `We currently do not have sufficient ${instanceType} capacity in the Availability Zone you requested (${zone}). Our system will be working on provisioning additional capacity.`;
  return new ApiError(500, "InsufficientInstanceCapacity", message);
}

function overQuota({ vcpus }: RuleOf<"quota">): ApiError {
  const message = `You have requested more vCPU capacity than your current vCPU limit of ${vcpus} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.`;
  return new ApiError(400, "VcpuLimitExceeded", message);
}
