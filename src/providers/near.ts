/** "Did you mean": the known names that come close to one that is not known. */
import { quote } from "./problem.ts";

const LENGTH_MAX = 64;
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

/** Up to three names within a third of the length in typing errors, nearest first. */
export function nearNames(name: string, known: readonly string[]): readonly string[] {
  if (name.length > LENGTH_MAX) return [];
  const errorsMax = Math.max(1, Math.floor(name.length / 3));
  return known
    .slice(0, KNOWN_MAX)
    .filter((each) => each.length <= LENGTH_MAX)
    .map((each) => ({ each, errors: countErrors(folded(name), folded(each)) }))
    .filter(({ errors }) => errors <= errorsMax)
    .sort((a, b) => a.errors - b.errors || (a.each < b.each ? -1 : 1))
    .slice(0, 3)
    .map(({ each }) => each);
}

const folded = (name: string): string => name.toLowerCase().replaceAll("_", "-");

/** Insertions, deletions, substitutions and swapped neighbours (optimal string alignment). */
function countErrors(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const cost = from[row - 1] === to[column - 1] ? 0 : 1;
      const isSwap =
        row > 1 &&
        column > 1 &&
        from[row - 1] === to[column - 2] &&
        from[row - 2] === to[column - 1];
      current[column] = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + cost,
        isSwap ? at(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = current;
  }
  return at(last, to.length);
}

const at = (row: readonly number[], column: number): number =>
  row[column] ?? Number.POSITIVE_INFINITY;
