/**
 * Bodies as they were signed: hashed whole, not at all, or in chunks (`aws-chunked`) with checksums trailing.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
 */
import { createHash, type Hash } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { PassThrough, Transform, type TransformCallback } from "node:stream";
import { ApiError, notImplemented } from "./http.ts";
import { type ChunkSigning, hmac, sha256, type Verified } from "./signature.ts";

export type Payload = { readonly body: Transform; readonly trailers: ReadonlyMap<string, string> };

/** A line of a chunk's head or of a trailer is far shorter than this. */
const LINE_BYTES_MAX = 4096;
const TRAILERS_MAX = 16;
const EMPTY_SHA256 = sha256("");

/**
 * The decoded body. It errs with ApiError at its end when it is not what was signed, so whoever stores it must read it to the
 * end before trusting it. Giving it up early leaves the request itself alive, so that it can still be answered.
 */
export function openPayload(raw: IncomingMessage, verified: Verified): Payload {
  const decoder = makeDecoder(raw.headers, verified);
  raw.on("error", (error) => decoder.body.destroy(error));
  raw.once("close", () => {
    if (!raw.complete)
      decoder.body.destroy(new Error("the caller hung up in the middle of a body"));
  });
  raw.pipe(decoder.body);
  return decoder;
}

function makeDecoder(headers: IncomingHttpHeaders, verified: Verified): Payload {
  const none = new Map<string, string>();
  if (/^[0-9a-f]{64}$/.test(verified.payload)) {
    return { body: new HashedBody(verified.payload), trailers: none };
  }
  switch (verified.payload) {
    case "UNSIGNED-PAYLOAD":
      return { body: new PassThrough(), trailers: none };
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return decodeChunks(headers, undefined);
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return decodeChunks(headers, verified.chunkSigning);
    default:
      throw notImplemented(`x-amz-content-sha256: ${verified.payload}`);
  }
}

function decodeChunks(
  headers: IncomingHttpHeaders,
  signing: ChunkSigning | undefined,
): { body: Transform; trailers: ReadonlyMap<string, string> } {
  const length = headers["x-amz-decoded-content-length"];
  if (typeof length !== "string" || !/^\d+$/.test(length)) {
    throw new ApiError(
      411,
      "MissingContentLength",
      "an aws-chunked body needs the header x-amz-decoded-content-length",
    );
  }
  const body = new ChunkedBody({ bytesExpected: Number(length), signing });
  return { body, trailers: body.trailers };
}

class HashedBody extends Transform {
  readonly #hash = createHash("sha256");
  readonly #expected: string;

  constructor(expected: string) {
    super();
    this.#expected = expected;
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    this.#hash.update(chunk);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    done(this.#hash.digest("hex") === this.#expected ? null : hashMismatch());
  }
}

type Stage = "head" | "data" | "data-end" | "trailers" | "done";

class ChunkedBody extends Transform {
  readonly trailers = new Map<string, string>();
  readonly #bytesExpected: number;
  readonly #signing: ChunkSigning | undefined;
  #stage: Stage = "head";
  #line = "";
  #bytesLeft = 0;
  #bytesDecoded = 0;
  #hash: Hash = createHash("sha256");
  #chunkSignature = "";
  #previousSignature: string;

  constructor(options: {
    readonly bytesExpected: number;
    readonly signing: ChunkSigning | undefined;
  }) {
    super();
    this.#bytesExpected = options.bytesExpected;
    this.#signing = options.signing;
    this.#previousSignature = options.signing?.seed ?? "";
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    try {
      let rest = chunk;
      while (rest.length > 0) {
        rest = this.#stage === "data" ? this.#takeData(rest) : this.#takeLine(rest);
      }
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    const isWhole = this.#stage === "done" && this.#bytesDecoded === this.#bytesExpected;
    const message = `${this.#bytesDecoded} B came of the ${this.#bytesExpected} B that x-amz-decoded-content-length promised`;
    done(isWhole ? null : new ApiError(400, "IncompleteBody", message));
  }

  #takeData(input: Buffer): Buffer {
    const data = input.subarray(0, this.#bytesLeft);
    this.#bytesLeft -= data.length;
    this.#bytesDecoded += data.length;
    if (this.#signing) this.#hash.update(data);
    this.push(data);
    if (this.#bytesLeft === 0) this.#stage = "data-end";
    return input.subarray(data.length);
  }

  #takeLine(input: Buffer): Buffer {
    const end = input.indexOf(0x0a);
    this.#line += input.toString("latin1", 0, end < 0 ? input.length : end);
    if (this.#line.length > LINE_BYTES_MAX) throw badChunk("a line is too long");
    if (end < 0) return input.subarray(input.length);
    const line = this.#line.replace(/\r$/, "");
    this.#line = "";
    this.#readLine(line);
    return input.subarray(end + 1);
  }

  #readLine(line: string): void {
    if (this.#stage === "head") this.#readHead(line);
    else if (this.#stage === "trailers") this.#readTrailer(line);
    else if (line !== "") throw badChunk("bytes after a chunk's end");
    else if (this.#stage === "data-end") {
      this.#checkChunk();
      this.#stage = "head";
    }
  }

  #readHead(line: string): void {
    const parts = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
    if (!parts) throw badChunk(`${JSON.stringify(line.slice(0, 80))} is no chunk's head`);
    this.#bytesLeft = Number.parseInt(parts[1] ?? "0", 16);
    this.#chunkSignature = parts[2] ?? "";
    this.#hash = createHash("sha256");
    if (this.#bytesLeft > 0) {
      this.#stage = "data";
      return;
    }
    this.#checkChunk();
    this.#stage = "trailers";
  }

  #readTrailer(line: string): void {
    if (line === "") {
      this.#checkTrailers();
      this.#stage = "done";
      return;
    }
    const colon = line.indexOf(":");
    if (colon < 1) throw badChunk(`${JSON.stringify(line.slice(0, 80))} is no trailing header`);
    if (this.trailers.size >= TRAILERS_MAX) throw badChunk("too many trailing headers");
    this.trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }

  #checkChunk(): void {
    const signing = this.#signing;
    if (!signing) return;
    const hash = this.#hash.digest("hex");
    this.#checkSignature(
      `AWS4-HMAC-SHA256-PAYLOAD\n${signing.timestamp}\n${signing.scope}\n${this.#previousSignature}\n${EMPTY_SHA256}\n${hash}`,
      this.#chunkSignature,
    );
  }

  #checkTrailers(): void {
    const signing = this.#signing;
    const signature = this.trailers.get("x-amz-trailer-signature");
    this.trailers.delete("x-amz-trailer-signature");
    if (!signing || this.trailers.size === 0) return;
    const lines = [...this.trailers].map(([name, value]) => `${name}:${value}\n`).join("");
    this.#checkSignature(
      `AWS4-HMAC-SHA256-TRAILER\n${signing.timestamp}\n${signing.scope}\n${this.#previousSignature}\n${sha256(lines)}`,
      signature ?? "",
    );
  }

  #checkSignature(toSign: string, given: string): void {
    const signature = this.#signing ? hmac(this.#signing.key, toSign).toString("hex") : given;
    if (signature !== given) {
      throw new ApiError(
        403,
        "SignatureDoesNotMatch",
        "The signature of a chunk of the body does not match what was computed.",
      );
    }
    this.#previousSignature = signature;
  }
}

export const hashMismatch = (): ApiError =>
  new ApiError(
    400,
    "XAmzContentSHA256Mismatch",
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
  );

const badChunk = (why: string): ApiError =>
  new ApiError(400, "InvalidRequest", `the aws-chunked body cannot be read: ${why}`);
