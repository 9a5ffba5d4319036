/** "Did you mean": the known names that come close to one that is not known. */
import * as core from "../core/near-names.ts";
import { quote } from "./problem.ts";

const LISTED_MAX = 12;
/** Names compared with; the rest is not looked at. */
const KNOWN_MAX = 200;

/** A hint for a name that is not among `known`: near ones first, else all of them when they are few. */
export function suggest(name: string, known: readonly string[], what: string): string {
  const near = nearNames(name, known);
  if (near.length > 0) return `did you mean ${near.map(quote).join(" or ")}?`;
  if (known.length === 0) return `there are no ${what}`;
  const listed = known.slice(0, LISTED_MAX).join(", ");
  return `known ${what}: ${listed}${known.length > LISTED_MAX ? ", …" : ""}`;
}

/** Up to three, nearest first. */
export const nearNames = (name: string, known: readonly string[]): readonly string[] =>
  core.nearNames(name, known.slice(0, KNOWN_MAX));
