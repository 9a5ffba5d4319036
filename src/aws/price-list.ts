/** On-demand prices of a region by the Price List: GetProducts of the service AmazonEC2. */
import { type Filter, type PricingClient, paginateGetProducts } from "@aws-sdk/client-pricing";
import { z } from "zod";
import { callAws } from "./error-codes.ts";

export type PriceList = {
  /** US dollars an hour by type: Linux, shared hardware, nothing installed. */
  readonly hourlyUsd: Readonly<Record<string, number>>;
  /** Of a gp3 disk; undefined where the list has none. */
  readonly diskGibMonthUsd?: number;
  /** Converted from another currency, by a rate that is only about right. */
  readonly isConverted: boolean;
};

/** The list's own words, which the console shows as well. */
const INSTANCES = {
  operatingSystem: "Linux",
  tenancy: "Shared",
  preInstalledSw: "NA",
  // Not what a capacity reservation costs while it stands idle.
  capacitystatus: "Used",
  marketoption: "OnDemand",
};
const DISKS = { productFamily: "Storage", volumeApiName: "gp3" };

/** Ceilings and budgets are in US dollars, the bills of aws-cn are not. About the rate of 2026: dearer is the safer side. */
const USD_PER_CNY = 0.145;

/** Throws CloudError. */
export async function readPriceList(pricing: PricingClient, region: string): Promise<PriceList> {
  const products = await readProducts(pricing, { ...INSTANCES, regionCode: region });
  const disks = await readProducts(pricing, { ...DISKS, regionCode: region });
  const hourlyUsd: Record<string, number> = {};
  for (const { instanceType, price } of products) {
    if (instanceType === undefined || price === undefined || price.unit !== "Hrs") continue;
    // Where the list has a type twice, the dearer is told: never less than is paid.
    hourlyUsd[instanceType] = Math.max(price.usd, hourlyUsd[instanceType] ?? 0);
  }
  const ofDisks = disks.flatMap(({ price }) => (price?.unit === "GB-Mo" ? price.usd : []));
  const isConverted = [...products, ...disks].some(({ price }) => price?.isConverted);
  return {
    hourlyUsd,
    ...(ofDisks.length > 0 && { diskGibMonthUsd: Math.max(...ofDisks) }),
    isConverted,
  };
}

type Product = {
  readonly instanceType: string | undefined;
  /** Undefined where it is free, or not for sale on demand. */
  readonly price: Price | undefined;
};
type Price = { readonly usd: number; readonly unit: string; readonly isConverted: boolean };

function readProducts(
  pricing: PricingClient,
  fields: Readonly<Record<string, string>>,
): Promise<readonly Product[]> {
  const Filters = Object.entries(fields).map(
    ([Field, Value]): Filter => ({ Type: "TERM_MATCH", Field, Value }),
  );
  return callAws("reading prices", async () => {
    const products: Product[] = [];
    const input = { ServiceCode: "AmazonEC2", Filters };
    for await (const { PriceList = [] } of paginateGetProducts({ client: pricing }, input)) {
      for (const text of PriceList) products.push(parseProduct(String(text)));
    }
    return products;
  });
}

const productSchema = z.object({
  product: z.object({ attributes: z.object({ instanceType: z.string().optional() }) }),
  terms: z.object({
    OnDemand: z
      .record(
        z.string(),
        z.object({
          priceDimensions: z.record(
            z.string(),
            z.object({ unit: z.string(), pricePerUnit: z.record(z.string(), z.string()) }),
          ),
        }),
      )
      .optional(),
  }),
});

/** Each product is a JSON document in itself, terms and dimensions under names that say nothing. */
export function parseProduct(text: string): Product {
  const { product, terms } = productSchema.parse(JSON.parse(text));
  const dimensions = Object.values(terms.OnDemand ?? {}).flatMap(({ priceDimensions }) =>
    Object.values(priceDimensions),
  );
  const prices = dimensions.flatMap(({ unit, pricePerUnit: { USD, CNY } }): Price[] => {
    const isConverted = USD === undefined;
    const usd = isConverted ? Number(CNY) * USD_PER_CNY : Number(USD);
    return usd > 0 ? [{ usd: Math.round(usd * 1e5) / 1e5, unit, isConverted }] : [];
  });
  return { instanceType: product.attributes.instanceType, price: prices[0] };
}
