/** One attempt's log as one continuous text, read from chunks that are keyed by their first line's number. */
import { key } from "../core/layout.ts";
import type { Store } from "../ports.ts";

export type AttemptName = { readonly run: string; readonly job: string; readonly number: number };

/** Chunks read ahead; each is at most 4 MiB but for one long line. */
const CHUNKS_AT_ONCE = 4;

/** Returns a function that gives the lines that have come since it was last called, without their newlines. */
export function readLog(
  store: Store,
  attempt: AttemptName,
): () => AsyncGenerator<readonly string[]> {
  const folder = key.log(attempt.run, attempt.job, attempt.number);
  let lastKey: string | undefined;
  let nextLine = 1;

  /** What of a chunk has not been read yet. Line numbers decide, so no line comes twice and a gap is told. */
  function take(firstLine: number, text: string): string[] {
    // Only the last chunk of a log may end without a newline: what it ends with is a line all the same.
    const lines = text.split("\n");
    if (lines.at(-1) === "") lines.pop();
    const missing = firstLine > nextLine ? [missingLines(nextLine, firstLine - 1)] : [];
    const news = lines.slice(Math.max(0, nextLine - firstLine));
    nextLine = Math.max(nextLine, firstLine + lines.length);
    return [...missing, ...news];
  }

  return async function* read() {
    const infos = await store.list(folder, lastKey === undefined ? {} : { after: lastKey });
    const chunks = infos.filter((info) => /^\d+$/.test(info.key.slice(folder.length)));
    for (let at = 0; at < chunks.length; at += CHUNKS_AT_ONCE) {
      const some = chunks.slice(at, at + CHUNKS_AT_ONCE);
      const objects = await Promise.all(some.map((chunk) => store.find(chunk.key)));
      for (const object of objects) {
        if (!object) continue;
        lastKey = object.key;
        yield take(Number(object.key.slice(folder.length)), new TextDecoder().decode(object.body));
      }
    }
  };
}

const missingLines = (first: number, last: number): string =>
  first === last
    ? `errand: line ${first} was not uploaded`
    : `errand: lines ${first} to ${last} were not uploaded`;
