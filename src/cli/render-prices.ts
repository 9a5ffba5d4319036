/** How old prices are, for commands that show some. */
import { DAY_MS } from "../core/cost.ts";
import type { Catalog } from "../core/offers.ts";
import type { RunView } from "../core/view.ts";
import type { Output } from "./output.ts";
import { formatCount } from "./render-values.ts";

/** Where prices come from and how old they are. */
export function describePrices(
  { region, pricedOn, isLive, isEstimate }: Catalog,
  at: number,
): string {
  const days = Math.max(0, Math.floor((at - Date.parse(pricedOn)) / DAY_MS));
  const age = days === 0 ? "today" : `${formatCount(days, "day")} ago`;
  if (isLive) {
    const converted = isEstimate ? ", converted to US dollars: estimates" : "";
    return `prices are AWS's own for ${region}, read ${age}${converted}`;
  }
  const shipped = `prices are those that Errand is shipped with, of ${age} (${pricedOn})`;
  return isEstimate ? `${shipped} for us-east-1: estimates for ${region}` : shipped;
}

/** Beside runs whose jobs were not priced as AWS did that day; nothing where all were. Local prices are nobody's money. */
export function tellOldPrices(
  output: Output,
  views: readonly RunView[],
  { isLocal }: { readonly isLocal: boolean },
): void {
  const days = views.flatMap(({ jobs }) =>
    jobs.flatMap(({ attempts }) => attempts.flatMap(({ pricedOn }) => pricedOn ?? [])),
  );
  const [first] = days.sort();
  if (isLocal || first === undefined) return;
  const later = days.at(-1) === first ? "" : " and later";
  const words = `prices are of ${first}${later}: AWS's own of the day were not to be had`;
  output.note(output.notePalette.faint(words));
}
