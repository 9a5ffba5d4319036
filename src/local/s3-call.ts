/** One S3 request on its way through an operation, and what most operations do with objects. */
import type { IncomingHttpHeaders } from "node:http";
import { ApiError, type LocalRequest } from "./http.ts";
import { type Checksum, checksumElement, checksumHeader } from "./s3-checksums.ts";
import { checkWriteConditions, noSuchKey } from "./s3-conditions.ts";
import type { EventName } from "./s3-notifications.ts";
import type { S3Store, StoredObject } from "./s3-store.ts";

export type S3Call = {
  readonly store: S3Store;
  readonly request: LocalRequest;
  /** Empty where the operation has none. */
  readonly bucket: string;
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Sends what the bucket's rules say; durable when it returns. */
  publish(name: EventName, object: { readonly key: string; readonly stored?: StoredObject }): void;
};

/** Throws 404 NoSuchKey. */
export function findObject(call: S3Call): StoredObject {
  const object = call.store.find(call.bucket, call.key);
  if (!object) throw noSuchKey(call.key);
  return object;
}

/**
 * Makes the object what is under its key, if the request's conditions hold now. Nothing is awaited between the look and the write, so
 * of any number of racers one wins. Throws ApiError, and then nothing has changed.
 */
export function commitObject(call: S3Call, object: StoredObject, event: EventName): void {
  const { store, bucket, key } = call;
  if (!store.findBucket(bucket)) throw noSuchBucket(bucket);
  checkWriteConditions(store.find(bucket, key), call.request.headers);
  store.put(bucket, object);
  call.publish(event, { key, stored: object });
}

export const noSuchBucket = (name: string): ApiError =>
  new ApiError(404, "NoSuchBucket", "The specified bucket does not exist", { BucketName: name });

/** Kept with the object and given back as sent. */
const KEPT_HEADERS: readonly string[] = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
];
const METADATA_BYTES_MAX = 2048;

/** What a request says of its object, beside the body. Throws ApiError when metadata is too large. */
export function readObjectHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = { "content-type": "binary/octet-stream" };
  let metadataBytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    checkHeaderValue(name, String(value));
    if (name.startsWith("x-amz-meta-")) {
      kept[name] = String(value);
      metadataBytes += name.length - "x-amz-meta-".length + String(value).length;
    } else if (KEPT_HEADERS.includes(name)) {
      kept[name] = String(value);
    }
  }
  dropTransferCoding(kept);
  if (metadataBytes > METADATA_BYTES_MAX) {
    throw new ApiError(
      400,
      "MetadataTooLarge",
      "Your metadata headers exceed the maximum allowed metadata size",
    );
  }
  return kept;
}

/** Values of a query may hold what no answer's header can: throws ApiError for those. */
export function checkHeaderValue(name: string, value: string): void {
  if (/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return;
  throw new ApiError(400, "InvalidArgument", `${name} holds characters that no header may hold`);
}

/** `aws-chunked` says how the body came, not what it is. */
function dropTransferCoding(headers: Record<string, string>): void {
  const codings = (headers["content-encoding"] ?? "")
    .split(",")
    .map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "aws-chunked");
  if (codings.length > 0) headers["content-encoding"] = codings.join(",");
  else delete headers["content-encoding"];
}

export const checksumHeaders = (checksum: Checksum | undefined): Record<string, string> =>
  checksum
    ? { [checksumHeader(checksum.algorithm)]: checksum.value, "x-amz-checksum-type": checksum.type }
    : {};

export const checksumElements = (checksum: Checksum | undefined): Record<string, string> =>
  checksum
    ? { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }
    : {};
