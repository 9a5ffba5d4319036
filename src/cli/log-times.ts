/** When the lines of a chunk began: in the chunk's metadata, as docs/formats.md has it. */
import { inflateSync } from "node:zlib";

/** Two kilobytes of metadata hold a few thousand spans; nobody's mistake shall cost more. */
const TEXT_BYTES_MAX = 1 << 20;

/** One for each line, in milliseconds; null for those that the metadata does not tell. Never throws: a log can be read without. */
export function readTimes(encoded: string | undefined, lines: number): (number | null)[] {
  const times: (number | null)[] = [];
  let at = 0;
  for (const span of inflate(encoded ?? "").split("\n")) {
    const [, since, count] = /^(-?\d+) (\d+)$/.exec(span) ?? [];
    if (count === undefined) break;
    at += Number(since);
    for (let left = Number(count); left > 0 && times.length < lines; left--) times.push(at);
  }
  while (times.length < lines) times.push(null);
  return times;
}

function inflate(encoded: string): string {
  if (encoded === "") return "";
  try {
    const bytes = inflateSync(Buffer.from(encoded, "base64"), { maxOutputLength: TEXT_BYTES_MAX });
    return bytes.toString("latin1");
  } catch {
    return "";
  }
}
