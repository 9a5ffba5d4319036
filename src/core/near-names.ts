/** Names that come close to one that is not known. */

const LENGTH_MAX = 64;
const NAMES_MAX = 3;

/** Up to three names within a third of the length in typing errors, nearest first. */
export const nearNames = (name: string, known: readonly string[]): readonly string[] =>
  measure(name, known)
    .slice(0, NAMES_MAX)
    .map(({ each }) => each);

/** Of them only those that no other is nearer than. */
export function nearestNames(name: string, known: readonly string[]): readonly string[] {
  const near = measure(name, known);
  return near
    .filter(({ errors }) => errors === near[0]?.errors)
    .slice(0, NAMES_MAX)
    .map(({ each }) => each);
}

function measure(name: string, known: readonly string[]) {
  if (name.length > LENGTH_MAX) return [];
  const errorsMax = Math.max(1, Math.floor(name.length / 3));
  return known
    .filter((each) => Math.abs(each.length - name.length) <= errorsMax && each.length <= LENGTH_MAX)
    .map((each) => ({ each, errors: countErrors(folded(name), folded(each)) }))
    .filter(({ errors }) => errors <= errorsMax)
    .sort((a, b) => a.errors - b.errors || (a.each < b.each ? -1 : 1));
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
