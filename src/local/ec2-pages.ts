/** Filters and pages, as the Describe operations share them. */
import { ApiError } from "./http.ts";
import { matchesWildcard } from "./wildcards.ts";

export type Filter = { readonly Name: string; readonly Value?: readonly string[] | undefined };

/** The values an item has under a filter's name; undefined when there is no such filter. */
export type FilterValues<Item> = (item: Item, name: string) => readonly string[] | undefined;

const FILTER_VALUES_MAX = 200;

/** Each filter matches when one of its values does; `*` and `?` are wildcards, as AWS has them. */
export function applyFilters<Item>(
  items: readonly Item[],
  filters: readonly Filter[],
  isFilter: (name: string) => boolean,
  values: FilterValues<Item>,
): readonly Item[] {
  for (const { Name } of filters) {
    if (!isFilter(Name)) {
      throw new ApiError(400, "InvalidParameterValue", `The filter '${Name}' is invalid`);
    }
  }
  const count = filters.reduce((total, { Value = [] }) => total + Value.length, 0);
  if (count > FILTER_VALUES_MAX) {
    const message = `The maximum number of filter values specified on a single call is ${FILTER_VALUES_MAX}`;
    throw new ApiError(400, "FilterLimitExceeded", message);
  }
  const tests = filters.map(({ Name, Value = [] }) => ({ Name, patterns: Value.map(toPattern) }));
  return items.filter((item) =>
    tests.every(({ Name, patterns }) =>
      values(item, Name)?.some((value) => patterns.some((pattern) => pattern(value))),
    ),
  );
}

const toPattern = (pattern: string) => (value: string) => matchesWildcard(value, pattern);

export type PageRequest = {
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
};
export type PageLimits = { readonly least: number; readonly most: number };

/**
 * Items after the one that the token names, which need not exist any more: a page is right though the list changed in between.
 * `items` are sorted by `keyOf`.
 */
export function takePage<Item>(
  items: readonly Item[],
  request: PageRequest,
  limits: PageLimits,
  keyOf: (item: Item) => string,
): { readonly page: readonly Item[]; readonly nextToken: string | undefined } {
  const size = request.MaxResults ?? limits.most;
  if (size < limits.least || size > limits.most) {
    const message = `Value ( ${size} ) for parameter maxResults is invalid. Expecting a value between ${limits.least} and ${limits.most}.`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  const after = request.NextToken === undefined ? undefined : readToken(request.NextToken);
  const rest = after === undefined ? items : items.filter((item) => keyOf(item) > after);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  const hasMore = rest.length > page.length && last !== undefined;
  return { page, nextToken: hasMore ? writeToken(keyOf(last)) : undefined };
}

const writeToken = (key: string): string => Buffer.from(`after:${key}`).toString("base64url");

function readToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString();
  if (text.startsWith("after:")) return text.slice("after:".length);
  throw new ApiError(400, "InvalidNextToken", "The pagination token is invalid");
}
