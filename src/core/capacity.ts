/** Which offers EC2 had none of a moment ago. Kept in `capacity.json`, so that a restart does not ask again. */
import { z } from "zod";
import { type Offer, offerKey } from "./offers.ts";

/** How long an offer without capacity is left alone. */
export const CAPACITY_REST_MS = 3 * 60_000;
/** `Unsupported` says that a zone does not have the type at all. */
export const UNSUPPORTED_REST_MS = 6 * 60 * 60_000;

export const capacitySchema = z.record(
  z.string(),
  z.strictObject({ until: z.number(), code: z.string() }),
);
/** By `offerKey`. */
export type Capacity = Readonly<z.infer<typeof capacitySchema>>;

/** Refused as one of several says little of the offer: half as many may well fit. `Unsupported` says it of all. */
export const restsOffer = (refusal: {
  readonly kind: string;
  readonly code: string;
  readonly size: number;
}): boolean =>
  refusal.kind === "no-capacity" && (refusal.size === 1 || refusal.code === "Unsupported");

/**
 * The rest of an offer, or undefined when it may be asked for. Where a size of a family found no room in a zone, larger
 * ones of it find none either: they are cut from the same hosts. A smaller one may.
 */
export function restOf(
  capacity: Capacity,
  offer: Pick<Offer, "instanceType" | "zone">,
  at: number,
): { readonly until: number; readonly code: string } | undefined {
  const own = capacity[offerKey(offer)];
  if (own && own.until > at) return own;
  return Object.entries(capacity).find(
    ([key, { until, code }]) => until > at && code !== "Unsupported" && isLargerThan(offer, key),
  )?.[1];
}

/** Of the same family and zone as the offer with this key, and larger. */
function isLargerThan({ instanceType, zone }: Pick<Offer, "instanceType" | "zone">, key: string) {
  const [type = "", place] = key.split("/");
  const [family, size = ""] = instanceType.split(".");
  const [otherFamily, otherSize = ""] = type.split(".");
  return place === zone && otherFamily === family && sizeRank(size) > sizeRank(otherSize);
}

const SIZES = ["nano", "micro", "small", "medium", "large", "xlarge"];

/** `xlarge` is 5, `2xlarge` 7, `48xlarge` 53; bare metal is no size and never larger. */
function sizeRank(size: string): number {
  const times = /^(\d+)xlarge$/.exec(size)?.[1];
  return times === undefined ? SIZES.indexOf(size) : SIZES.length - 1 + Number(times);
}

/** Puts an offer to rest, and forgets rests that are over. */
export function rested(
  capacity: Capacity,
  offer: Pick<Offer, "instanceType" | "zone">,
  refusal: { readonly code: string; readonly at: number },
): Capacity {
  const current = Object.entries(capacity).filter(([, { until }]) => until > refusal.at);
  const restMs = refusal.code === "Unsupported" ? UNSUPPORTED_REST_MS : CAPACITY_REST_MS;
  const rest = { until: refusal.at + restMs, code: refusal.code };
  return { ...Object.fromEntries(current), [offerKey(offer)]: rest };
}
