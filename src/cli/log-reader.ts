/** One attempt's durable log: chunks that are keyed by their first line's number. */

import { key, logChunk } from "../core/layout.ts";
import type { LogLine } from "../core/log-lines.ts";
import type { ObjectInfo, Store, StoredObject } from "../ports.ts";
import { readTimes } from "./log-times.ts";

export type AttemptName = { readonly run: string; readonly job: string; readonly number: number };

export type LogChunk = { readonly firstLine: number; readonly lines: readonly LogLine[] };

/** `latin1` keeps every byte, for a reader that writes them all as they were. */
export type LogEncoding = "utf8" | "latin1";

export type LogReaderOptions = {
  readonly encoding?: LogEncoding;
  /** The first line of the first chunk that is read; the log's first one by default. */
  readonly from?: number;
};

/** Chunks read ahead; each is at most 4 MiB but for one long line. */
const CHUNKS_AT_ONCE = 4;

/** Returns a function that gives the chunks that have come since it was last called. */
export function readChunks(
  store: Store,
  attempt: AttemptName,
  { encoding = "utf8", from = 1 }: LogReaderOptions = {},
): () => AsyncGenerator<LogChunk, void, void> {
  let lastKey = from > 1 ? folderOf(attempt) + logChunk(from - 1) : undefined;
  return async function* read() {
    const chunks = await listChunks(store, attempt, lastKey);
    for (let at = 0; at < chunks.length; at += CHUNKS_AT_ONCE) {
      const some = chunks.slice(at, at + CHUNKS_AT_ONCE);
      const objects = await Promise.all(some.map((chunk) => store.find(chunk.key)));
      for (const object of objects) {
        if (!object) continue;
        lastKey = object.key;
        yield readChunk(object, encoding);
      }
    }
  };
}

/** Those after a key, in the order of their lines. */
export async function listChunks(
  store: Store,
  attempt: AttemptName,
  after?: string,
): Promise<readonly ObjectInfo[]> {
  const folder = folderOf(attempt);
  const infos = await store.list(folder, after === undefined ? {} : { after });
  return infos.filter((info) => /^\d+$/.test(info.key.slice(folder.length)));
}

export const firstLineOf = ({ key: name }: Pick<ObjectInfo, "key">): number =>
  Number(name.slice(name.lastIndexOf("/") + 1));

export function readChunk(object: StoredObject, encoding: LogEncoding = "utf8"): LogChunk {
  const texts = decode(object.body, encoding).split("\n");
  // Only the last chunk of a log may end without a newline: what it ends with is a line all the same.
  const isCut = texts.at(-1) !== "";
  if (!isCut) texts.pop();
  const times = readTimes(object.metadata.times, texts.length);
  const lines = texts.map((text, index): LogLine => ({ at: times[index] ?? null, text }));
  const last = lines.at(-1);
  if (isCut && last) lines[lines.length - 1] = { ...last, isCut };
  return { firstLine: firstLineOf(object), lines };
}

function decode(body: Uint8Array, encoding: LogEncoding): string {
  if (encoding === "latin1") return Buffer.from(body).toString("latin1");
  // A byte order mark is the job's, wherever a chunk begins.
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(body);
}

const folderOf = ({ run, job, number }: AttemptName): string => key.log(run, job, number);
