/** ListObjectsV2 and its predecessor ListObjects. */
import { ApiError, type LocalRequest, type LocalResponse } from "./http.ts";
import { compareUtf8 } from "./s3-keys.ts";
import { encodeKey } from "./s3-notifications.ts";
import type { S3Store, StoredObject } from "./s3-store.ts";
import { S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { type XmlValue, xmlDocument } from "./xml.ts";

type Listing = {
  readonly objects: readonly StoredObject[];
  readonly folders: readonly string[];
  /** The last key or folder, when there is more. */
  readonly next: string | undefined;
};

type Page = {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  /** The last key or folder of the page before. */
  readonly after: string | undefined;
  readonly keysMax: number;
};

const KEYS_MAX = 1000;

/** One page of a bucket's keys in the order of their UTF-8 bytes: ListObjectsV2. */
export function listObjectsV2(
  bucket: string,
  { query }: LocalRequest,
  store: S3Store,
): LocalResponse {
  const token = query.get("continuation-token") ?? undefined;
  const startAfter = query.get("start-after") ?? undefined;
  const after = token === undefined ? startAfter : decodeToken(token);
  const listing = listPage(store, { ...readPage(bucket, query), after });
  const encode = readEncoding(query);
  return renderListing(bucket, query, listing, {
    KeyCount: listing.objects.length + listing.folders.length,
    ContinuationToken: token,
    NextContinuationToken: listing.next === undefined ? undefined : encodeToken(listing.next),
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
  });
}

/** The same as ListObjects has it, which older tools still ask for. */
export function listObjectsV1(
  bucket: string,
  { query }: LocalRequest,
  store: S3Store,
): LocalResponse {
  const marker = query.get("marker") ?? "";
  const page = readPage(bucket, query);
  const listing = listPage(store, { ...page, after: marker === "" ? undefined : marker });
  const encode = readEncoding(query);
  const hasMarker = listing.next !== undefined && page.delimiter !== "";
  return renderListing(bucket, query, listing, {
    Marker: encode(marker),
    NextMarker: hasMarker ? encode(listing.next ?? "") : undefined,
  });
}

function readPage(
  bucket: string,
  query: URLSearchParams,
): Pick<Page, "bucket" | "prefix" | "delimiter" | "keysMax"> {
  return {
    bucket,
    prefix: query.get("prefix") ?? "",
    delimiter: query.get("delimiter") ?? "",
    keysMax: readCount(query, "max-keys"),
  };
}

function renderListing(
  bucket: string,
  query: URLSearchParams,
  listing: Listing,
  paging: { readonly [name: string]: XmlValue },
): LocalResponse {
  const encode = readEncoding(query);
  const { prefix, delimiter, keysMax } = readPage(bucket, query);
  const hasOwner = query.get("list-type") !== "2" || query.get("fetch-owner") === "true";
  const body = xmlDocument(
    "ListBucketResult",
    {
      Name: bucket,
      Prefix: encode(prefix),
      Delimiter: delimiter === "" ? undefined : encode(delimiter),
      MaxKeys: keysMax,
      EncodingType: query.get("encoding-type") ?? undefined,
      IsTruncated: listing.next !== undefined,
      ...paging,
      Contents: listing.objects.map((object) => ({
        Key: encode(object.key),
        LastModified: new Date(object.modifiedAt).toISOString(),
        ETag: `"${object.etag}"`,
        ChecksumAlgorithm: object.checksum?.algorithm,
        ChecksumType: object.checksum?.type,
        Size: object.bytes,
        Owner: hasOwner ? { ID: "local" } : undefined,
        StorageClass: "STANDARD",
      })),
      CommonPrefixes: listing.folders.map((folder) => ({ Prefix: encode(folder) })),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}

/** From 0 to 1000, and 1000 where there is none. Throws ApiError for what is no such number. */
export function readCount(query: URLSearchParams, name: string): number {
  const text = query.get(name);
  if (text === null) return KEYS_MAX;
  if (!/^\d{1,9}$/.test(text)) {
    throw new ApiError(400, "InvalidArgument", `${name} is no number: "${text}"`);
  }
  return Math.min(Number(text), KEYS_MAX);
}

export function readEncoding(query: URLSearchParams): (key: string) => string {
  const type = query.get("encoding-type");
  if (type === null) return (key) => key;
  if (type === "url") return encodeKey;
  throw new ApiError(400, "InvalidArgument", "Invalid Encoding Method specified in Request");
}

function listPage(store: S3Store, page: Page): Listing {
  const keys = store.keys(page.bucket);
  const objects: StoredObject[] = [];
  const folders: string[] = [];
  let last: string | undefined;
  let key = firstKey(keys, page);
  while (key?.startsWith(page.prefix)) {
    // AWS calls a page of nothing complete.
    if (page.keysMax === 0) break;
    if (objects.length + folders.length >= page.keysMax) return { objects, folders, next: last };
    const folder = folderOf(key, page);
    if (folder !== undefined) folders.push(folder);
    else objects.push(...present(store.find(page.bucket, key)));
    last = folder ?? key;
    key = folder === undefined ? keys.after(key) : keys.behind(folder);
  }
  return { objects, folders, next: undefined };
}

const present = (object: StoredObject | undefined): readonly StoredObject[] =>
  object ? [object] : [];

function firstKey(
  keys: ReturnType<S3Store["keys"]>,
  page: { readonly prefix: string; readonly delimiter: string; readonly after: string | undefined },
): string | undefined {
  const { prefix, after } = page;
  if (after === undefined || compareUtf8(after, prefix) < 0) return keys.from(prefix);
  // A page that ended with a folder goes on behind all that is in it.
  const isFolder = page.delimiter !== "" && folderOf(after, page) === after;
  return isFolder ? keys.behind(after) : keys.after(after);
}

function folderOf(
  key: string,
  { prefix, delimiter }: { readonly prefix: string; readonly delimiter: string },
): string | undefined {
  if (delimiter === "" || !key.startsWith(prefix)) return undefined;
  const end = key.indexOf(delimiter, prefix.length);
  return end < 0 ? undefined : key.slice(0, end + delimiter.length);
}

const encodeToken = (key: string): string => Buffer.from(key).toString("base64url");

function decodeToken(token: string): string {
  const key = Buffer.from(token, "base64url").toString();
  if (token !== "" && encodeToken(key) === token) return key;
  throw new ApiError(400, "InvalidArgument", "The continuation token provided is incorrect");
}
