/** Buckets of the local S3 and their notifications. */
import { ApiError, type LocalResponse, notImplemented, readBody } from "./http.ts";
import { noSuchBucket, type S3Call } from "./s3-call.ts";
import {
  type NotificationRule,
  parseNotifications,
  renderNotifications,
} from "./s3-notifications.ts";
import type { Bucket } from "./s3-store.ts";
import { parseRequest, S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { xmlDocument, xmlText } from "./xml.ts";

const REQUEST_BYTES_MAX = 1 << 20;

/** `imds` would hide the metadata service's paths. */
const RESERVED_NAMES: readonly string[] = ["imds"];

export async function listBuckets({ store, request }: S3Call): Promise<LocalResponse> {
  const prefix = request.query.get("prefix") ?? "";
  const buckets = store
    .listBuckets()
    .filter(({ name }) => name.startsWith(prefix))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const body = xmlDocument(
    "ListAllMyBucketsResult",
    {
      Owner: { ID: "local" },
      Buckets: {
        Bucket: buckets.map(({ name, createdAt }) => ({
          Name: name,
          CreationDate: new Date(createdAt).toISOString(),
        })),
      },
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}

/** In us-east-1 creating one's own bucket again is no error. */
export async function createBucket(call: S3Call, region: string): Promise<LocalResponse> {
  const { store, request, bucket } = call;
  const bytes = await readBody(request, REQUEST_BYTES_MAX);
  if (bytes.length > 0) {
    const root = parseRequest(bytes, "CreateBucketConfiguration");
    const unknown = root.children.find(({ name }) => name !== "LocationConstraint");
    if (unknown) throw notImplemented(`${unknown.name} in CreateBucket`);
    const wanted = xmlText(root, "LocationConstraint");
    if (wanted !== undefined && wanted !== region) {
      throw new ApiError(
        400,
        "InvalidLocationConstraint",
        `this local cloud is region ${region}, not "${wanted}"`,
      );
    }
  }
  checkBucketName(bucket);
  if (!store.findBucket(bucket)) {
    store.putBucket({ name: bucket, createdAt: call.now(), notifications: [] });
  }
  return { status: 200, headers: { location: `/${bucket}` } };
}

export async function headBucket(_call: S3Call, region: string): Promise<LocalResponse> {
  return { status: 200, headers: { "x-amz-bucket-region": region } };
}

export async function deleteBucket({ store, bucket }: S3Call): Promise<LocalResponse> {
  if (store.keys(bucket).size > 0) {
    throw new ApiError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty", {
      BucketName: bucket,
    });
  }
  store.removeBucket(bucket);
  return { status: 204 };
}

/** us-east-1 is written as nothing. */
export async function getBucketLocation(_call: S3Call, region: string): Promise<LocalResponse> {
  const name = region === "us-east-1" ? "" : region;
  return xmlResponse(xmlDocument("LocationConstraint", name, S3_NAMESPACE));
}

export async function getNotifications(call: S3Call): Promise<LocalResponse> {
  return xmlResponse(renderNotifications(findBucket(call).notifications, S3_NAMESPACE));
}

/** `prepare` looks whether the queues are there, throwing ApiError, and sends them the test event. */
export async function putNotifications(
  call: S3Call,
  prepare: (rules: readonly NotificationRule[]) => void,
): Promise<LocalResponse> {
  const notifications = parseNotifications(await readBody(call.request, REQUEST_BYTES_MAX));
  prepare(notifications);
  call.store.putBucket({ ...findBucket(call), notifications });
  return { status: 200 };
}

function findBucket({ store, bucket }: S3Call): Bucket {
  const found = store.findBucket(bucket);
  if (!found) throw noSuchBucket(bucket);
  return found;
}

export function checkBucketName(name: string): void {
  if (RESERVED_NAMES.includes(name)) throw notImplemented(`a bucket called ${name}`);
  if (/^(?=.{3,63}$)[a-z0-9][a-z0-9.-]*[a-z0-9]$/.test(name) && !name.includes("..")) return;
  throw new ApiError(400, "InvalidBucketName", "The specified bucket is not valid.", {
    BucketName: name,
  });
}
