/** What EC2 would sell, and which of it fits a job. */
import { nearestNames } from "./near-names.ts";
import {
  familyOf,
  isFit,
  kindsOf,
  minimumsOf,
  missesOf,
  type Requirement,
  wholeGpus,
} from "./requirements.ts";
import type { Resources } from "./workflow.ts";

/** One instance type, as DescribeInstanceTypes tells of it. */
export type InstanceType = {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly arch: "x86_64" | "arm64" | "other";
  readonly isNitro: boolean;
  readonly isBareMetal: boolean;
  readonly isBurstable: boolean;
  /** GPUs as DescribeInstanceTypes names them; a share of a GPU has a count of 0. */
  readonly gpu?: {
    readonly count: number;
    readonly name: string;
    readonly manufacturer: string;
    readonly memoryMib: number;
  };
  /** FPGAs, Inferentia, Trainium, Gaudi, media accelerators: anything that is paid for and not a GPU. */
  readonly hasOtherAccelerator: boolean;
};

/** Where the daemon may launch: one configured subnet. */
export type Place = { readonly zone: string; readonly subnetId: string };

/** Everything a choice is made from. */
export type Catalog = {
  readonly region: string;
  /** Types that the region offers, each with its on-demand Linux price; a type without one is left out of choices. */
  readonly types: readonly PricedType[];
  readonly places: readonly Place[];
  readonly images: readonly Image[];
  /** Of a disk, US dollars for a GiB a month. */
  readonly diskGibMonthUsd?: number;
  /** True when the prices are list prices of another region or of another day. */
  readonly isEstimate: boolean;
  /** When prices were read, as YYYY-MM-DD. */
  readonly pricedOn: string;
  /** AWS was asked for them; else they are those that Errand is shipped with. */
  readonly isLive?: boolean;
};

/** The machine image for an architecture, with or without a GPU driver. */
export type Image = {
  readonly arch: "x86_64" | "arm64";
  readonly hasGpuDriver: boolean;
  readonly imageId: string;
  readonly rootDeviceName: string;
  /** Of its root disk: no volume for it may be smaller. */
  readonly diskGib?: number;
  /** The id by which a job named it; undefined for those that are chosen by the kind of machine. */
  readonly namedAs?: string;
};

export type PricedType = InstanceType & {
  readonly hourlyUsd: number | undefined;
  /** Zones of the region that offer it; undefined when only the region is known. */
  readonly zones?: readonly string[];
};

/** Instance type x zone x price. */
export type Offer = {
  readonly instanceType: string;
  readonly zone: string;
  readonly subnetId: string;
  readonly hourlyUsd: number;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly gpus: number;
};

/** Why a type that comes close does not fit: "g5.xlarge has 16 GiB of memory, 32 GiB asked for". */
export type NearMiss = { readonly instanceType: string; readonly misses: readonly string[] };

export type Choice = {
  /** Best first, by the order of docs/workflows.md: each type in each place. Empty when nothing fits. */
  readonly offers: readonly Offer[];
  /** Only when nothing fits: the nearest types first, five at most. */
  readonly nearMisses: readonly NearMiss[];
  /** The one near miss is the type that was asked for. */
  readonly isPinned?: boolean;
};

export const offerKey = (offer: Pick<Offer, "instanceType" | "zone">): string =>
  `${offer.instanceType}/${offer.zone}`;

export type ChooseOptions = {
  /** Types within this many per cent of the cheapest count as equally cheap. */
  readonly offerBandPercent: number;
};

/**
 * Every type that fits, in every place whose zone offers it, best first: by price, where types within
 * the band of the cheapest one left count as equally cheap and the newer generation of them goes
 * first, then fewer GPUs, fewer vCPUs, the name. Places keep the order of the catalog.
 */
export function chooseOffers(
  resources: Resources,
  catalog: Catalog,
  { offerBandPercent }: ChooseOptions,
): Choice {
  const minimums = minimumsOf(resources, catalog.places);
  const fitting = ofKind(resources, catalog).filter(({ type }) => isFit(type, minimums));
  if (fitting.length === 0) {
    const isPinned = resources.instanceType !== undefined;
    return {
      offers: [],
      nearMisses: nearMisses(resources, catalog),
      ...(isPinned && { isPinned }),
    };
  }
  const offers = inBands(fitting, offerBandPercent).flatMap((candidate) => candidate.offers);
  return { offers, nearMisses: [] };
}

/** A type that is priced, with all that a choice needs of it worked out once. */
type Candidate = {
  readonly type: PricedType;
  readonly hourlyUsd: number;
  readonly generation: number;
  readonly gpus: number;
  readonly offers: readonly Offer[];
};

/**
 * A catalog lives for an hour and is asked a thousand times: it is sorted once, and once told apart by each kind of
 * machine that is asked for, of which there are eight.
 */
const sortedCatalogs = new WeakMap<Catalog, Map<string, readonly Candidate[]>>();

/** Priced types of the kind that is asked for, whatever their size, by price. */
function ofKind(resources: Resources, catalog: Catalog): readonly Candidate[] {
  const { instanceType: pin, arch, burstable, gpu } = resources;
  const lists = sortedCatalogs.get(catalog) ?? new Map([["all", sorted(catalog)]]);
  sortedCatalogs.set(catalog, lists);
  const name = pin === undefined ? `${arch} ${burstable} ${gpu !== undefined}` : "";
  const known = lists.get(name);
  if (known) return known;
  const kinds = kindsOf(resources);
  const all = lists.get("all") ?? [];
  const list = all.filter(({ type }) => isFit(type, kinds));
  if (pin === undefined) lists.set(name, list);
  return list;
}

function sorted(catalog: Catalog): readonly Candidate[] {
  const candidates: Candidate[] = [];
  for (const type of catalog.types) {
    const { hourlyUsd } = type;
    if (hourlyUsd === undefined) continue;
    const gpus = wholeGpus(type);
    const { name: instanceType, vcpus, memoryMib } = type;
    const offers = catalog.places
      .filter(({ zone }) => isOffered(type, zone))
      .map((place) => ({ instanceType, ...place, hourlyUsd, vcpus, memoryMib, gpus }));
    candidates.push({ type, hourlyUsd, generation: generationOf(type), gpus, offers });
  }
  return candidates.sort((a, b) => a.hourlyUsd - b.hourlyUsd);
}

/** The number after the family's letters: 7 of m7i-flex. Families such as u-6tb1 have none, and go last. */
const generationOf = ({ name }: InstanceType): number =>
  Number(/^[a-z]+(\d+)/.exec(name)?.[1] ?? 0);

/** Sorted by price already: each band begins with the cheapest type that is in none before it. */
function inBands(candidates: readonly Candidate[], bandPercent: number): readonly Candidate[] {
  const ordered: Candidate[] = [];
  let band: Candidate[] = [];
  let bandUsd = 0;
  for (const candidate of candidates) {
    if (candidate.hourlyUsd > bandUsd) {
      ordered.push(...band.sort(compareInBand));
      band = [];
      bandUsd = candidate.hourlyUsd * (1 + bandPercent / 100);
    }
    band.push(candidate);
  }
  ordered.push(...band.sort(compareInBand));
  return ordered;
}

function compareInBand(a: Candidate, b: Candidate): number {
  return (
    b.generation - a.generation ||
    a.gpus - b.gpus ||
    a.type.vcpus - b.type.vcpus ||
    (a.type.name < b.type.name ? -1 : 1)
  );
}

const NEAR_MISSES_MAX = 5;

/** The pinned type alone where one is pinned; else those that miss the fewest minimums by the least. */
function nearMisses(resources: Resources, catalog: Catalog): readonly NearMiss[] {
  const minimums = minimumsOf(resources, catalog.places);
  const { instanceType: pin } = resources;
  if (pin !== undefined) {
    const type = catalog.types.find(({ name }) => name === pin);
    if (!type) return [unknownType(pin, catalog)];
    const kinds = missesOf(type, kindsOf(resources));
    // The size of a type that could never work does not matter any more.
    return [nearMiss(type, kinds.length > 0 ? kinds : missesOf(type, minimums))];
  }
  return ofKind(resources, catalog)
    .map(({ type }) => {
      const missed = missesOf(type, minimums);
      const shortfall = missed.reduce((sum, each) => sum + each.shortfall(type), 0);
      return { type, missed, shortfall };
    })
    .sort((a, b) => a.missed.length - b.missed.length || a.shortfall - b.shortfall)
    .slice(0, NEAR_MISSES_MAX)
    .map(({ type, missed }) => nearMiss(type, missed));
}

/** Mistyped, or of another region. */
function unknownType(instanceType: string, { region, types }: Catalog): NearMiss {
  const family = familyOf({ name: instanceType });
  const names = types.map(({ name }) => name);
  const ofFamily = names.filter((name) => name.startsWith(`${family}.`));
  const near = nearestNames(instanceType, ofFamily.length > 0 ? ofFamily : names);
  const hint = near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
  return { instanceType, misses: [`not offered in ${region}${hint}`] };
}

const nearMiss = (type: PricedType, missed: readonly Requirement[]): NearMiss => ({
  instanceType: type.name,
  misses: missed.map(({ describe }) => describe(type)),
});

/** Of a type whose zones are not known, every one of the region's may have it. */
export const isOffered = ({ zones }: Pick<PricedType, "zones">, zone: string): boolean =>
  zones?.includes(zone) ?? true;
