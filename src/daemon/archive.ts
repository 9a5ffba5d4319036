/**
 * `.dstack/` out of a packed bundle, and nothing else of it. A drop is anybody's bytes: it is read as a
 * stream, within limits, and a path or a link that would lead somewhere else is refused, never followed.
 */
import { addAbortSignal, PassThrough, type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from "yauzl";
import { isCloudError, UserError } from "../errors.ts";

export type ArchiveLimits = {
  readonly entriesMax: number;
  /** Of the whole archive, unpacked. */
  readonly expandedBytesMax: number;
  readonly filesMax: number;
  /** Of each file that is kept. */
  readonly fileBytesMax: number;
};

export const ARCHIVE_LIMITS: ArchiveLimits = {
  entriesMax: 1_000_000,
  expandedBytesMax: 100e9,
  filesMax: 100,
  fileBytesMax: 1_048_576,
};

export type ArchiveOptions = {
  /** Ends the reading: what it throws is the signal's reason. */
  readonly signal: AbortSignal;
  readonly limits?: Partial<ArchiveLimits>;
};

/** A zip is read from its end. */
export type ZipSource = {
  readonly bytes: number;
  /** The bytes from `start` to `end`, both included, as `Store.open` and HTTP count them. */
  readonly read: (start: number, end: number) => Promise<AsyncIterable<Uint8Array>>;
};

const PACK_HINT = "pack the folder that holds .dstack, as in tar czf bundle.tgz -C myproject .";

/**
 * The YAML files of `.dstack/` in a gzipped tar, text by path. Throws UserError for an archive that is none,
 * that is cut off, that has no `.dstack/workflows.yaml`, or that is hostile.
 */
export async function readTarDotDstack(
  body: AsyncIterable<Uint8Array>,
  options: ArchiveOptions,
): Promise<ReadonlyMap<string, string>> {
  const keeper = makeKeeper(options.limits);
  const unpacked = extract();
  const entries = takeTarEntries(unpacked, keeper);
  // Whichever fails first is the cause; the other one's error follows from it.
  const feeding = pipeline(body, createGunzip(), countBytes(keeper), unpacked, {
    signal: options.signal,
  });
  const [fed, taken] = await Promise.allSettled([feeding, entries]);
  options.signal.throwIfAborted();
  const causes = [taken, fed].flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  if (causes.length > 0) throw refusal(causes, keeper);
  return keeper.finish();
}

/** The same of a zip. */
export async function readZipDotDstack(
  source: ZipSource,
  options: ArchiveOptions,
): Promise<ReadonlyMap<string, string>> {
  const keeper = makeKeeper(options.limits);
  const reader = new SourceReader(source, options.signal);
  try {
    const zip = await fromRandomAccessReaderPromise(reader, source.bytes);
    for await (const entry of zip.eachEntry()) {
      options.signal.throwIfAborted();
      keeper.countBytes(entry.uncompressedSize);
      await takeZipEntry(zip, entry, keeper, options.signal);
    }
  } catch (error) {
    options.signal.throwIfAborted();
    throw refusal([reader.failure, error].filter(Boolean), keeper);
  }
  return keeper.finish();
}

/** What is kept of an archive, and how much of it has gone by. */
type Keeper = {
  /** Throws UserError past the limit. */
  readonly countBytes: (bytes: number) => void;
  /** True where the entry's body is to be given to `keep`. Throws UserError for an entry that must not be. */
  readonly admits: (path: string, type: EntryType) => boolean;
  readonly keep: (path: string, body: AsyncIterable<Uint8Array>) => Promise<void>;
  readonly hasEntries: () => boolean;
  readonly finish: () => ReadonlyMap<string, string>;
};

type EntryType = "file" | "folder" | "link" | "other";

function makeKeeper(given: Partial<ArchiveLimits> = {}): Keeper {
  const limits = { ...ARCHIVE_LIMITS, ...given };
  const texts = new Map<string, string>();
  let entries = 0;
  let bytes = 0;
  let nested: string | undefined;
  return {
    countBytes: (more) => {
      bytes += more;
      if (bytes <= limits.expandedBytesMax) return;
      throw new UserError("the bundle is too large when unpacked", "Leave data out of it.");
    },
    admits: (name, type) => {
      entries += 1;
      if (entries > limits.entriesMax) {
        const message = `the bundle has more than ${limits.entriesMax} files`;
        throw new UserError(message, "Leave data and dependencies out of it.");
      }
      const path = innerPath(name);
      nested ??= /^([^/]+)\/\.dstack\/workflows\.ya?ml$/.exec(path)?.[1];
      const isOurs = path === ".dstack" || path.startsWith(".dstack/");
      if (isOurs) refuseSpecial(path, type);
      if (type !== "file" || !isRead(path)) return false;
      if (texts.size < limits.filesMax || texts.has(path)) return true;
      throw new UserError(`.dstack holds more than ${limits.filesMax} YAML files`, "Keep fewer.");
    },
    keep: async (name, body) => {
      const path = innerPath(name);
      texts.set(path, decode(path, await readAll(path, body, limits.fileBytesMax)));
    },
    hasEntries: () => entries > 0,
    finish: () => {
      if (texts.has(".dstack/workflows.yaml") || texts.has(".dstack/workflows.yml")) return texts;
      throw noWorkflows(entries, nested);
    },
  };
}

/** Nothing of `.dstack` may stand for something that is elsewhere. */
function refuseSpecial(path: string, type: EntryType): void {
  if (type === "file" || type === "folder") return;
  const message = `${shown(path)} is a link or a special file`;
  throw new UserError(message, "Put the file itself there: links in .dstack are not followed.");
}

/** What the compiler reads; macOS puts a `._` file beside each file that it packs. */
const isRead = (path: string): boolean =>
  /^\.dstack\/(?:providers\/)?(?!\._)[^/]+\.ya?ml$/.test(path);

function noWorkflows(entries: number, nested: string | undefined): UserError {
  if (entries === 0) return new UserError("the bundle is empty", sentence(PACK_HINT));
  if (nested === undefined) {
    return new UserError("the bundle has no .dstack/workflows.yaml", sentence(PACK_HINT));
  }
  return new UserError(
    `.dstack stands in the folder ${shown(nested)} of the bundle, not at its root`,
    `Pack what is in the folder and not the folder: tar czf bundle.tgz -C ${shown(nested)} .`,
  );
}

/** Without `./`, doubled and trailing slashes; a path that leads out of the bundle is refused. */
function innerPath(name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  const isOutside = name.startsWith("/") || parts.includes("..") || name.includes("\0");
  if (!isOutside) return parts.join("/");
  const message = `the bundle holds ${shown(name)}, a path that leads out of it`;
  throw new UserError(message, sentence(PACK_HINT));
}

async function readAll(
  path: string,
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new UserError(
        `${shown(path)} is larger than ${bytesMax} bytes`,
        "Move data out of it.",
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode(path: string, bytes: Buffer): string {
  try {
    // Takes a byte order mark away too.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UserError(`${shown(path)} is not UTF-8 text`, "Save it as UTF-8.", { cause });
  }
}

async function takeTarEntries(unpacked: ReturnType<typeof extract>, keeper: Keeper): Promise<void> {
  for await (const entry of unpacked) {
    const { name, type } = entry.header;
    if (keeper.admits(name, tarType(type))) await keeper.keep(name, bytesOf(entry));
    else entry.resume();
  }
}

/** An entry is a stream of its bytes; its type says only that it can be iterated. */
async function* bytesOf(entry: AsyncIterable<unknown>): AsyncIterable<Uint8Array> {
  for await (const chunk of entry) if (chunk instanceof Uint8Array) yield chunk;
}

function tarType(type: Header["type"]): EntryType {
  if (type === "file" || type === "contiguous-file") return "file";
  if (type === "directory") return "folder";
  return type === "link" || type === "symlink" ? "link" : "other";
}

function countBytes(keeper: Keeper): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        keeper.countBytes(chunk.length);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

async function takeZipEntry(
  zip: ZipFile,
  entry: Entry,
  keeper: Keeper,
  signal: AbortSignal,
): Promise<void> {
  if (!keeper.admits(entry.fileName, zipType(entry))) return;
  if (!entry.canDecodeFileData()) {
    const message = `${shown(entry.fileName)} is encrypted or compressed in a way nobody reads here`;
    throw new UserError(message, "Pack the bundle with zip -r bundle.zip . and no password.");
  }
  const body = await zip.openReadStreamPromise(entry);
  const stop = () => body.destroy();
  signal.addEventListener("abort", stop);
  try {
    await keeper.keep(entry.fileName, body);
  } finally {
    signal.removeEventListener("abort", stop);
    body.destroy();
  }
}

const FILE_TYPE_BITS = 0o170000;
const LINK = 0o120000;
const FOLDER = 0o040000;
const FILE = 0o100000;

/** The upper half of the attributes is a Unix mode where Unix made the archive, and 0 elsewhere. */
function zipType({ fileName, externalFileAttributes }: Entry): EntryType {
  const type = (externalFileAttributes >>> 16) & FILE_TYPE_BITS;
  if (type === LINK) return "link";
  if (fileName.endsWith("/") || type === FOLDER) return "folder";
  return type === 0 || type === FILE ? "file" : "other";
}

/** Ranges of the source as yauzl asks for them. */
class SourceReader extends RandomAccessReader {
  readonly #source: ZipSource;
  readonly #signal: AbortSignal;
  /** The source's own error: yauzl may tell of another that followed from it. */
  failure: unknown;

  constructor(source: ZipSource, signal: AbortSignal) {
    super();
    this.#source = source;
    this.#signal = signal;
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const stream = addAbortSignal(this.#signal, new PassThrough());
    this.#fill(stream, start, end).catch((error: unknown) => {
      this.failure ??= error;
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
    });
    return stream;
  }

  async #fill(stream: PassThrough, start: number, end: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (end <= start) return void stream.end();
    const body = await this.#source.read(start, end - 1);
    await pipeline(body, stream, { signal: this.#signal });
  }
}

/** The store's errors stay what they are; whatever else a reader of archives throws means a bad archive. */
function refusal(causes: readonly unknown[], keeper: Keeper): unknown {
  const own = causes.find((cause) => cause instanceof UserError || isCloudError(cause));
  if (own) return own;
  const [cause] = causes;
  const hint = sentence(`send a .tar.gz, .tgz or .zip; ${PACK_HINT}`);
  return keeper.hasEntries()
    ? new UserError("the bundle is cut off or damaged", "Pack and send it again.", { cause })
    : new UserError("the bundle is not an archive of its kind", hint, { cause });
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** A name from an archive, on one line and not too long. */
const shown = (name: string): string => JSON.stringify(name.slice(0, 100));
