/**
 * Instance types and prices as AWS tells them today, kept in the bucket at `catalog/<region>.json`: read anew every twelve hours by the
 * daemon, and from the bucket by whoever else plans. Until they have been read, and where they cannot be, the snapshot is what there is.
 */
import type { EC2Client } from "@aws-sdk/client-ec2";
import { z } from "zod";
import { key } from "../core/layout.ts";
import type { InstanceType } from "../core/offers.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { diskGibMonthUsd } from "./disk-prices.ts";
import { describeInstanceTypes } from "./instance-types.ts";
import { type PriceList, readPriceList } from "./price-list.ts";
import { listPrices, type Prices } from "./prices.ts";
import { pricingRegionOf } from "./pricing-region.ts";
import { type ClientOptions, commonOptions } from "./s3-client.ts";

const typeSchema = z.object({
  name: z.string(),
  vcpus: z.number(),
  memoryMib: z.number(),
  arch: z.enum(["x86_64", "arm64", "other"]),
  isNitro: z.boolean(),
  isBareMetal: z.boolean(),
  isBurstable: z.boolean(),
  gpu: z
    .object({
      count: z.number(),
      name: z.string(),
      manufacturer: z.string(),
      memoryMib: z.number(),
    })
    .optional(),
  hasOtherAccelerator: z.boolean(),
});

const liveSchema = z.object({
  format: z.literal(1),
  region: z.string(),
  /** Milliseconds since 1970. */
  readAt: z.number(),
  types: z.array(typeSchema).min(1),
  /** Absent where the Price List was not to be had. */
  prices: z
    .object({
      hourlyUsd: z.record(z.string(), z.number()),
      diskGibMonthUsd: z.number().optional(),
      isConverted: z.boolean(),
    })
    .optional(),
});

export type LiveTypes = {
  readonly region: string;
  readonly readAt: number;
  readonly types: readonly InstanceType[];
  readonly prices?: PriceList;
};

/** Reads them from AWS. Without prices where these cannot be had, which `onComplaint` is told. Throws CloudError. */
export async function readLiveTypes(
  ec2: EC2Client,
  where: ClientOptions,
  {
    now,
    onComplaint,
  }: { readonly now: () => number; readonly onComplaint: (error: unknown) => void },
): Promise<LiveTypes> {
  const { region } = where;
  const types = await describeInstanceTypes(ec2);
  const prices = await readPrices(where).catch((error: unknown) => {
    if (!isCloudError(error)) throw error;
    onComplaint(error);
    return undefined;
  });
  return { region, readAt: now(), types, ...(prices && { prices }) };
}

/** The client is made for this, twice a day. Only AWS itself tells prices: another endpoint is asked for none. */
async function readPrices(where: ClientOptions): Promise<PriceList | undefined> {
  if (where.endpoint !== undefined) return undefined;
  const pricingRegion = pricingRegionOf(where.region);
  if (pricingRegion === undefined) return undefined;
  const { PricingClient } = await import("@aws-sdk/client-pricing");
  const pricing = new PricingClient(commonOptions({ ...where, region: pricingRegion }));
  try {
    const prices = await readPriceList(pricing, where.region);
    return Object.keys(prices.hourlyUsd).length > 0 ? prices : undefined;
  } finally {
    pricing.destroy();
  }
}

/** What is in the bucket; undefined when there is nothing, or nothing that this version understands. Throws CloudError. */
export async function findLiveTypes(
  store: Pick<Store, "find">,
  region: string,
): Promise<LiveTypes | undefined> {
  const object = await store.find(key.catalog(region), LIVE_BYTES_MAX);
  if (!object) return undefined;
  const parsed = liveSchema.safeParse(parseJson(new TextDecoder().decode(object.body)));
  if (!parsed.success || parsed.data.region !== region) return undefined;
  const { format: _, prices, types, ...live } = parsed.data;
  return {
    ...live,
    types: types.map(({ gpu, ...type }) => ({ ...type, ...(gpu && { gpu }) })),
    ...(prices && { prices: priceListOf(prices) }),
  };
}

/** A thousand types take a fifth of it. */
const LIVE_BYTES_MAX = 2 << 20;

const priceListOf = ({
  diskGibMonthUsd,
  ...prices
}: NonNullable<z.output<typeof liveSchema>["prices"]>): PriceList => ({
  ...prices,
  ...(diskGibMonthUsd !== undefined && { diskGibMonthUsd }),
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export async function keepLiveTypes(store: Pick<Store, "put">, live: LiveTypes): Promise<void> {
  const body = JSON.stringify({ format: 1, ...live });
  await store.put(key.catalog(live.region), body, { contentType: "application/json" });
}

/** Prices of the list that AWS told; what it has no price for is as the shipped list says. */
export function livePrices({ prices, readAt }: LiveTypes): Prices | undefined {
  if (!prices) return undefined;
  return {
    hourlyUsd: (type, region) =>
      // As in the shipped list: never chosen, so never priced.
      type.isBareMetal
        ? undefined
        : (prices.hourlyUsd[type.name] ?? listPrices.hourlyUsd(type, region)),
    diskGibMonthUsd: (region) => prices.diskGibMonthUsd ?? diskGibMonthUsd(region),
    isEstimate: () => prices.isConverted,
    pricedOn: new Date(readAt).toISOString().slice(0, 10),
  };
}
