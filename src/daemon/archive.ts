/**
 * `.dstack/` out of a packed bundle, and nothing else of it. A drop is anybody's bytes: it is read as a
 * stream, within limits, and a path or a link that would lead somewhere else is refused, never followed.
 */
import { posix } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { type Entry, fromRandomAccessReaderPromise, type ZipFile } from "yauzl";
import { isCloudError, UserError } from "../errors.ts";
import { type ZipSource, ZipSourceReader } from "./zip-source.ts";

export type ArchiveLimits = {
  readonly entriesMax: number;
  /** Of the whole archive, unpacked or as it says of itself. */
  readonly expandedBytesMax: number;
  /** How many times its own size an archive may become, once it has become larger than `bombBytes`. */
  readonly ratioMax: number;
  readonly bombBytes: number;
  readonly filesMax: number;
  /** Of all files that are kept: reading YAML takes long. */
  readonly textBytesMax: number;
  /** An archive of more than this is a long one. */
  readonly longBytes: number;
  readonly longEntries: number;
};

export const ARCHIVE_LIMITS: ArchiveLimits = {
  entriesMax: 250_000,
  expandedBytesMax: 10e9,
  ratioMax: 100,
  bombBytes: 1e9,
  filesMax: 100,
  textBytesMax: 1_048_576,
  longBytes: 64e6,
  longEntries: 5_000,
};

export type ArchiveOptions = {
  /** Ends the reading: what it throws is the signal's reason. */
  readonly signal: AbortSignal;
  readonly limits?: Partial<ArchiveLimits>;
  /** Called once of an archive that turns out to be long; it is read on when the promise resolves. */
  readonly goAside?: () => Promise<void>;
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
  const keeper = makeKeeper(options);
  const unpacked = extract();
  const entries = takeTarEntries(unpacked, keeper);
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const packed = passing((chunk) => keeper.countPacked(chunk.length));
  const counted = passing((chunk) => {
    keeper.countBytes(chunk.length);
    keeper.checkHeaders();
    return keeper.asideIfLong();
  });
  // Whichever fails first is the cause; the other one's error follows from it.
  const feeding = pipeline(body, packed, gunzip, counted, unpacked, { signal: options.signal });
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
  const keeper = makeKeeper(options);
  keeper.countPacked(source.bytes);
  const reader = new ZipSourceReader(source, options.signal);
  const stop = () => reader.breakOff(options.signal.reason);
  options.signal.addEventListener("abort", stop);
  try {
    await Promise.race([takeZipEntries(reader, source.bytes, keeper, options), reader.broken]);
  } catch (error) {
    options.signal.throwIfAborted();
    throw refusal([reader.failure, error].filter(Boolean), keeper);
  } finally {
    options.signal.removeEventListener("abort", stop);
  }
  return keeper.finish();
}

/** Larger than zlib's own: each costs a turn of the event loop. */
const CHUNK_BYTES = 65_536;
/** Of a tar. */
const BLOCK = 512;
/** Long names and attributes stand in headers of their own, which are read whole. Some of it is what is unpacked ahead. */
const HEADER_BYTES = 1_048_576;
const HEADER_BYTES_PER_ENTRY = 4_096;
/** Entries of a zip come from memory: others get a turn after so many. */
const ENTRIES_PER_TURN = 200;

/** What is kept of an archive, and how much of it has gone by. */
type Keeper = {
  readonly countPacked: (bytes: number) => void;
  /** Of what was unpacked. Throws UserError past the limit. */
  readonly countBytes: (bytes: number) => void;
  /** Of what an entry says that it has. Throws UserError past the limit. */
  readonly countDeclared: (bytes: number) => void;
  /** Of a tar: throws UserError when far more has come by than files and their own headers. */
  readonly checkHeaders: () => void;
  readonly asideIfLong: () => Promise<void>;
  /** True where the entry's body is to be given to `keep`. Throws UserError for an entry that must not be. */
  readonly admits: (path: string, type: EntryType) => boolean;
  readonly keep: (path: string, body: AsyncIterable<Uint8Array>) => Promise<void>;
  readonly hasEntries: () => boolean;
  readonly finish: () => ReadonlyMap<string, string>;
};

type EntryType = "file" | "folder" | "link" | "other";

function makeKeeper({ limits: given, goAside }: ArchiveOptions): Keeper {
  const limits = { ...ARCHIVE_LIMITS, ...given };
  const texts = new Map<string, string>();
  const count = makeCount(limits);
  let entries = 0;
  let isAside = goAside === undefined;
  let nested: string | undefined;
  return {
    ...count,
    checkHeaders: () => {
      const allowed = HEADER_BYTES + (HEADER_BYTES_PER_ENTRY + BLOCK) * entries;
      if (count.outsideOfFiles() <= allowed) return;
      const message = "the bundle holds more than a megabyte of headers or padding";
      throw new UserError(message, "Pack it with plain tar, without extended attributes.");
    },
    asideIfLong: async () => {
      if (isAside || (count.unpacked() < limits.longBytes && entries < limits.longEntries)) return;
      isAside = true;
      await goAside?.();
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
      texts.delete(path);
      const left = limits.textBytesMax - byteLength(texts.values());
      texts.set(path, decode(path, await readAll(body, left, limits.textBytesMax)));
    },
    hasEntries: () => entries > 0,
    finish: () => {
      if (texts.has(".dstack/workflows.yaml") || texts.has(".dstack/workflows.yml")) return texts;
      throw noWorkflows(entries, nested);
    },
  };
}

function makeCount(limits: ArchiveLimits) {
  let packed = 0;
  let unpacked = 0;
  let declared = 0;
  let blocks = 0;
  const check = (bytes: number): void => {
    if (bytes > limits.expandedBytesMax) {
      const message = `the bundle is larger than ${limits.expandedBytesMax / 1e9} GB when unpacked`;
      throw new UserError(message, "Leave data out of it.");
    }
    if (bytes <= limits.bombBytes || bytes <= packed * limits.ratioMax) return;
    const message = `the bundle becomes more than ${limits.ratioMax} times its size when unpacked`;
    throw new UserError(message, "Leave out of it what is mostly empty.");
  };
  return {
    countPacked: (more: number) => {
      packed += more;
    },
    countBytes: (more: number) => {
      unpacked += more;
      check(unpacked);
    },
    countDeclared: (more: number) => {
      declared += more;
      blocks += Math.ceil(more / BLOCK);
      check(declared);
    },
    outsideOfFiles: () => unpacked - blocks * BLOCK,
    unpacked: () => Math.max(unpacked, declared),
  };
}

const byteLength = (texts: Iterable<string>): number =>
  [...texts].reduce((sum, text) => sum + Buffer.byteLength(text), 0);

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
  throw leadsOut(name);
}

const leadsOut = (name: string): UserError =>
  new UserError(
    `the bundle holds ${shown(name)}, a path that leads out of it`,
    sentence(PACK_HINT),
  );

async function readAll(
  body: AsyncIterable<Uint8Array>,
  left: number,
  bytesMax: number,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > left) {
      const message = `the YAML files of .dstack are larger than ${bytesMax} bytes together`;
      throw new UserError(message, "Move data out of them.");
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
    const { name, type, size, linkname } = entry.header;
    const isKept = keeper.admits(name, tarType(type));
    refuseUnrunnable(name, type, linkname ?? "");
    // Before its body comes: of a bomb there is much.
    keeper.countDeclared(size ?? 0);
    await keeper.asideIfLong();
    if (isKept) await keeper.keep(name, bytesOf(entry));
    else entry.resume();
  }
}

/** What no machine will unpack is refused before one is rented. */
function refuseUnrunnable(name: string, type: Header["type"], target: string): void {
  if (type === "character-device" || type === "block-device" || type === "fifo") {
    const message = `the bundle holds ${shown(name)}, which is no file, folder or link`;
    throw new UserError(message, "Leave it out.");
  }
  if (type !== "link" && type !== "symlink") return;
  const end = posix.normalize(
    type === "symlink" ? posix.join(posix.dirname(name), target) : target,
  );
  if (!target.startsWith("/") && end !== ".." && !end.startsWith("../")) return;
  const message = `the link ${shown(name)} points out of the bundle, to ${shown(target)}`;
  throw new UserError(message, "Put what it stands for into the bundle, or leave it out.");
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

/** Passes on what goes by once `look` has done with it. */
const passing = (look: (chunk: Buffer) => Promise<void> | void): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const looked = async () => look(chunk);
      looked().then(
        () => done(null, chunk),
        (error: unknown) => done(error as Error),
      );
    },
  });

async function takeZipEntries(
  reader: ZipSourceReader,
  bytes: number,
  keeper: Keeper,
  { signal }: ArchiveOptions,
): Promise<void> {
  const zip = await fromRandomAccessReaderPromise(reader, bytes);
  let left = ENTRIES_PER_TURN;
  for await (const entry of zip.eachEntry()) {
    signal.throwIfAborted();
    keeper.countDeclared(entry.uncompressedSize);
    await keeper.asideIfLong();
    await takeZipEntry(zip, entry, keeper, signal);
    left -= 1;
    if (left > 0) continue;
    await nextTurn();
    left = ENTRIES_PER_TURN;
  }
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

/** yauzl looks at names itself, before anybody else sees them. */
const YAUZL_OUTSIDE = /^(?:absolute path|invalid relative path): (?<name>.+)$/s;

/** The store's errors stay what they are; whatever else a reader of archives throws means a bad archive. */
function refusal(causes: readonly unknown[], keeper: Keeper): unknown {
  const own = causes.find((cause) => cause instanceof UserError || isCloudError(cause));
  if (own) return own;
  const [cause] = causes;
  const outside = cause instanceof Error && YAUZL_OUTSIDE.exec(cause.message)?.groups?.name;
  if (outside) return leadsOut(outside);
  const hint = sentence(`send a .tar.gz, .tgz or .zip; ${PACK_HINT}`);
  return keeper.hasEntries()
    ? new UserError("the bundle is cut off or damaged", "Pack and send it again.", { cause })
    : new UserError("the bundle is not an archive of its kind", hint, { cause });
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** A name from an archive, on one line and not too long. */
const shown = (name: string): string => JSON.stringify(name.slice(0, 100));
