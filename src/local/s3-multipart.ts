/** Multipart uploads of the local S3. */
import { createHash, randomBytes } from "node:crypto";
import { ApiError, type LocalResponse, notImplemented, readBody } from "./http.ts";
import { discardBody, hashSegments, receiveBody } from "./s3-body.ts";
import {
  checksumElements,
  checksumHeaders,
  commitObject,
  readObjectHeaders,
  type S3Call,
} from "./s3-call.ts";
import {
  badDigest,
  CHECKSUM_ELEMENTS,
  type Checksum,
  type ChecksumAlgorithm,
  type ChecksumType,
  checksumHeader,
  composeChecksum,
  readAlgorithm,
  readExpected,
} from "./s3-checksums.ts";
import { checkWriteConditions, one, unquote } from "./s3-conditions.ts";
import type { Part, StoredObject, Upload } from "./s3-store.ts";
import { parseRequest, S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { type XmlNode, xmlChildren, xmlDocument, xmlText } from "./xml.ts";

const PART_BYTES_MIN = 5 << 20;
const PARTS_MAX = 10_000;
const COMPLETE_BYTES_MAX = 4 << 20;

export async function createMultipartUpload(call: S3Call): Promise<LocalResponse> {
  const { request, bucket, key } = call;
  const algorithm = readAlgorithm(one(request.headers["x-amz-checksum-algorithm"]));
  const checksumType = readChecksumType(one(request.headers["x-amz-checksum-type"]), algorithm);
  const upload: Upload = {
    id: randomBytes(24).toString("base64url"),
    bucket,
    key,
    createdAt: call.now(),
    headers: readObjectHeaders(request.headers),
    algorithm,
    checksumType,
  };
  call.store.putUpload(upload);
  const body = xmlDocument(
    "InitiateMultipartUploadResult",
    { Bucket: bucket, Key: key, UploadId: upload.id },
    S3_NAMESPACE,
  );
  return xmlResponse(body, {
    ...(algorithm && { "x-amz-checksum-algorithm": algorithm }),
    ...(checksumType && { "x-amz-checksum-type": checksumType }),
  });
}

export async function uploadPart(call: S3Call): Promise<LocalResponse> {
  const { request, store } = call;
  const number = readPartNumber(request.query);
  const upload = findUploadOf(call);
  const expected = readExpected(request.headers);
  if (upload.algorithm && expected?.algorithm !== upload.algorithm) {
    throw new ApiError(
      400,
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm.toLowerCase()}, actual checksum Type: ${expected?.algorithm.toLowerCase() ?? "null"}`,
    );
  }
  const received = await receiveBody(request, store);
  const { md5: etag, bytes, segments, checksum } = received;
  try {
    findUploadOf(call);
    store.putPart(upload.id, { number, etag, bytes, modifiedAt: call.now(), segments, checksum });
  } catch (error) {
    await discardBody(received, store);
    throw error;
  }
  const { "x-amz-checksum-type": _, ...sums } = checksumHeaders(checksum);
  return { status: 200, headers: { etag: `"${etag}"`, ...sums } };
}

/** Completing what is complete answers as the first time, so that a lost answer does no harm. */
export async function completeMultipartUpload(call: S3Call): Promise<LocalResponse> {
  const { request, store, bucket, key } = call;
  const root = parseRequest(await readBody(request, COMPLETE_BYTES_MAX), "CompleteMultipartUpload");
  const id = request.query.get("uploadId") ?? "";
  const present = store.find(bucket, key);
  if (present?.uploadId === id) return renderCompleted(call, present);
  const upload = findUploadOf(call);
  const parts = readParts(root, store.listParts(id));
  checkWriteConditions(present, request.headers);
  const segments = parts.flatMap((part) => part.segments);
  const release = store.hold(segments);
  try {
    const checksum = await sumUp(call, { upload, parts });
    const object: StoredObject = {
      key,
      etag: composeEtag(parts),
      bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
      modifiedAt: call.now(),
      segments,
      headers: upload.headers,
      checksum,
      uploadId: id,
    };
    checkObjectSize(call, object);
    // It may have been aborted, or completed by another call, while the bytes were read.
    findUploadOf(call);
    commitObject(call, object, "ObjectCreated:CompleteMultipartUpload");
    return renderCompleted(call, object);
  } finally {
    release();
  }
}

export async function abortMultipartUpload(call: S3Call): Promise<LocalResponse> {
  call.store.endUpload(findUploadOf(call).id);
  return { status: 204 };
}

/** Throws 404 NoSuchUpload, also where the upload is another key's. */
export function findUploadOf({ store, request, bucket, key }: S3Call): Upload {
  const upload = store.findUpload(request.query.get("uploadId") ?? "");
  if (upload?.bucket === bucket && upload.key === key) return upload;
  throw new ApiError(
    404,
    "NoSuchUpload",
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
  );
}

export function readPartNumber(query: URLSearchParams): number {
  const number = Number(query.get("partNumber"));
  if (Number.isInteger(number) && number >= 1 && number <= PARTS_MAX) return number;
  throw new ApiError(
    400,
    "InvalidArgument",
    "Part number must be an integer between 1 and 10000, inclusive",
  );
}

function readChecksumType(
  text: string | undefined,
  algorithm: ChecksumAlgorithm | undefined,
): ChecksumType | undefined {
  if (!algorithm) return undefined;
  const type = text ?? (algorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE");
  const isPossible =
    (type === "COMPOSITE" && algorithm !== "CRC64NVME") ||
    (type === "FULL_OBJECT" && algorithm.startsWith("CRC"));
  if (isPossible && (type === "COMPOSITE" || type === "FULL_OBJECT")) return type;
  throw new ApiError(
    400,
    "InvalidRequest",
    `The ${type} checksum type cannot be used with the ${algorithm} checksum algorithm.`,
  );
}

function readParts(root: XmlNode, uploaded: readonly Part[]): readonly Part[] {
  const named = xmlChildren(root, "Part");
  if (named.length === 0) throw new ApiError(400, "MalformedXML", "no Part is named");
  const byNumber = new Map(uploaded.map((part) => [part.number, part]));
  const parts = named.map((node) => readPart(node, byNumber));
  parts.forEach((part, index) => {
    const next = parts[index + 1];
    if (next && next.number <= part.number) {
      throw new ApiError(400, "InvalidPartOrder", "The list of parts was not in ascending order.");
    }
    if (next && part.bytes < PART_BYTES_MIN) {
      throw new ApiError(
        400,
        "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
        { PartNumber: String(part.number), MinSizeAllowed: String(PART_BYTES_MIN) },
      );
    }
  });
  return parts;
}

function readPart(node: XmlNode, byNumber: ReadonlyMap<number, Part>): Part {
  const number = Number(xmlText(node, "PartNumber"));
  const part = byNumber.get(number);
  const isSame =
    part?.etag === unquote(xmlText(node, "ETag") ?? "") &&
    CHECKSUM_ELEMENTS.every(([algorithm, element]) => {
      const given = xmlText(node, element);
      const { checksum } = part;
      return given === undefined || (checksum?.algorithm === algorithm && checksum.value === given);
    });
  if (part && isSame) return part;
  throw new ApiError(
    400,
    "InvalidPart",
    "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    { PartNumber: String(number) },
  );
}

/** MD5 of the parts' MD5s, and how many they were. */
function composeEtag(parts: readonly Part[]): string {
  const md5 = createHash("md5");
  for (const { etag } of parts) md5.update(Buffer.from(etag, "hex"));
  return `${md5.digest("hex")}-${parts.length}`;
}

async function sumUp(
  { request, store }: S3Call,
  { upload, parts }: { readonly upload: Upload; readonly parts: readonly Part[] },
): Promise<Checksum | undefined> {
  const expected = readExpected(request.headers);
  const algorithm = upload.algorithm;
  if (!algorithm) {
    if (expected) throw notImplemented("a checksum for an upload that was created without one");
    return undefined;
  }
  const segments = parts.flatMap((part) => part.segments);
  const checksum =
    upload.checksumType === "COMPOSITE"
      ? composeChecksum(
          algorithm,
          parts.map((part) => part.checksum?.value ?? ""),
        )
      : (await hashSegments(segments, store, algorithm)).checksum;
  const given = request.headers[checksumHeader(algorithm)];
  if (given !== undefined && given !== checksum?.value) throw badDigest(algorithm);
  return checksum;
}

function checkObjectSize({ request }: S3Call, object: StoredObject): void {
  const said = request.headers["x-amz-mp-object-size"];
  if (said === undefined || Number(said) === object.bytes) return;
  throw new ApiError(
    400,
    "InvalidRequest",
    `The provided 'x-amz-mp-object-size' header value ${said} does not match what was computed: ${object.bytes}`,
  );
}

function renderCompleted({ request, bucket, key }: S3Call, object: StoredObject): LocalResponse {
  const body = xmlDocument(
    "CompleteMultipartUploadResult",
    {
      Location: `http://${request.headers.host}/${bucket}/${encodeURIComponent(key)}`,
      Bucket: bucket,
      Key: key,
      ETag: `"${object.etag}"`,
      ...checksumElements(object.checksum),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}
