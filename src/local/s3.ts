/** S3 on the local cloud: from a request to its operation. What it stores and how is in `s3-store.ts`. */
import type { IncomingHttpHeaders } from "node:http";
import { ApiError, type LocalRequest, type LocalResponse, type Service } from "./http.ts";
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getNotifications,
  headBucket,
  listBuckets,
  putNotifications,
} from "./s3-buckets.ts";
import { noSuchBucket, type S3Call } from "./s3-call.ts";
import { copyObject, uploadPartCopy } from "./s3-copy.ts";
import { listObjectsV1, listObjectsV2 } from "./s3-list.ts";
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  uploadPart,
} from "./s3-multipart.ts";
import { listMultipartUploads, listParts } from "./s3-multipart-lists.ts";
import {
  listMatchingRules,
  type NotificationRule,
  queueOf,
  renderEvent,
  renderTestEvent,
} from "./s3-notifications.ts";
import { deleteObject, deleteObjects, getObject, putObject } from "./s3-objects.ts";
import { findOperation, type OperationName } from "./s3-routes.ts";
import { openS3Store, type S3Store } from "./s3-store.ts";

export type S3 = Service & {
  /** Creates the bucket when it does not exist, and makes these its notifications, without a test event. */
  ensureBucket(name: string, notifications: readonly NotificationRule[]): void;
  close(): void;
};

export type S3Options = {
  readonly directory: string;
  readonly region: string;
  readonly accountId: string;
  /** Of its journal. */
  readonly rewriteLinesMin?: number | undefined;
  readonly queues: {
    hasQueue(name: string): boolean;
    sendMessage(name: string, body: string): void;
  };
};

const KEY_BYTES_MAX = 1024;

/** Throws Error when the journal is damaged. */
export function openS3(options: S3Options): S3 {
  const store = openS3Store(options.directory, options.rewriteLinesMin);
  return {
    async handle(received) {
      const request = withHoistedHeaders(received);
      const { bucket, key } = readTarget(request);
      const operation = findOperation({
        method: request.method,
        on: bucket === "" ? "service" : key === "" ? "bucket" : "object",
        query: request.query,
        headers: request.headers,
      });
      const needsBucket = operation !== "ListBuckets" && operation !== "CreateBucket";
      if (needsBucket && !store.findBucket(bucket)) throw noSuchBucket(bucket);
      return run(operation, makeCall(options, store, { request, bucket, key }), options);
    },
    ensureBucket(name, notifications) {
      const createdAt = store.findBucket(name)?.createdAt ?? Date.now();
      store.putBucket({ name, createdAt, notifications });
    },
    close: () => store.close(),
  };
}

function makeCall(
  options: S3Options,
  store: S3Store,
  target: { readonly request: LocalRequest; readonly bucket: string; readonly key: string },
): S3Call {
  const { bucket, request } = target;
  return {
    ...target,
    store,
    now: Date.now,
    publish(name, { key, stored }) {
      const rules = store.findBucket(bucket)?.notifications ?? [];
      for (const rule of listMatchingRules(rules, { name, key })) {
        const { requestId } = request;
        const event = { name, bucket, key, object: stored, at: Date.now(), requestId };
        options.queues.sendMessage(queueOf(rule.queueArn), renderEvent(event, rule, options));
      }
    },
  };
}

function run(
  operation: OperationName,
  call: S3Call,
  options: S3Options,
): Promise<LocalResponse> | LocalResponse {
  switch (operation) {
    case "ListBuckets":
      return listBuckets(call);
    case "CreateBucket":
      return createBucket(call, options.region);
    case "HeadBucket":
      return headBucket(call, options.region);
    case "DeleteBucket":
      return deleteBucket(call);
    case "GetBucketLocation":
      return getBucketLocation(call, options.region);
    case "GetBucketNotificationConfiguration":
      return getNotifications(call);
    case "PutBucketNotificationConfiguration":
      return putNotifications(call, (rules) => prepareQueues(call, options, rules));
    case "ListObjects":
      return listObjectsV1(call.bucket, call.request, call.store);
    case "ListObjectsV2":
      return listObjectsV2(call.bucket, call.request, call.store);
    case "ListMultipartUploads":
      return listMultipartUploads(call);
    case "DeleteObjects":
      return deleteObjects(call);
    case "PutObject":
      return putObject(call);
    case "GetObject":
    case "HeadObject":
      return getObject(call);
    case "DeleteObject":
      return deleteObject(call);
    case "CopyObject":
      return copyObject(call);
    case "CreateMultipartUpload":
      return createMultipartUpload(call);
    case "UploadPart":
      return uploadPart(call);
    case "UploadPartCopy":
      return uploadPartCopy(call);
    case "CompleteMultipartUpload":
      return completeMultipartUpload(call);
    case "AbortMultipartUpload":
      return abortMultipartUpload(call);
    case "ListParts":
      return listParts(call);
  }
}

function prepareQueues(
  { bucket, request }: S3Call,
  { queues }: S3Options,
  rules: readonly NotificationRule[],
): void {
  const names = new Set(rules.map(({ queueArn }) => queueOf(queueArn)));
  const missing = [...names].find((name) => !queues.hasQueue(name));
  if (missing !== undefined) {
    throw new ApiError(
      400,
      "InvalidArgument",
      "Unable to validate the following destination configurations",
      { ArgumentName: "Queue", ArgumentValue: missing },
    );
  }
  for (const name of names) {
    queues.sendMessage(name, renderTestEvent(bucket, Date.now(), request.requestId));
  }
}

/** A presigned URL carries headers such as `x-amz-checksum-crc32` in its query. */
function withHoistedHeaders(request: LocalRequest): LocalRequest {
  const hoisted = [...request.query].filter(([name]) => name.startsWith("x-amz-"));
  if (hoisted.length === 0) return request;
  const headers: IncomingHttpHeaders = { ...Object.fromEntries(hoisted), ...request.headers };
  return { ...request, headers };
}

/** `/bucket/key`, or the bucket as the first label of a `.localhost` name. */
export function readTarget(request: Pick<LocalRequest, "rawPath" | "headers">): {
  readonly bucket: string;
  readonly key: string;
} {
  const path = decodePath(request.rawPath).slice(1);
  const virtual = /^(.+)\.localhost:\d+$/.exec(request.headers.host ?? "")?.[1];
  const slash = path.indexOf("/");
  const bucket = virtual ?? (slash < 0 ? path : path.slice(0, slash));
  const key = virtual === undefined ? (slash < 0 ? "" : path.slice(slash + 1)) : path;
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) {
    throw new ApiError(400, "KeyTooLongError", "Your key is too long", {
      Size: String(Buffer.byteLength(key)),
      MaxSizeAllowed: String(KEY_BYTES_MAX),
    });
  }
  return { bucket, key };
}

function decodePath(rawPath: string): string {
  try {
    return decodeURIComponent(rawPath);
  } catch (cause) {
    throw new ApiError(400, "InvalidURI", "Couldn't parse the specified URI.", {}, { cause });
  }
}
