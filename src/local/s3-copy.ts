/** CopyObject and UploadPartCopy. Both name the source's segments again and move no bytes. */
import { ApiError, type LocalResponse, notImplemented } from "./http.ts";
import { hashSegments, sliceSegments } from "./s3-body.ts";
import {
  checksumElements,
  commitObject,
  noSuchBucket,
  readObjectHeaders,
  type S3Call,
} from "./s3-call.ts";
import { type Checksum, readAlgorithm } from "./s3-checksums.ts";
import {
  checkReadConditions,
  checkWriteConditions,
  noSuchKey,
  one,
  preconditionFailed,
  readCopyPreconditions,
  readRange,
} from "./s3-conditions.ts";
import { findUploadOf, readPartNumber } from "./s3-multipart.ts";
import type { StoredObject } from "./s3-store.ts";
import { S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { xmlDocument } from "./xml.ts";

const COPY_BYTES_MAX = 5 * 2 ** 30;

export async function copyObject(call: S3Call): Promise<LocalResponse> {
  const { store, request, bucket, key } = call;
  const { source, sourceBucket } = findSource(call);
  const directive = one(request.headers["x-amz-metadata-directive"]) ?? "COPY";
  if (directive !== "COPY" && directive !== "REPLACE") {
    throw new ApiError(400, "InvalidArgument", `Unknown metadata directive "${directive}"`);
  }
  checkCopy({ source, isOntoItself: sourceBucket === bucket && source.key === key, directive });
  checkWriteConditions(store.find(bucket, key), request.headers);
  const release = store.hold(source.segments);
  try {
    const sums = await hashSource(call, source);
    const object: StoredObject = {
      key,
      etag: sums.etag,
      bytes: source.bytes,
      modifiedAt: call.now(),
      segments: source.segments,
      headers: directive === "COPY" ? source.headers : readObjectHeaders(request.headers),
      checksum: sums.checksum,
    };
    commitObject(call, object, "ObjectCreated:Copy");
    return renderCopy("CopyObjectResult", object);
  } finally {
    release();
  }
}

export async function uploadPartCopy(call: S3Call): Promise<LocalResponse> {
  const { store, request } = call;
  const number = readPartNumber(request.query);
  const upload = findUploadOf(call);
  const { source } = findSource(call);
  const header = one(request.headers["x-amz-copy-source-range"]);
  const range = readRange(header, source.bytes);
  if (header !== undefined && !range) {
    throw new ApiError(400, "InvalidArgument", "x-amz-copy-source-range must be bytes=first-last");
  }
  const segments = range ? sliceSegments(source.segments, range) : source.segments;
  const release = store.hold(segments);
  try {
    const { md5, checksum } = await hashSegments(segments, store, upload.algorithm);
    findUploadOf(call);
    const bytes = range?.bytes ?? source.bytes;
    const part = { number, etag: md5, bytes, modifiedAt: call.now(), segments, checksum };
    store.putPart(upload.id, part);
    return renderCopy("CopyPartResult", part);
  } finally {
    release();
  }
}

function renderCopy(
  root: string,
  copy: Pick<StoredObject, "modifiedAt" | "etag" | "checksum">,
): LocalResponse {
  const body = xmlDocument(
    root,
    {
      LastModified: new Date(copy.modifiedAt).toISOString(),
      ETag: `"${copy.etag}"`,
      ...checksumElements(copy.checksum),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}

/** `/bucket/key` or `bucket/key`, percent-encoded. Its own conditions are checked here. */
function findSource({ store, request }: S3Call): {
  readonly source: StoredObject;
  readonly sourceBucket: string;
} {
  const header = String(request.headers["x-amz-copy-source"]);
  const [path = "", version] = header.split("?", 2);
  if (version !== undefined) throw notImplemented("versions of objects");
  const parts = /^\/?([^/]+)\/([\s\S]+)$/.exec(decodeSource(path));
  const [, sourceBucket = "", key = ""] = parts ?? [];
  if (!parts) throw new ApiError(400, "InvalidArgument", "x-amz-copy-source must be bucket/key");
  if (!store.findBucket(sourceBucket)) throw noSuchBucket(sourceBucket);
  const source = store.find(sourceBucket, key);
  if (!source) throw noSuchKey(key);
  checkReadConditions(source, readCopyPreconditions(request.headers), () =>
    preconditionFailed("x-amz-copy-source-If-None-Match"),
  );
  return { source, sourceBucket };
}

function decodeSource(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw new ApiError(400, "InvalidArgument", `x-amz-copy-source: ${String(error)}`);
  }
}

function checkCopy(copy: {
  readonly source: StoredObject;
  readonly isOntoItself: boolean;
  readonly directive: string;
}): void {
  if (copy.isOntoItself && copy.directive === "COPY") {
    throw new ApiError(
      400,
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.",
    );
  }
  if (copy.source.bytes > COPY_BYTES_MAX) {
    throw new ApiError(
      400,
      "InvalidRequest",
      "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
    );
  }
}

/** A copy is one part, whatever its source was; only when that changes a sum are the bytes read. */
async function hashSource(
  { store, request }: S3Call,
  source: StoredObject,
): Promise<{ readonly etag: string; readonly checksum: Checksum | undefined }> {
  const wanted =
    readAlgorithm(one(request.headers["x-amz-checksum-algorithm"])) ?? source.checksum?.algorithm;
  const isKnown =
    wanted === undefined ||
    (source.checksum?.algorithm === wanted && source.checksum.type === "FULL_OBJECT");
  if (isKnown && !source.etag.includes("-")) {
    return { etag: source.etag, checksum: source.checksum };
  }
  const { md5, checksum } = await hashSegments(source.segments, store, wanted);
  return { etag: md5, checksum };
}
