/** The catalog: the snapshot's types with prices, narrowed to what the region's zones offer, and where and from what to launch. */
import {
  DescribeSubnetsCommand,
  type DescribeSubnetsCommandInput,
  type EC2Client,
} from "@aws-sdk/client-ec2";
import type { SSMClient } from "@aws-sdk/client-ssm";
import type { Catalog, InstanceType, Place, PricedType } from "../core/offers.ts";
import { isCloudError } from "../errors.ts";
import { callAws } from "./error-codes.ts";
import { type ImageIds, readImages, readNamedImages } from "./images.ts";
import { describeOfferings } from "./instance-types.ts";
import type { LiveSource } from "./live-source.ts";
import { type LiveTypes, livePrices } from "./live-types.ts";
import { listPrices } from "./prices.ts";
import { readSnapshot, type Snapshot } from "./snapshot.ts";

export type CatalogClients = { readonly ec2: EC2Client; readonly ssm: SSMClient };

export type CatalogOptions = {
  readonly region: string;
  /** EC2 is asked for zones that are not said. Empty for the default subnets of the default VPC. */
  readonly subnets: readonly { readonly subnetId: string; readonly zone?: string | undefined }[];
  readonly images: ImageIds;
  /** Of the local cloud, whose machines are the host: a job that names an image gets the one that there is. */
  readonly ignoresNamedImages?: boolean;
  /** Types and prices as AWS tells them; without it, and as long as it has none, those that are shipped. */
  readonly live?: Pick<LiveSource, "current">;
  /** Called when a refresh fails and the catalog of before is used on. */
  readonly onStale?: (error: unknown) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
};

/** Images, subnets and offerings change by the week. */
const FRESH_MS = 60 * 60_000;
/** A catalog that could not be refreshed is tried again no sooner than this. */
const STALE_MS = 60_000;

/**
 * Reads the catalog once an hour, once for all who ask meanwhile, and images that jobs name when they are first named.
 * The first reading throws CloudError.
 */
export function createCatalogReader(
  clients: CatalogClients,
  options: CatalogOptions,
): (imageIds?: readonly string[]) => Promise<Catalog> {
  const readBase = createBaseReader(clients, options);
  /** With the images that have been named since `base` was read: the same object as long as nothing is new, for choices are remembered by it. */
  let extended: { readonly base: Catalog; readonly catalog: Catalog } | undefined;

  return async (imageIds = []) => {
    const base = await readBase();
    const catalog = extended?.base === base ? extended.catalog : base;
    const known = new Set(catalog.images.map(({ namedAs }) => namedAs));
    const unknown = imageIds.filter((id) => !known.has(id));
    if (unknown.length === 0) return catalog;
    const found = options.ignoresNamedImages
      ? unknown.flatMap((namedAs) => base.images.map((image) => ({ ...image, namedAs })))
      : await readNamedImages(clients.ec2, unknown);
    if (found.length === 0) return catalog;
    extended = { base, catalog: { ...catalog, images: [...catalog.images, ...found] } };
    return extended.catalog;
  };
}

function createBaseReader(
  clients: CatalogClients,
  options: CatalogOptions,
): () => Promise<Catalog> {
  const { now = Date.now, onStale = () => {} } = options;
  let current:
    | { readonly catalog: Catalog; readonly until: number; readonly live: Live }
    | undefined;
  let reading: Promise<Catalog> | undefined;

  async function refresh(live: Live): Promise<Catalog> {
    try {
      const catalog = await readCatalog(clients, options, live);
      current = { catalog, until: now() + FRESH_MS, live };
      return catalog;
    } catch (error) {
      if (!current || !isCloudError(error)) throw error;
      current = { ...current, until: now() + STALE_MS, live };
      onStale(error);
      return current.catalog;
    } finally {
      reading = undefined;
    }
  }

  return async () => {
    const live = await options.live?.current();
    if (current && current.until > now() && current.live === live) return current.catalog;
    reading ??= refresh(live);
    return reading;
  };
}

type Live = LiveTypes | undefined;

async function readCatalog(
  clients: CatalogClients,
  options: CatalogOptions,
  live: Live,
): Promise<Catalog> {
  const { region } = options;
  const ofAws = live && livePrices(live);
  const prices = ofAws ?? listPrices;
  const [snapshot, zones, places, images] = await Promise.all([
    readSnapshot(),
    readZones(clients.ec2),
    readPlaces(clients.ec2, options.subnets),
    readImages(clients, options.images),
  ]);
  const types = offeredTypes(
    live ? { ...snapshot, types: live.types } : snapshot,
    region,
    zones,
  ).map((type) => ({
    ...type,
    hourlyUsd: prices.hourlyUsd(type, region),
  }));
  const { pricedOn } = prices;
  return {
    ...{ region, types, places, images, pricedOn },
    diskGibMonthUsd: prices.diskGibMonthUsd(region),
    ...(ofAws && { isLive: true }),
    isEstimate: prices.isEstimate(region),
  };
}

/** Names of types by zone; undefined where the daemon may not ask, and only the region's offerings are known. */
async function readZones(
  ec2: EC2Client,
): Promise<ReadonlyMap<string, ReadonlySet<string>> | undefined> {
  try {
    return await describeOfferings(ec2, "availability-zone");
  } catch (error) {
    if (isCloudError(error, "refused")) return undefined;
    throw error;
  }
}

function offeredTypes(
  { types, offerings }: Snapshot,
  region: string,
  zones: ReadonlyMap<string, ReadonlySet<string>> | undefined,
): readonly (InstanceType & Pick<PricedType, "zones">)[] {
  if (!zones) {
    const offered = offerings.get(region);
    return offered ? types.filter(({ name }) => offered.has(name)) : types;
  }
  return types.flatMap((type) => {
    const names = [...zones.keys()].filter((zone) => zones.get(zone)?.has(type.name));
    return names.length > 0 ? [{ ...type, zones: names.sort() }] : [];
  });
}

/** In the order that was given; default subnets by zone. */
async function readPlaces(
  ec2: EC2Client,
  subnets: CatalogOptions["subnets"],
): Promise<readonly Place[]> {
  if (subnets.length === 0) {
    const places = await describeSubnets(ec2, {
      Filters: [
        { Name: "default-for-az", Values: ["true"] },
        { Name: "state", Values: ["available"] },
      ],
    });
    return places.sort((a, b) => (a.zone < b.zone ? -1 : 1));
  }
  const SubnetIds = subnets.flatMap(({ zone, subnetId }) => (zone ? [] : subnetId));
  const described = SubnetIds.length > 0 ? await describeSubnets(ec2, { SubnetIds }) : [];
  const zones = new Map(described.map(({ subnetId, zone }) => [subnetId, zone]));
  // EC2 has refused ids that it does not know.
  return subnets.map(({ subnetId, zone = zones.get(subnetId) ?? "" }) => ({ subnetId, zone }));
}

async function describeSubnets(
  ec2: EC2Client,
  input: DescribeSubnetsCommandInput,
): Promise<Place[]> {
  const { Subnets = [] } = await callAws("looking for subnets", () =>
    ec2.send(new DescribeSubnetsCommand(input)),
  );
  return Subnets.map(({ AvailabilityZone: zone = "", SubnetId: subnetId = "" }) => ({
    zone,
    subnetId,
  }));
}
