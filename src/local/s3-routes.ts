/** Which S3 operation a request is, and what it may say. Whatever an operation does not know is refused by its name. */
import type { IncomingHttpHeaders } from "node:http";
import { notImplemented } from "./http.ts";
import type { S3_OPERATIONS } from "./operations.ts";
import { CHECKSUM_HEADERS } from "./s3-checksums.ts";

export type OperationName = (typeof S3_OPERATIONS)[number];

type Route = {
  readonly name: OperationName;
  readonly method: string;
  readonly on: "service" | "bucket" | "object";
  /** Query parameters that make it this operation, with their value where that counts. */
  readonly needs?: Readonly<Record<string, string | undefined>>;
  readonly isCopy?: true;
  readonly query?: readonly string[];
  /** Headers beginning with `x-amz-`; a `*` at the end stands for anything. */
  readonly headers?: readonly string[];
  /** Of the conditional and range headers, those that it heeds. */
  readonly conditions?: readonly string[];
};

export type Asked = {
  readonly method: string;
  readonly on: Route["on"];
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
};

const WRITE_CONDITIONS = ["if-match", "if-none-match"];
const READ_CONDITIONS = [...WRITE_CONDITIONS, "if-modified-since", "if-unmodified-since"];
/** What a reader, such as a presigned link, wants the answer's headers to say. */
const RESPONSE_OVERRIDES = [
  "response-cache-control",
  "response-content-disposition",
  "response-content-encoding",
  "response-content-language",
  "response-content-type",
  "response-expires",
];
const META = "x-amz-meta-*";
const COPY_HEADERS = [
  "x-amz-copy-source",
  "x-amz-copy-source-if-match",
  "x-amz-copy-source-if-none-match",
  "x-amz-copy-source-if-modified-since",
  "x-amz-copy-source-if-unmodified-since",
];

const ROUTES: readonly Route[] = [
  {
    name: "ListBuckets",
    method: "GET",
    on: "service",
    query: ["prefix"],
  },
  { name: "CreateBucket", method: "PUT", on: "bucket", headers: CHECKSUM_HEADERS },
  { name: "HeadBucket", method: "HEAD", on: "bucket" },
  { name: "DeleteBucket", method: "DELETE", on: "bucket" },
  { name: "GetBucketLocation", method: "GET", on: "bucket", needs: { location: undefined } },
  {
    name: "GetBucketNotificationConfiguration",
    method: "GET",
    on: "bucket",
    needs: { notification: undefined },
  },
  {
    name: "PutBucketNotificationConfiguration",
    method: "PUT",
    on: "bucket",
    needs: { notification: undefined },
    headers: CHECKSUM_HEADERS,
  },
  {
    name: "ListObjectsV2",
    method: "GET",
    on: "bucket",
    needs: { "list-type": "2" },
    query: [
      "prefix",
      "delimiter",
      "start-after",
      "continuation-token",
      "max-keys",
      "encoding-type",
      "fetch-owner",
    ],
  },
  {
    name: "ListObjects",
    method: "GET",
    on: "bucket",
    query: ["prefix", "delimiter", "marker", "max-keys", "encoding-type"],
  },
  {
    name: "ListMultipartUploads",
    method: "GET",
    on: "bucket",
    needs: { uploads: undefined },
    query: ["prefix", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"],
  },
  {
    name: "DeleteObjects",
    method: "POST",
    on: "bucket",
    needs: { delete: undefined },
    headers: CHECKSUM_HEADERS,
  },
  {
    name: "CopyObject",
    method: "PUT",
    on: "object",
    isCopy: true,
    headers: [...COPY_HEADERS, META, "x-amz-metadata-directive", "x-amz-checksum-algorithm"],
    conditions: WRITE_CONDITIONS,
  },
  {
    name: "PutObject",
    method: "PUT",
    on: "object",
    headers: [META, ...CHECKSUM_HEADERS],
    conditions: WRITE_CONDITIONS,
  },
  {
    name: "GetObject",
    method: "GET",
    on: "object",
    query: RESPONSE_OVERRIDES,
    headers: ["x-amz-checksum-mode"],
    conditions: [...READ_CONDITIONS, "range"],
  },
  {
    name: "HeadObject",
    method: "HEAD",
    on: "object",
    query: RESPONSE_OVERRIDES,
    headers: ["x-amz-checksum-mode"],
    conditions: [...READ_CONDITIONS, "range"],
  },
  { name: "DeleteObject", method: "DELETE", on: "object", conditions: ["if-match"] },
  {
    name: "CreateMultipartUpload",
    method: "POST",
    on: "object",
    needs: { uploads: undefined },
    headers: [META, "x-amz-checksum-algorithm", "x-amz-checksum-type"],
  },
  {
    name: "UploadPartCopy",
    method: "PUT",
    on: "object",
    isCopy: true,
    needs: { uploadId: undefined, partNumber: undefined },
    headers: [...COPY_HEADERS, "x-amz-copy-source-range"],
  },
  {
    name: "UploadPart",
    method: "PUT",
    on: "object",
    needs: { uploadId: undefined, partNumber: undefined },
    headers: CHECKSUM_HEADERS,
  },
  {
    name: "CompleteMultipartUpload",
    method: "POST",
    on: "object",
    needs: { uploadId: undefined },
    headers: [...CHECKSUM_HEADERS, "x-amz-checksum-type", "x-amz-mp-object-size"],
    conditions: WRITE_CONDITIONS,
  },
  {
    name: "AbortMultipartUpload",
    method: "DELETE",
    on: "object",
    needs: { uploadId: undefined },
  },
  {
    name: "ListParts",
    method: "GET",
    on: "object",
    needs: { uploadId: undefined },
    query: ["max-parts", "part-number-marker"],
  },
];

/** Of the signature, the body's coding, and the SDKs' own; they mean the same everywhere. */
const COMMON_HEADERS: readonly string[] = [
  "x-amz-content-sha256",
  "x-amz-date",
  "x-amz-decoded-content-length",
  "x-amz-sdk-checksum-algorithm",
  "x-amz-security-token",
  "x-amz-trailer",
  "x-amz-user-agent",
];
const CONDITION_HEADERS: readonly string[] = [...READ_CONDITIONS, "range", "if-range"];

/** Throws ApiError 501 that names what is not implemented. */
export function findOperation(asked: Asked): OperationName {
  const route = ROUTES.filter((candidate) => fits(candidate, asked)).sort(
    (a, b) => countNeeds(b) - countNeeds(a),
  )[0];
  const given = [...asked.query.keys()].filter((name) => !isSignature(name));
  const resource = given.find((name) => SUB_RESOURCES[name] && !isNeeded(route, name));
  if (resource !== undefined) throw notImplemented(`S3 ${nameOperation(asked, resource)}`);
  if (!route) {
    const parameters = given.length > 0 ? ` with ${given.join(", ")}` : "";
    throw notImplemented(`S3 ${asked.method} on a ${asked.on}${parameters}`);
  }
  const unknown = given.find((name) => !mayAsk(route, name, asked.query.get(name) ?? ""));
  if (unknown !== undefined) throw notImplemented(`the parameter ${unknown} of ${route.name}`);
  const header = Object.keys(asked.headers).find((name) => !maySend(route, name));
  if (header !== undefined) throw notImplemented(`the header ${header} for ${route.name}`);
  return route.name;
}

const isNeeded = (route: Route | undefined, name: string): boolean =>
  Object.hasOwn(route?.needs ?? {}, name);

/** As AWS calls it, such as `GetBucketVersioning`. */
function nameOperation({ method, on }: Asked, resource: string): string {
  if (resource === "versions") return "ListObjectVersions";
  const verb = `${method[0]}${method.slice(1).toLowerCase()}`;
  return `${verb}${on === "bucket" ? "Bucket" : "Object"}${SUB_RESOURCES[resource]}`;
}

/** What buckets and objects have besides, by its parameter: without an operation of its own here it would pass for one of the object's. */
const SUB_RESOURCES: Readonly<Record<string, string>> = {
  accelerate: "AccelerateConfiguration",
  acl: "Acl",
  analytics: "AnalyticsConfiguration",
  attributes: "Attributes",
  cors: "Cors",
  encryption: "Encryption",
  "intelligent-tiering": "IntelligentTieringConfiguration",
  inventory: "InventoryConfiguration",
  "legal-hold": "LegalHold",
  lifecycle: "LifecycleConfiguration",
  location: "Location",
  logging: "Logging",
  metrics: "MetricsConfiguration",
  notification: "NotificationConfiguration",
  "object-lock": "ObjectLockConfiguration",
  ownershipControls: "OwnershipControls",
  policy: "Policy",
  policyStatus: "PolicyStatus",
  publicAccessBlock: "PublicAccessBlock",
  replication: "Replication",
  requestPayment: "RequestPayment",
  restore: "Restore",
  retention: "Retention",
  select: "SelectContent",
  tagging: "Tagging",
  torrent: "Torrent",
  versioning: "Versioning",
  versions: "ObjectVersions",
  website: "Website",
};

function fits(route: Route, { method, on, query, headers }: Asked): boolean {
  const isCopy = headers["x-amz-copy-source"] !== undefined;
  return (
    route.method === method &&
    route.on === on &&
    (method !== "PUT" || on !== "object" || isCopy === (route.isCopy ?? false)) &&
    Object.entries(route.needs ?? {}).every(
      ([name, value]) => query.has(name) && (value === undefined || query.get(name) === value),
    )
  );
}

const countNeeds = (route: Route): number => Object.keys(route.needs ?? {}).length;

/** `x-id` repeats the operation's name for load balancers. */
const isSignature = (name: string): boolean =>
  name === "x-id" || name.startsWith("X-Amz-") || name.startsWith("x-amz-");

function mayAsk(route: Route, name: string, value: string): boolean {
  if (isNeeded(route, name)) return true;
  const allowed = route.query ?? [];
  return allowed.includes(name) || allowed.includes(`${name}=${value}`);
}

function maySend(route: Route, name: string): boolean {
  if (CONDITION_HEADERS.includes(name)) return route.conditions?.includes(name) ?? false;
  if (!name.startsWith("x-amz-") || COMMON_HEADERS.includes(name)) return true;
  return (route.headers ?? []).some((allowed) =>
    allowed.endsWith("*") ? name.startsWith(allowed.slice(0, -1)) : name === allowed,
  );
}
