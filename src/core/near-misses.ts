/** Why nothing fits, as one line for the user. */
import type { Choice } from "./offers.ts";

export function describeNearMisses({ nearMisses, isPinned }: Choice): string {
  if (nearMisses.length === 0) return "no instance type fits: none is offered and priced here";
  const misses = nearMisses.map((miss) => `${miss.instanceType}: ${miss.misses.join(", ")}`);
  if (isPinned) return `the instance type cannot be had: ${misses.join("; ")}`;
  return `no instance type fits; nearest: ${misses.join("; ")}`;
}
