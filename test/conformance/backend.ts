/** A backend under a conformance suite, and what it is known not to keep of the suite's promises. */
import { describe, expect, test } from "vitest";

/** How a promise is broken there. */
export type Gap = {
  readonly why: string;
  /** What the test's failure says. */
  readonly says: RegExp;
};

/** By the test's title. */
export type Gaps = Readonly<Record<string, Gap>>;

export type Backend = {
  readonly name: string;
  /** Each is expected: when the promise is kept after all, the suite fails and the gap has to go from the list. */
  readonly gaps?: Gaps;
  /** For whoever only wants to know the titles: nothing is declared to vitest then. */
  readonly onTitle?: (title: string) => void;
};

/** Declares one promise of a suite. */
export type Check = (title: string, body: () => Promise<void>) => void;

export function conformance(
  port: string,
  { name, gaps = {}, onTitle }: Backend,
  declare: (check: Check) => void,
): void {
  if (onTitle) {
    declare((title) => onTitle(title));
    return;
  }
  describe(`${port}: ${name}`, () => {
    const titles = new Set<string>();
    declare((title, body) => {
      titles.add(title);
      const gap = Object.hasOwn(gaps, title) ? gaps[title] : undefined;
      if (!gap) test(title, body);
      else test(`GAP, ${gap.why}: ${title}`, () => expectGap(gap, body));
    });
    test("every gap that is named is in a promise of this suite", () => {
      expect(Object.keys(gaps).filter((title) => !titles.has(title))).toEqual([]);
    });
  });
}

async function expectGap({ why, says }: Gap, body: () => Promise<void>): Promise<void> {
  const failure = await body().then(
    () => undefined,
    (error: unknown) => String(error),
  );
  if (failure === undefined) throw new Error(`no gap any more: ${why}`);
  expect(failure).toMatch(says);
}
