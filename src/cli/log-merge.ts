/** Logs of several jobs as one: lines in the order of their times, each log's own order kept. */
import type { LogLine } from "../core/log-lines.ts";

export type LogSource = {
  readonly job: string;
  /** About when; it is not read before its turn. */
  readonly beganAt: number;
  readonly batches: AsyncIterator<readonly LogLine[]>;
};

/** `at` is where its next line stands, and never goes back: a machine's clock may, its log does not. */
type Head = LogSource & { lines: readonly LogLine[]; next: number; at: number };

/** What cannot be read is thrown once all that was read has been given. */
export async function* mergeLogs(
  sources: readonly LogSource[],
): AsyncGenerator<{ readonly job: string; readonly lines: readonly LogLine[] }, void, void> {
  let heads = sources.map(
    (source): Head => ({ ...source, lines: [], next: 0, at: source.beganAt }),
  );
  let failure: { readonly error: unknown } | undefined;
  for (let head = earliest(heads); head; head = earliest(heads)) {
    if (head.next < head.lines.length) {
      yield { job: head.job, lines: takeUntil(head, earliestBeside(heads, head)) };
      continue;
    }
    const batch = failure ? undefined : await nextBatch(head);
    if (batch && !("error" in batch)) beginBatch(head, batch.lines);
    else {
      failure ??= batch;
      heads = heads.filter((each) => each !== head);
    }
  }
  if (failure) throw failure.error;
}

/** Undefined when there is none left. */
async function nextBatch(
  head: Head,
): Promise<{ readonly lines: readonly LogLine[] } | { readonly error: unknown } | undefined> {
  try {
    const { done, value } = await head.batches.next();
    return done ? undefined : { lines: value };
  } catch (error) {
    return { error };
  }
}

function beginBatch(head: Head, lines: readonly LogLine[]): void {
  head.lines = lines;
  head.next = 0;
  advance(head);
}

function advance(head: Head): void {
  head.at = Math.max(head.at, head.lines[head.next]?.at ?? head.at);
}

/** Its lines up to the moment at which another log goes on. */
function takeUntil(head: Head, until: number): readonly LogLine[] {
  const from = head.next;
  do {
    head.next++;
    advance(head);
  } while (head.next < head.lines.length && head.at <= until);
  const lines = head.lines.slice(from, head.next);
  // What has been given need not be kept.
  if (head.next === head.lines.length) beginBatch(head, []);
  return lines;
}

/** The first of those that are equal, so that jobs keep their order. */
const earliest = (heads: readonly Head[]): Head | undefined =>
  heads.reduce<Head | undefined>(
    (best, each) => (best && best.at <= each.at ? best : each),
    undefined,
  );

const earliestBeside = (heads: readonly Head[], head: Head): number =>
  heads.reduce(
    (best, each) => (each === head ? best : Math.min(best, each.at)),
    Number.POSITIVE_INFINITY,
  );
