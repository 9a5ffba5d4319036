/** Objects of the local S3: PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects. */
import { createHash } from "node:crypto";
import { ApiError, type LocalResponse, notImplemented, readBody } from "./http.ts";
import {
  discardBody,
  readContentMd5,
  readSegments,
  receiveBody,
  sliceSegments,
} from "./s3-body.ts";
import {
  checkHeaderValue,
  checksumHeaders,
  commitObject,
  findObject,
  noSuchBucket,
  readObjectHeaders,
  type S3Call,
} from "./s3-call.ts";
import { badDigest, checksumHeader, makeHasher, readExpected } from "./s3-checksums.ts";
import {
  checkReadConditions,
  checkWriteConditions,
  isMatch,
  readPreconditions,
  readRange,
} from "./s3-conditions.ts";
import type { StoredObject } from "./s3-store.ts";
import { parseRequest, S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { type XmlNode, xmlChildren, xmlDocument, xmlText } from "./xml.ts";

const DELETE_BYTES_MAX = 2 << 20;
const DELETE_KEYS_MAX = 1000;

export async function putObject(call: S3Call): Promise<LocalResponse> {
  const { store, request, bucket, key } = call;
  const headers = readObjectHeaders(request.headers);
  // Looked at twice: now, to spare a lost body's way to the disk, and when it counts.
  checkWriteConditions(store.find(bucket, key), request.headers);
  const received = await receiveBody(request, store);
  const object: StoredObject = {
    key,
    etag: received.md5,
    bytes: received.bytes,
    modifiedAt: call.now(),
    segments: received.segments,
    headers,
    checksum: received.checksum,
  };
  try {
    commitObject(call, object, "ObjectCreated:Put");
  } catch (error) {
    if (store.find(bucket, key) !== object) await discardBody(received, store);
    throw error;
  }
  return {
    status: 200,
    headers: { etag: `"${object.etag}"`, ...checksumHeaders(object.checksum) },
  };
}

export async function getObject(call: S3Call): Promise<LocalResponse> {
  const object = findObject(call);
  checkReadConditions(object, readPreconditions(call.request.headers), notModified);
  const range = readRange(call.request.headers.range, object.bytes);
  const segments = range ? sliceSegments(object.segments, range) : object.segments;
  const isHead = call.request.method === "HEAD";
  return {
    status: range ? 206 : 200,
    headers: {
      ...object.headers,
      ...readOverrides(call),
      ...describeObject(object),
      "content-length": String(range?.bytes ?? object.bytes),
      ...(range && {
        "content-range": `bytes ${range.start}-${range.start + range.bytes - 1}/${object.bytes}`,
      }),
      // A checksum is of the whole object, so it says nothing about a part of it.
      ...(call.request.headers["x-amz-checksum-mode"] === "ENABLED" &&
        !range &&
        checksumHeaders(object.checksum)),
    },
    ...(!isHead && { body: readSegments(segments, call.store) }),
  };
}

export async function deleteObject(call: S3Call): Promise<LocalResponse> {
  const { store, bucket, key } = call;
  const object = store.find(bucket, key);
  checkWriteConditions(object, call.request.headers);
  if (object) remove(call, key);
  return { status: 204 };
}

/** Each key by itself; one that is not there counts as deleted. */
export async function deleteObjects(call: S3Call): Promise<LocalResponse> {
  const bytes = await readBody(call.request, DELETE_BYTES_MAX);
  checkBodyDigest(call, bytes);
  const root = parseRequest(bytes, "Delete");
  const entries = xmlChildren(root, "Object");
  if (entries.length === 0 || entries.length > DELETE_KEYS_MAX) {
    throw new ApiError(400, "MalformedXML", `Delete must name 1 to ${DELETE_KEYS_MAX} objects`);
  }
  const isQuiet = xmlText(root, "Quiet")?.trim() === "true";
  const results = entries.map((entry) => deleteEntry(call, entry));
  const body = xmlDocument(
    "DeleteResult",
    {
      Deleted: isQuiet ? [] : results.flatMap(({ deleted }) => (deleted ? [deleted] : [])),
      Error: results.flatMap(({ error }) => (error ? [error] : [])),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}

type DeleteResult = {
  readonly deleted?: { readonly Key: string };
  readonly error?: { readonly Key: string; readonly Code: string; readonly Message: string };
};

function deleteEntry(call: S3Call, entry: XmlNode): DeleteResult {
  const unknown = entry.children.find(({ name }) => name !== "Key" && name !== "ETag");
  if (unknown) throw notImplemented(`${unknown.name} in DeleteObjects`);
  const Key = xmlText(entry, "Key") ?? "";
  const etag = xmlText(entry, "ETag");
  const object = call.store.find(call.bucket, Key);
  if (etag !== undefined && !(object && isMatch(object, etag))) {
    const Code = object ? "PreconditionFailed" : "NoSuchKey";
    return { error: { Key, Code, Message: "the object is not the one that the ETag names" } };
  }
  if (object) remove(call, Key);
  return { deleted: { Key } };
}

function remove(call: S3Call, key: string): void {
  call.store.remove(call.bucket, key);
  call.publish("ObjectRemoved:Delete", { key });
}

/** S3 demands that a list of what to delete comes with a checksum. */
function checkBodyDigest({ request, bucket, store }: S3Call, bytes: Buffer): void {
  if (!store.findBucket(bucket)) throw noSuchBucket(bucket);
  const md5 = readContentMd5(request.headers["content-md5"]);
  const expected = readExpected(request.headers);
  if (!md5 && !expected) {
    throw new ApiError(
      400,
      "InvalidRequest",
      "Missing required header for this request: Content-MD5 or x-amz-checksum-*",
    );
  }
  if (md5 && !md5.equals(createHash("md5").update(bytes).digest())) throw badDigest("Content-MD5");
  if (!expected) return;
  const hasher = makeHasher(expected.algorithm);
  hasher.update(bytes);
  const given = expected.value ?? request.trailers.get(checksumHeader(expected.algorithm));
  if (hasher.digest() !== given) throw badDigest(expected.algorithm);
}

/** `response-content-type` and the like; which there are, the routes say. */
function readOverrides({ request }: S3Call): Record<string, string> {
  const given = [...request.query].filter(([name]) => name.startsWith("response-"));
  for (const [name, value] of given) checkHeaderValue(name, value);
  return Object.fromEntries(given.map(([name, value]) => [name.slice("response-".length), value]));
}

const describeObject = (object: StoredObject): Record<string, string> => ({
  etag: `"${object.etag}"`,
  "last-modified": new Date(object.modifiedAt).toUTCString(),
  "accept-ranges": "bytes",
});

const notModified = (): ApiError => new ApiError(304, "NotModified", "Not Modified");
