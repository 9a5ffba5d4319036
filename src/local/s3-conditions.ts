/** Conditions and ranges of S3 requests. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html */
import type { IncomingHttpHeaders } from "node:http";
import { ApiError, notImplemented } from "./http.ts";
import type { StoredObject } from "./s3-store.ts";

export type Preconditions = {
  readonly match: string | undefined;
  readonly noneMatch: string | undefined;
  readonly modifiedSince: string | undefined;
  readonly unmodifiedSince: string | undefined;
};

export const readPreconditions = (headers: IncomingHttpHeaders): Preconditions => ({
  match: headers["if-match"],
  noneMatch: headers["if-none-match"],
  modifiedSince: headers["if-modified-since"],
  unmodifiedSince: headers["if-unmodified-since"],
});

export const readCopyPreconditions = (headers: IncomingHttpHeaders): Preconditions => ({
  match: one(headers["x-amz-copy-source-if-match"]),
  noneMatch: one(headers["x-amz-copy-source-if-none-match"]),
  modifiedSince: one(headers["x-amz-copy-source-if-modified-since"]),
  unmodifiedSince: one(headers["x-amz-copy-source-if-unmodified-since"]),
});

/**
 * For a read: throws 412, or `notModified` (304 for GET and HEAD, 412 for a copy's source). ETags go before dates, and an
 * ETag that matches makes the date beside it not count.
 */
export function checkReadConditions(
  object: StoredObject,
  conditions: Preconditions,
  notModified: () => ApiError,
): void {
  const { match, noneMatch, modifiedSince, unmodifiedSince } = conditions;
  if (match !== undefined) {
    if (!isMatch(object, match)) throw preconditionFailed("If-Match");
  } else if (isAfter(object, unmodifiedSince) === true) {
    throw preconditionFailed("If-Unmodified-Since");
  }
  if (noneMatch !== undefined) {
    if (isMatch(object, noneMatch)) throw notModified();
  } else if (isAfter(object, modifiedSince) === false) {
    throw notModified();
  }
}

/** For a write, at the moment it is done: throws 412, or 404 for If-Match on what is not there. */
export function checkWriteConditions(
  object: StoredObject | undefined,
  headers: IncomingHttpHeaders,
): void {
  const { match, noneMatch } = readPreconditions(headers);
  if (noneMatch !== undefined) {
    if (match !== undefined) throw notImplemented("If-Match and If-None-Match together");
    if (noneMatch !== "*") throw notImplemented("If-None-Match with an ETag for writes");
    if (object) throw preconditionFailed("If-None-Match");
  }
  if (match === undefined) return;
  if (!object) throw noSuchKey();
  if (!isMatch(object, match)) throw preconditionFailed("If-Match");
}

export const noSuchKey = (key?: string): ApiError =>
  new ApiError(
    404,
    "NoSuchKey",
    "The specified key does not exist.",
    key === undefined ? {} : { Key: key },
  );

export const preconditionFailed = (condition: string): ApiError =>
  new ApiError(
    412,
    "PreconditionFailed",
    "At least one of the pre-conditions you specified did not hold",
    { Condition: condition },
  );

export type ByteRange = { readonly start: number; readonly bytes: number };

/**
 * Undefined where the whole object is to be sent, as for a range that cannot be read or that names several. Throws 416
 * where none of it is in the object.
 */
export function readRange(header: string | undefined, bytesTotal: number): ByteRange | undefined {
  const parts = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!parts || (parts[1] === "" && parts[2] === "")) return undefined;
  const [, from = "", to = ""] = parts;
  if (from !== "" && to !== "" && Number(to) < Number(from)) return undefined;
  const start = from === "" ? Math.max(bytesTotal - Number(to), 0) : Number(from);
  const end = from === "" || to === "" ? bytesTotal - 1 : Math.min(Number(to), bytesTotal - 1);
  if (start > end) {
    throw new ApiError(416, "InvalidRange", "The requested range is not satisfiable", {
      RangeRequested: String(header),
      ActualObjectSize: String(bytesTotal),
    });
  }
  return { start, bytes: end - start + 1 };
}

/** `*`, or ETags with or without quotes, separated by commas. */
export const isMatch = (object: StoredObject, header: string): boolean =>
  header.trim() === "*" ||
  header.split(",").some((etag) => unquote(etag.trim().replace(/^W\//, "")) === object.etag);

export const unquote = (etag: string): string => etag.replace(/^"(.*)"$/, "$1");

/** Undefined where there is no date, or none that can be read. HTTP dates are whole seconds. */
function isAfter(object: StoredObject, date: string | undefined): boolean | undefined {
  const time = Date.parse(date ?? "");
  if (Number.isNaN(time)) return undefined;
  return Math.floor(object.modifiedAt / 1000) * 1000 > time;
}

export const one = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header;
