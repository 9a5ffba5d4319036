/**
 * An append-only file of JSON lines, each with its checksum: the durable state of a service. An entry counts once its line is
 * in the file; the page cache survives kill -9 of the process, and a line that it cut short is dropped at the next start.
 */
import {
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { crc32 } from "node:zlib";

export type Journal<Entry> = {
  /** Durable when it returns. Throws what the file system throws, and then nothing has been written. */
  append(entry: Entry): void;
  close(): void;
};

export type JournalState<Entry> = {
  readonly path: string;
  /** Called for each entry at the start, in order. */
  apply(entry: Entry): void;
  /** Entries that say together what all entries applied so far have said. */
  snapshot(): Iterable<Entry>;
  /** Rewriting waits for this many lines, and then until most of them say nothing any more. 10,000 unless told. */
  readonly rewriteLinesMin?: number | undefined;
};

const REWRITE_LINES_MIN = 10_000;
const REWRITE_RATIO = 4;
const BATCH_BYTES = 1 << 20;

/** Reads and applies what is there. The file is rewritten whenever it has grown much longer than its meaning. */
export function openJournal<Entry>(state: JournalState<Entry>): Journal<Entry> {
  let fd = openSync(state.path, constants.O_RDWR | constants.O_CREAT, 0o600);
  let size = replay(fd, state);
  ftruncateSync(fd, size.bytes);
  const linesMin = state.rewriteLinesMin ?? REWRITE_LINES_MIN;
  let linesMax = linesMin;
  let isClosed = false;

  const rewriteWhenLong = (): void => {
    if (size.lines < linesMax) return;
    const path = `${state.path}.new`;
    const next = openSync(path, "w", 0o600);
    try {
      size = writeAll(next, state.snapshot());
      renameSync(path, state.path);
    } catch (error) {
      closeSync(next);
      throw error;
    }
    closeSync(fd);
    fd = next;
    linesMax = Math.max(linesMin, size.lines * REWRITE_RATIO);
  };
  rewriteWhenLong();

  return {
    append(entry) {
      if (isClosed) throw new Error(`writing ${state.path}: it is closed`);
      rewriteWhenLong();
      const line = Buffer.from(formatLine(entry));
      writeFully(fd, line, size.bytes);
      size = { bytes: size.bytes + line.length, lines: size.lines + 1 };
    },
    close() {
      isClosed = true;
      closeSync(fd);
    },
  };
}

type Size = { readonly bytes: number; readonly lines: number };

/** How much of the file is whole lines. A bad line that others follow was not cut short, so the file is damaged. */
function replay<Entry>(fd: number, state: JournalState<Entry>): Size {
  const buffer = Buffer.alloc(BATCH_BYTES);
  let rest = Buffer.alloc(0);
  let size: Size = { bytes: 0, lines: 0 };
  for (let position = 0; ; ) {
    const read = readSync(fd, buffer, 0, buffer.length, position);
    if (read === 0) return size;
    position += read;
    const text = Buffer.concat([rest, buffer.subarray(0, read)]);
    let start = 0;
    for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, start)) {
      const line = text.toString("utf8", start, end);
      if (formatChecksum(line.slice(9)) !== line.slice(0, 8)) {
        throw new Error(
          `reading ${state.path}: line ${size.lines + 1} is damaged at byte ${size.bytes}`,
        );
      }
      state.apply(JSON.parse(line.slice(9)) as Entry);
      size = { bytes: size.bytes + end + 1 - start, lines: size.lines + 1 };
      start = end + 1;
    }
    rest = text.subarray(start);
  }
}

function writeAll<Entry>(fd: number, entries: Iterable<Entry>): Size {
  let [bytes, lines, batch] = [0, 0, ""];
  const flush = (): void => {
    const buffer = Buffer.from(batch);
    writeFully(fd, buffer, bytes);
    bytes += buffer.length;
    batch = "";
  };
  for (const entry of entries) {
    batch += formatLine(entry);
    lines += 1;
    if (batch.length >= BATCH_BYTES) flush();
  }
  flush();
  return { bytes, lines };
}

/** All of it or, on a full disk, nothing: half a line in the middle would make the file unreadable. */
function writeFully(fd: number, buffer: Buffer, position: number): void {
  let written = 0;
  try {
    while (written < buffer.length) {
      written += writeSync(fd, buffer, written, buffer.length - written, position + written);
    }
  } catch (error) {
    ftruncateSync(fd, position);
    throw error;
  }
}

function formatLine(entry: unknown): string {
  const json = JSON.stringify(entry);
  return `${formatChecksum(json)} ${json}\n`;
}

const formatChecksum = (json: string): string => crc32(json).toString(16).padStart(8, "0");
