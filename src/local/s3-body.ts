/** Bodies of the local S3 on their way to data files and back. None is held in memory unless it is small. */
import { createHash, randomUUID } from "node:crypto";
import { closeSync, openSync, readSync, writeFileSync } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { ApiError, type BodyStream, type LocalRequest } from "./http.ts";
import {
  badDigest,
  type Checksum,
  type ChecksumAlgorithm,
  checksumHeader,
  type ExpectedChecksum,
  type Hasher,
  makeHasher,
  readExpected,
} from "./s3-checksums.ts";
import type { S3Store, Segment } from "./s3-store.ts";

export type Received = {
  readonly segments: readonly Segment[];
  readonly bytes: number;
  readonly md5: string;
  readonly checksum: Checksum | undefined;
};

/** Up to this size one read is cheaper than a stream. */
const SMALL_BYTES = 128 << 10;
const READ_BYTES = 256 << 10;
/** Chunks come from the socket in 64 KiB; a write by another thread costs as much as several of them. */
const WRITE_BYTES = 256 << 10;
/** Memory that is new for each body makes V8 look for garbage all the time, which costs more than the copying. */
const spareBuffers: Buffer[] = [];
const SPARE_BUFFERS_MAX = 64;
/** AWS's limit for one PUT and for one part. */
const BODY_BYTES_MAX = 5 * 2 ** 30;

/**
 * Writes the body to a new data file and verifies all that was sent to verify it with. The file is nobody's until its segments are put
 * into the store; `discard` it otherwise. Throws ApiError, and then there is no file.
 */
export async function receiveBody(request: LocalRequest, store: S3Store): Promise<Received> {
  const expected = readExpected(request.headers);
  const expectedMd5 = readContentMd5(request.headers["content-md5"]);
  checkLength(request);
  const md5 = createHash("md5");
  const hasher = expected && makeHasher(expected.algorithm);
  const file = new DataFile(store);
  try {
    for await (const chunk of request.body as AsyncIterable<Buffer>) {
      md5.update(chunk);
      hasher?.update(chunk);
      await file.write(chunk);
      if (file.bytes > BODY_BYTES_MAX) throw tooLarge();
    }
    const sum = md5.digest();
    if (expectedMd5 && !expectedMd5.equals(sum)) throw badDigest("Content-MD5");
    const checksum = expected && checkSum(expected, hasher?.digest(), request);
    return {
      segments: await file.finish(),
      bytes: file.bytes,
      md5: sum.toString("hex"),
      checksum,
    };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** Removes what `receiveBody` wrote, when it is not wanted after all. */
export async function discardBody(received: Received, store: S3Store): Promise<void> {
  for (const { file } of received.segments) await rm(store.pathOf(file), { force: true });
}

/** Small bodies come whole, others as a stream; the files are kept until it is closed. */
export function readSegments(
  segments: readonly Segment[],
  store: S3Store,
): Uint8Array | BodyStream {
  const [only] = segments;
  if (only === undefined) return new Uint8Array();
  if (segments.length === 1 && only.bytes <= SMALL_BYTES) return readSmall(only, store);
  return {
    close: store.hold(segments),
    [Symbol.asyncIterator]: () => streamSegments(segments, store),
  };
}

/** MD5 in hex and, where asked for, the checksum of all the bytes. */
export async function hashSegments(
  segments: readonly Segment[],
  store: S3Store,
  algorithm: ChecksumAlgorithm | undefined,
): Promise<{ readonly md5: string; readonly checksum: Checksum | undefined }> {
  const release = store.hold(segments);
  try {
    const md5 = createHash("md5");
    const hasher: Hasher | undefined = algorithm && makeHasher(algorithm);
    for await (const chunk of streamSegments(segments, store)) {
      md5.update(chunk);
      hasher?.update(chunk);
    }
    const checksum: Checksum | undefined = algorithm &&
      hasher && { algorithm, type: "FULL_OBJECT", value: hasher.digest() };
    return { md5: md5.digest("hex"), checksum };
  } finally {
    release();
  }
}

/** The bytes from `start` on, `bytes` of them. */
export function sliceSegments(
  segments: readonly Segment[],
  { start, bytes }: { readonly start: number; readonly bytes: number },
): readonly Segment[] {
  const slice: Segment[] = [];
  let at = 0;
  for (const segment of segments) {
    const from = Math.max(start - at, 0);
    const to = Math.min(start + bytes - at, segment.bytes);
    if (to > from) {
      slice.push({ file: segment.file, start: segment.start + from, bytes: to - from });
    }
    at += segment.bytes;
  }
  return slice;
}

class DataFile {
  readonly #name = randomUUID();
  readonly #store: S3Store;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #handle: FileHandle | undefined;
  bytes = 0;

  constructor(store: S3Store) {
    this.#store = store;
  }

  async write(chunk: Buffer): Promise<void> {
    this.bytes += chunk.length;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= WRITE_BYTES) await this.#flush();
  }

  async finish(): Promise<readonly Segment[]> {
    if (this.bytes === 0) return [];
    if (this.#handle) {
      await this.#flush();
      await this.#handle.close();
    } else writeFileSync(this.#path, Buffer.concat(this.#waiting), { flag: "wx", mode: 0o600 });
    return [{ file: this.#name, start: 0, bytes: this.bytes }];
  }

  async discard(): Promise<void> {
    await this.#handle?.close().catch(() => {});
    await rm(this.#path, { force: true });
  }

  async #flush(): Promise<void> {
    this.#handle ??= await open(this.#path, "wx", 0o600);
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await writeFully(this.#handle, chunks);
  }

  get #path(): string {
    return this.#store.pathOf(this.#name);
  }
}

async function writeFully(handle: FileHandle, chunks: readonly Buffer[]): Promise<void> {
  let rest = [...chunks];
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest);
    rest = dropBytes(rest, bytesWritten);
  }
}

function dropBytes(chunks: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const dropped = Math.min(left, chunk.length);
    left -= dropped;
    return dropped < chunk.length ? [chunk.subarray(dropped)] : [];
  });
}

function readSmall(segment: Segment, store: S3Store): Uint8Array {
  const fd = openSync(store.pathOf(segment.file), "r");
  try {
    const buffer = Buffer.alloc(segment.bytes);
    const read = readSync(fd, buffer, 0, segment.bytes, segment.start);
    if (read !== segment.bytes) throw cutShort(segment);
    return buffer;
  } finally {
    closeSync(fd);
  }
}

/** A chunk is valid until the next one is asked for. */
async function* streamSegments(
  segments: readonly Segment[],
  store: S3Store,
): AsyncGenerator<Buffer> {
  const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES);
  for (const segment of segments) {
    const handle = await open(store.pathOf(segment.file), "r");
    try {
      let left = segment.bytes;
      while (left > 0) {
        const at = segment.start + segment.bytes - left;
        const { bytesRead } = await handle.read(buffer, 0, Math.min(left, READ_BYTES), at);
        if (bytesRead === 0) throw cutShort(segment);
        left -= bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }
  // Not after an error or a hang-up: then the system may be sending it still.
  if (spareBuffers.length < SPARE_BUFFERS_MAX) spareBuffers.push(buffer);
}

const cutShort = (segment: Segment): Error =>
  new Error(`data file ${segment.file} is shorter than the index says`);

/** S3 wants to know the size before the body. */
function checkLength(request: LocalRequest): void {
  const length =
    request.headers["x-amz-decoded-content-length"] ?? request.headers["content-length"];
  if (length === undefined) {
    throw new ApiError(
      411,
      "MissingContentLength",
      "You must provide the Content-Length HTTP header.",
    );
  }
  if (Number(length) > BODY_BYTES_MAX) throw tooLarge();
}

const tooLarge = (): ApiError =>
  new ApiError(
    400,
    "EntityTooLarge",
    "Your proposed upload exceeds the maximum allowed size: upload it in parts",
  );

export function readContentMd5(header: string | string[] | undefined): Buffer | undefined {
  if (header === undefined) return undefined;
  const bytes = Buffer.from(String(header), "base64");
  if (bytes.length === 16) return bytes;
  throw new ApiError(400, "InvalidDigest", "The Content-MD5 you specified is not valid.");
}

function checkSum(
  expected: ExpectedChecksum,
  value: string | undefined,
  request: LocalRequest,
): Checksum {
  const given = expected.value ?? request.trailers.get(checksumHeader(expected.algorithm));
  if (value === undefined || given !== value) throw badDigest(expected.algorithm);
  return { algorithm: expected.algorithm, type: "FULL_OBJECT", value };
}
