/** Hints for a name that is not there: those that come close to it, else what there is. */
import { nearestNames } from "../core/near-names.ts";

const LISTED_MAX = 20;

/** `Did you mean "train"?` where a known name comes close, else `otherwise`. */
export function hintNear(name: string, known: readonly string[], otherwise: string): string {
  const near = nearestNames(name, [...new Set(known)]);
  return near.length > 0 ? didYouMean(near) : otherwise;
}

export const didYouMean = (near: readonly string[]): string =>
  `Did you mean ${near.map((each) => `"${each}"`).join(" or ")}?`;

/** `a, b, c`, cut short where they are many. */
export function listNames(names: readonly string[]): string {
  const more = names.length > LISTED_MAX ? `, and ${names.length - LISTED_MAX} more` : "";
  return `${names.slice(0, LISTED_MAX).join(", ")}${more}`;
}
