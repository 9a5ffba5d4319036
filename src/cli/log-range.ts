/** Which part of a job's log is wanted: the last lines, or those since a time; and where reading has to begin for that. */
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { parseDuration } from "../providers/quantity.ts";
import { type AttemptName, firstLineOf, listChunks, readChunk } from "./log-reader.ts";

export type LogRange = {
  /** Milliseconds since 1970. */
  readonly since?: number;
  /** The last lines of each job, so many. */
  readonly tail?: number;
};

/** `chunk` is the first line of the chunk that holds `firstLine`, or would. */
export type LogStart = { readonly firstLine: number; readonly chunk: number };

export const WHOLE_LOG: LogStart = { firstLine: 1, chunk: 1 };

/** S3 refuses requests from clocks that differ more from its own: so far may a chunk's date and its lines' times be apart. */
const CLOCKS_APART_MAX_MS = 15 * 60_000;

/** By attempts, in their order: where each begins. */
export async function chooseStarts(
  store: Store,
  attempts: readonly AttemptName[],
  { since, tail }: LogRange,
): Promise<readonly LogStart[]> {
  if (tail === undefined) {
    if (since === undefined) return attempts.map(() => WHOLE_LOG);
    return Promise.all(attempts.map((attempt) => startSince(store, attempt, since)));
  }
  const starts: LogStart[] = [];
  let wanted = tail;
  for (const attempt of attempts.toReversed()) {
    const { start, lines } = await startOfTail(store, attempt, wanted);
    starts.unshift(start);
    wanted = Math.max(0, wanted - lines);
  }
  return starts;
}

/** A line is older than its chunk: chunks from before the time hold none that are wanted. */
async function startSince(store: Store, attempt: AttemptName, since: number): Promise<LogStart> {
  const chunks = await listChunks(store, attempt);
  const isWanted = (modifiedAt: number): boolean => modifiedAt >= since - CLOCKS_APART_MAX_MS;
  const first = chunks.find(({ modifiedAt }) => isWanted(modifiedAt)) ?? chunks.at(-1);
  const line = first ? firstLineOf(first) : 1;
  return { firstLine: line, chunk: line };
}

async function startOfTail(
  store: Store,
  attempt: AttemptName,
  wanted: number,
): Promise<{ readonly start: LogStart; readonly lines: number }> {
  const chunks = await listChunks(store, attempt);
  const newest = chunks.at(-1);
  const last = newest && (await store.find(newest.key));
  if (!last) return { start: WHOLE_LOG, lines: 0 };
  const { firstLine, lines } = readChunk(last);
  const next = firstLine + lines.length;
  const begin = Math.max(1, next - wanted);
  const holding = chunks.findLast((chunk) => firstLineOf(chunk) <= begin) ?? last;
  return { start: { firstLine: begin, chunk: firstLineOf(holding) }, lines: next - begin };
}

/** `10m` ago, or a time such as `2026-11-25T08:30Z`; without a zone it is that of this host. */
export function parseSince(text: string, now: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  const at = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new UserError(
    `"${text}" is no time`,
    "Write how long ago, as in --since 10m, or when, as in --since 2026-11-25T08:30Z.",
  );
}
