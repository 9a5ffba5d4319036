/**
 * AWS Signature Version 4, checked from the receiving side: in the Authorization header or in a presigned query.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHash, createHmac } from "node:crypto";
import { type Credentials, isSame, type KnownKey } from "./credentials.ts";
import { ApiError, type Caller } from "./http.ts";

export type SignedRequest = {
  readonly method: string;
  /** Path and query as on the request line. */
  readonly url: string;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
};

export type ServiceName =
  | "ec2"
  | "kms"
  | "s3"
  | "secretsmanager"
  | "servicequotas"
  | "sqs"
  | "ssm"
  | "sts";

/** What the chunks of a signed streaming body are verified with. */
export type ChunkSigning = {
  readonly key: Buffer;
  readonly seed: string;
  readonly timestamp: string;
  readonly scope: string;
};

export type Verified = {
  readonly service: ServiceName;
  readonly caller: Caller;
  /** What was signed for the body: its SHA-256 in hex, or one of S3's words for bodies that are not hashed whole. */
  readonly payload: string;
  readonly chunkSigning: ChunkSigning;
};

type Signature = {
  readonly accessKeyId: string;
  readonly scope: readonly [date: string, region: string, service: ServiceName];
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly timestamp: string;
  readonly sessionToken: string | undefined;
  /** Seconds a presigned URL is good for; undefined for a signature in the header. */
  readonly expiresSeconds: number | undefined;
};

const SKEW_MAX_MS = 15 * 60_000;
const PRESIGNED_SECONDS_MAX = 7 * 24 * 3600;
const SERVICES: readonly string[] = [
  "ec2",
  "kms",
  "s3",
  "secretsmanager",
  "servicequotas",
  "sqs",
  "ssm",
  "sts",
] satisfies ServiceName[];
const UNSIGNED = "UNSIGNED-PAYLOAD";

/** Verifies all but the body, whose hash must then come to `payload`. Throws ApiError. */
export function verifySignature(
  request: SignedRequest,
  options: {
    readonly credentials: Credentials;
    readonly region: string;
    /** Milliseconds since 1970. */
    readonly now: number;
    /** SHA-256 in hex, for requests that do not send it in a header; S3 demands the header. */
    readonly bodyHash: string | undefined;
  },
): Verified {
  const headers = collectHeaders(request.rawHeaders);
  const [rawPath, query] = splitUrl(request.url);
  const signature = readSignature(headers, query);
  const [date, region, service] = signature.scope;
  if (region !== options.region) throw wrongRegion(region, options.region, service);
  checkTime(signature, options.now);
  const key = findKey(signature, options);
  checkSignedHeaders(headers, signature);
  const payload =
    headers.get("x-amz-content-sha256") ??
    (signature.expiresSeconds === undefined ? options.bodyHash : UNSIGNED);
  if (payload === undefined) {
    throw new ApiError(400, "InvalidRequest", "Missing required header: x-amz-content-sha256");
  }
  const canonical = [
    request.method,
    canonicalPath(rawPath, service),
    canonicalQuery(query),
    ...signature.signedHeaders.map((name) => `${name}:${headers.get(name) ?? ""}`),
    "",
    signature.signedHeaders.join(";"),
    payload,
  ].join("\n");
  const scope = `${date}/${region}/${service}/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${signature.timestamp}\n${scope}\n${sha256(canonical)}`;
  const signingKey = deriveSigningKey(key.secretAccessKey, signature.scope);
  if (!isSame(hmac(signingKey, toSign).toString("hex"), signature.signature)) {
    throw refusal(service, "mismatch");
  }
  return {
    service,
    caller: key.caller,
    payload,
    chunkSigning: {
      key: signingKey,
      seed: signature.signature,
      timestamp: signature.timestamp,
      scope,
    },
  };
}

/** The service a request says it is for, signed or not: an error is answered in its protocol. */
export function guessService(request: SignedRequest): ServiceName {
  try {
    const [, query] = splitUrl(request.url);
    return readSignature(collectHeaders(request.rawHeaders), query).scope[2];
  } catch {
    return "s3";
  }
}

/** Header values by lower-case name, as they are signed: trimmed, runs of spaces as one, repeated ones joined. */
function collectHeaders(rawHeaders: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase();
    const value = (rawHeaders[index + 1] ?? "").trim().replace(/ {2,}/g, " ");
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before},${value}`);
  }
  return headers;
}

function splitUrl(url: string): [rawPath: string, query: URLSearchParams] {
  const mark = url.indexOf("?");
  if (mark < 0) return [url, new URLSearchParams()];
  return [url.slice(0, mark), new URLSearchParams(url.slice(mark + 1))];
}

function readSignature(headers: ReadonlyMap<string, string>, query: URLSearchParams): Signature {
  const authorization = headers.get("authorization");
  if (authorization !== undefined) return readAuthorization(authorization, headers);
  if (query.has("X-Amz-Signature")) return readPresigned(query);
  if (query.has("AWSAccessKeyId")) throw versionTwo();
  throw new ApiError(403, "AccessDenied", "the request is not signed");
}

function readAuthorization(authorization: string, headers: ReadonlyMap<string, string>): Signature {
  const parts =
    /^AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]+)$/.exec(
      authorization,
    );
  if (!parts) {
    throw malformed("the Authorization header is not of the form AWS4-HMAC-SHA256 Credential=…");
  }
  const [, credential = "", signedHeaders = "", signature = ""] = parts;
  const timestamp = headers.get("x-amz-date") ?? "";
  return {
    ...readCredential(credential),
    signedHeaders: signedHeaders.split(";"),
    signature,
    timestamp,
    sessionToken: headers.get("x-amz-security-token"),
    expiresSeconds: undefined,
  };
}

function readPresigned(query: URLSearchParams): Signature {
  if (query.get("X-Amz-Algorithm") !== "AWS4-HMAC-SHA256") {
    throw malformed("X-Amz-Algorithm must be AWS4-HMAC-SHA256");
  }
  const expiresSeconds = Number(query.get("X-Amz-Expires") ?? Number.NaN);
  if (!(expiresSeconds >= 1 && expiresSeconds <= PRESIGNED_SECONDS_MAX)) {
    throw malformed("X-Amz-Expires must be from 1 to 604800 seconds");
  }
  return {
    ...readCredential(query.get("X-Amz-Credential") ?? ""),
    signedHeaders: (query.get("X-Amz-SignedHeaders") ?? "").split(";"),
    signature: query.get("X-Amz-Signature") ?? "",
    timestamp: query.get("X-Amz-Date") ?? "",
    sessionToken: query.get("X-Amz-Security-Token") ?? undefined,
    expiresSeconds,
  };
}

function readCredential(credential: string): Pick<Signature, "accessKeyId" | "scope"> {
  const [accessKeyId = "", date = "", region = "", service = "", end] = credential.split("/");
  if (end !== "aws4_request") {
    throw malformed(`the credential ${JSON.stringify(credential)} has no scope of five parts`);
  }
  if (!isService(service)) {
    throw new ApiError(501, "NotImplemented", `the local cloud has no service "${service}"`);
  }
  return { accessKeyId, scope: [date, region, service] };
}

const isService = (name: string): name is ServiceName => SERVICES.includes(name);

function checkTime(signature: Signature, now: number): void {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(signature.timestamp);
  if (!parts || !signature.timestamp.startsWith(signature.scope[0])) {
    throw new ApiError(
      403,
      "AccessDenied",
      "a signed request needs X-Amz-Date, of its scope's day",
    );
  }
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(1)
    .map(Number);
  const signedAt = Date.UTC(year, month - 1, day, hour, minute, second);
  const validMs =
    signature.expiresSeconds === undefined ? SKEW_MAX_MS : signature.expiresSeconds * 1000;
  if (signature.expiresSeconds !== undefined && now > signedAt + validMs) {
    throw new ApiError(403, "AccessDenied", "Request has expired");
  }
  if (now > signedAt + validMs || signedAt > now + SKEW_MAX_MS) {
    throw new ApiError(
      403,
      "RequestTimeTooSkewed",
      "The difference between the request time and the current time is too large.",
      { RequestTime: signature.timestamp, ServerTime: new Date(now).toISOString() },
    );
  }
}

function findKey(
  signature: Signature,
  options: { readonly credentials: Credentials; readonly now: number },
): KnownKey {
  const service = signature.scope[2];
  const key = options.credentials.find(signature.accessKeyId, signature.sessionToken);
  if (!key) throw refusal(service, signature.sessionToken === undefined ? "unknown" : "token");
  if (key.expiresAt !== undefined && key.expiresAt <= options.now) {
    throw refusal(service, "expired");
  }
  return key;
}

/** The host and whatever begins with x-amz- must be signed, or it could be changed on the way. */
function checkSignedHeaders(headers: ReadonlyMap<string, string>, signature: Signature): void {
  const isSigned = (name: string): boolean => signature.signedHeaders.includes(name);
  const open = [...headers.keys()].filter(
    (name) => (name === "host" || name.startsWith("x-amz-")) && !isSigned(name),
  );
  if (open.length > 0) {
    const message = "There were headers present in the request which were not signed";
    throw new ApiError(403, "AccessDenied", message, { HeadersNotSigned: open.join(", ") });
  }
}

/** S3 signs the path with each byte encoded once; the others encode what is already encoded again. */
function canonicalPath(rawPath: string, service: ServiceName): string {
  const bytes = service === "s3" ? decodePercent(rawPath) : Buffer.from(rawPath);
  return encodePercent(bytes, true) || "/";
}

function canonicalQuery(query: URLSearchParams): string {
  return [...query]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [
      encodePercent(Buffer.from(name), false),
      encodePercent(Buffer.from(value), false),
    ])
    .sort(([a = "", av = ""], [b = "", bv = ""]) => compareText(a, b) || compareText(av, bv))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function decodePercent(text: string): Buffer {
  const binary = text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(binary, "latin1");
}

function encodePercent(bytes: Buffer, keepsSlash: boolean): string {
  const safe = keepsSlash ? /[^A-Za-z0-9\-._~/]/g : /[^A-Za-z0-9\-._~]/g;
  return bytes
    .toString("latin1")
    .replace(safe, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

function deriveSigningKey(secretAccessKey: string, scope: readonly string[]): Buffer {
  let key: Buffer = Buffer.from(`AWS4${secretAccessKey}`);
  for (const part of [...scope, "aws4_request"]) key = hmac(key, part);
  return key;
}

export const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac("sha256", key).update(text, "latin1").digest();
export const sha256 = (text: string): string =>
  createHash("sha256").update(text, "latin1").digest("hex");

/** The AWS CLI before version 2 still presigns with it. */
const versionTwo = (): ApiError =>
  new ApiError(
    400,
    "InvalidRequest",
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
  );

const malformed = (message: string): ApiError =>
  new ApiError(400, "AuthorizationHeaderMalformed", message);

const wrongRegion = (given: string, expected: string, service: ServiceName): ApiError =>
  service === "s3"
    ? new ApiError(
        400,
        "AuthorizationHeaderMalformed",
        `the region '${given}' is wrong; expecting '${expected}'`,
        { Region: expected },
      )
    : new ApiError(
        403,
        "SignatureDoesNotMatch",
        `Credential should be scoped to a valid region, not '${given}'.`,
      );

/** The same refusal is worded differently by each service. */
const REFUSALS = {
  mismatch: {
    message:
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    codes: { ec2: "AuthFailure", ssm: "InvalidSignatureException", other: "SignatureDoesNotMatch" },
  },
  unknown: {
    message: "The access key id you provided does not belong to this local cloud.",
    codes: {
      ec2: "AuthFailure",
      ssm: "UnrecognizedClientException",
      other: "InvalidClientTokenId",
    },
  },
  token: {
    message: "The provided token is malformed or does not belong to the access key.",
    codes: {
      ec2: "AuthFailure",
      ssm: "UnrecognizedClientException",
      other: "InvalidClientTokenId",
    },
  },
  expired: {
    message: "The provided token has expired.",
    codes: { ec2: "RequestExpired", ssm: "ExpiredTokenException", other: "ExpiredToken" },
  },
} as const;
const S3_CODES = {
  mismatch: "SignatureDoesNotMatch",
  unknown: "InvalidAccessKeyId",
  token: "InvalidToken",
  expired: "ExpiredToken",
};

function refusal(service: ServiceName, kind: keyof typeof REFUSALS): ApiError {
  const { message, codes } = REFUSALS[kind];
  if (service === "s3") {
    const status = kind === "token" || kind === "expired" ? 400 : 403;
    return new ApiError(status, S3_CODES[kind], message);
  }
  const code = service === "ec2" || service === "ssm" ? codes[service] : codes.other;
  return new ApiError(service === "ec2" ? 401 : service === "ssm" ? 400 : 403, code, message);
}
