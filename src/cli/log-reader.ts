/** One attempt's durable log, read from chunks that are keyed by their first line's number. */
import { key } from "../core/layout.ts";
import type { Store } from "../ports.ts";
import { createLogPosition } from "./log-position.ts";

export type AttemptName = { readonly run: string; readonly job: string; readonly number: number };

/** Lines without their newlines. */
export type LogChunk = { readonly firstLine: number; readonly lines: readonly string[] };

/** Chunks read ahead; each is at most 4 MiB but for one long line. */
const CHUNKS_AT_ONCE = 4;

/** Returns a function that gives the chunks that have come since it was last called. */
export function readChunks(
  store: Store,
  attempt: AttemptName,
): () => AsyncGenerator<LogChunk, void, void> {
  const folder = key.log(attempt.run, attempt.job, attempt.number);
  let lastKey: string | undefined;
  return async function* read() {
    const infos = await store.list(folder, lastKey === undefined ? {} : { after: lastKey });
    const chunks = infos.filter((info) => /^\d+$/.test(info.key.slice(folder.length)));
    for (let at = 0; at < chunks.length; at += CHUNKS_AT_ONCE) {
      const some = chunks.slice(at, at + CHUNKS_AT_ONCE);
      const objects = await Promise.all(some.map((chunk) => store.find(chunk.key)));
      for (const object of objects) {
        if (!object) continue;
        lastKey = object.key;
        const firstLine = Number(object.key.slice(folder.length));
        yield { firstLine, lines: splitLines(object.body) };
      }
    }
  };
}

/** Returns a function that gives the lines that have come since it was last called, as one continuous text. */
export function readLog(
  store: Store,
  attempt: AttemptName,
): () => AsyncGenerator<readonly string[], void, void> {
  const read = readChunks(store, attempt);
  const position = createLogPosition();
  return async function* readLines() {
    for await (const { firstLine, lines } of read()) yield position.take(firstLine, lines);
  };
}

/** Only the last chunk of a log may end without a newline: what it ends with is a line all the same. */
function splitLines(body: Uint8Array): string[] {
  // A byte order mark is the job's, wherever a chunk begins.
  const lines = new TextDecoder("utf-8", { ignoreBOM: true }).decode(body).split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
