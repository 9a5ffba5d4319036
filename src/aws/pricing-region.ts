/**
 * Where prices are told. All other endpoints follow from a region's name, and the SDK knows them; the Price List has a few alone, and each
 * partition of AWS (aws, aws-cn, aws-us-gov) tells its own prices to its own accounts.
 */

/** By the beginning of the regions that are nearest to each. All of a partition tell the same. */
const PRICING_REGIONS: readonly (readonly [RegExp, string | undefined])[] = [
  [/^cn-/, "cn-northwest-1"],
  // aws-us-gov has none: its prices are told in aws, to accounts of that partition.
  [/^us-gov-/, undefined],
  [/^(eu|il|me|af)-/, "eu-central-1"],
  [/^ap-/, "ap-south-1"],
  [/^/, "us-east-1"],
];

/** The region whose endpoint tells prices of this one; undefined where none does. */
export const pricingRegionOf = (region: string): string | undefined =>
  PRICING_REGIONS.find(([regions]) => regions.test(region))?.[1];
