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

/** The rest of an offer, or undefined when it may be asked for. */
export function restOf(
  capacity: Capacity,
  offer: Pick<Offer, "instanceType" | "zone">,
  at: number,
): { readonly until: number; readonly code: string } | undefined {
  const rest = capacity[offerKey(offer)];
  return rest && rest.until > at ? rest : undefined;
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
