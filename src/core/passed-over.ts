/** Why a choice is not cheaper: the types that cost less than the one chosen, by what speaks against them. */
import type { Catalog, Offer, PricedType } from "./offers.ts";
import { kindsOf, minimumsOf, missesOf, type Requirement } from "./requirements.ts";
import type { Resources } from "./workflow.ts";

export type PassedOver = {
  /** Of the types that one thing speaks against first, the one that comes nearest to what is asked for. */
  readonly instanceType: string;
  readonly hourlyUsd: number;
  /** All that speaks against it: "burstable", "8 GiB of memory, 32 GB asked for". */
  readonly reasons: readonly string[];
  /** How many more are passed over for the first of these. */
  readonly others: number;
};

type Considered = {
  readonly type: PricedType;
  readonly hourlyUsd: number;
  readonly missed: readonly Requirement[];
};

/** By kind of reason. Empty where a type is pinned: nothing else was considered. */
export function listPassedOver(
  resources: Resources,
  catalog: Catalog,
  chosen: Pick<Offer, "hourlyUsd">,
): readonly PassedOver[] {
  if (resources.instanceType !== undefined) return [];
  const kinds = kindsOf(resources);
  const requirements = [...kinds, ...minimumsOf(resources, catalog.places)];
  const groups = new Map<Requirement | undefined, Considered[]>();
  for (const type of catalog.types) {
    const { hourlyUsd } = type;
    if (hourlyUsd === undefined || hourlyUsd >= chosen.hourlyUsd) continue;
    const missed = missesOf(type, requirements);
    const group = groups.get(missed[0]) ?? [];
    group.push({ type, hourlyUsd, missed });
    groups.set(missed[0], group);
  }
  return [undefined, ...requirements].flatMap((first) => {
    const [nearest, ...others] = (groups.get(first) ?? []).sort(compareNearness);
    if (!nearest) return [];
    const { type, hourlyUsd, missed } = nearest;
    // The size of a machine of the wrong kind does not matter any more.
    const told = first && kinds.includes(first) ? [first] : missed;
    const reasons = told.map((each) => each.describe(type));
    if (!first) reasons.push("an older generation for nearly the same price");
    return [{ instanceType: type.name, hourlyUsd, reasons, others: others.length }];
  });
}

/** What misses least, then what costs most: a tiny machine says little about why a large one was needed. */
function compareNearness(a: Considered, b: Considered): number {
  const shortfall = ({ type, missed }: Considered) =>
    missed.reduce((sum, each) => sum + each.shortfall(type), 0);
  return (
    a.missed.length - b.missed.length ||
    shortfall(a) - shortfall(b) ||
    b.hourlyUsd - a.hourlyUsd ||
    (a.type.name < b.type.name ? -1 : 1)
  );
}
