/** The checksums that S3 verifies on the way in and gives back. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { crc32 } from "node:zlib";
import { type Crc64, crc32c, crc64nvme } from "./crc.ts";
import { ApiError } from "./http.ts";

export type ChecksumAlgorithm = "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256";
export type ChecksumType = "COMPOSITE" | "FULL_OBJECT";

export type Checksum = {
  readonly algorithm: ChecksumAlgorithm;
  readonly type: ChecksumType;
  /** Base64; of a composite one `-<number of parts>` follows. */
  readonly value: string;
};

const ALGORITHMS: readonly ChecksumAlgorithm[] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

export const checksumHeader = (algorithm: ChecksumAlgorithm): string =>
  `x-amz-checksum-${algorithm.toLowerCase()}`;

/** The element's name in XML, such as `ChecksumCRC32`. */
export const checksumElement = (algorithm: ChecksumAlgorithm): string => `Checksum${algorithm}`;

export const CHECKSUM_HEADERS: readonly string[] = ALGORITHMS.map(checksumHeader);
export const CHECKSUM_ELEMENTS: readonly (readonly [ChecksumAlgorithm, string])[] = ALGORITHMS.map(
  (algorithm) => [algorithm, checksumElement(algorithm)],
);

/** Undefined where the header is not there. Throws ApiError for a word that is none of AWS's. */
export function readAlgorithm(name: string | undefined): ChecksumAlgorithm | undefined {
  if (name === undefined) return undefined;
  const found = ALGORITHMS.find((algorithm) => algorithm === name.toUpperCase());
  if (!found) throw invalidRequest(`"${name}" is no checksum algorithm`);
  return found;
}

/** What the sender says of its body. The value of a trailing one comes only with the body's end. */
export type ExpectedChecksum = {
  readonly algorithm: ChecksumAlgorithm;
  readonly value: string | undefined;
};

/** Throws ApiError for two checksums, and for an algorithm without a checksum. */
export function readExpected(headers: IncomingHttpHeaders): ExpectedChecksum | undefined {
  const inHeaders = ALGORITHMS.filter(
    (algorithm) => headers[checksumHeader(algorithm)] !== undefined,
  );
  const inTrailer = ALGORITHMS.filter(
    (algorithm) => headers["x-amz-trailer"] === checksumHeader(algorithm),
  );
  if (inHeaders.length + inTrailer.length > 1) {
    throw invalidRequest("Expecting a single x-amz-checksum- header");
  }
  const [trailing] = inTrailer;
  if (trailing) return { algorithm: trailing, value: undefined };
  const [algorithm] = inHeaders;
  if (algorithm) return { algorithm, value: String(headers[checksumHeader(algorithm)]) };
  if (headers["x-amz-trailer"] !== undefined) {
    throw invalidRequest(`the trailer ${headers["x-amz-trailer"]} is no checksum`);
  }
  if (headers["x-amz-sdk-checksum-algorithm"] !== undefined) {
    throw invalidRequest(
      "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
    );
  }
  return undefined;
}

/** Hashes as S3 counts them. `digest` gives base64. */
export type Hasher = { update(bytes: Uint8Array): void; digest(): string };

export function makeHasher(algorithm: ChecksumAlgorithm): Hasher {
  switch (algorithm) {
    case "CRC32":
      return makeCrc32Hasher((bytes, before) => crc32(bytes, before));
    case "CRC32C":
      return makeCrc32Hasher(crc32c);
    case "CRC64NVME":
      return makeCrc64Hasher();
    case "SHA1":
    case "SHA256": {
      const hash = createHash(algorithm);
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("base64") };
    }
  }
}

/** Of the parts' checksums one after the other, as S3 forms it for multipart uploads. */
export function composeChecksum(
  algorithm: ChecksumAlgorithm,
  partValues: readonly string[],
): Checksum {
  const hasher = makeHasher(algorithm);
  for (const value of partValues) hasher.update(Buffer.from(value, "base64"));
  return { algorithm, type: "COMPOSITE", value: `${hasher.digest()}-${partValues.length}` };
}

export const badDigest = (algorithm: string): ApiError =>
  new ApiError(
    400,
    "BadDigest",
    `The ${algorithm} you specified did not match the calculated checksum.`,
  );

function makeCrc32Hasher(step: (bytes: Uint8Array, before: number) => number): Hasher {
  let value = 0;
  return {
    update(bytes) {
      value = step(bytes, value);
    },
    digest() {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return bytes.toString("base64");
    },
  };
}

function makeCrc64Hasher(): Hasher {
  let value: Crc64 = { high: 0, low: 0 };
  return {
    update(bytes) {
      value = crc64nvme(bytes, value);
    },
    digest() {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32BE(value.high);
      bytes.writeUInt32BE(value.low, 4);
      return bytes.toString("base64");
    },
  };
}

const invalidRequest = (message: string): ApiError => new ApiError(400, "InvalidRequest", message);
