/**
 * What AWS's error codes mean to us: the one table of them. Unknown codes go by their HTTP status, so
 * that no error is hidden; what did not come from AWS or from the way there is a bug and thrown as it is.
 */
import { CloudError, type CloudErrorKind } from "../errors.ts";

const KINDS: Readonly<Record<CloudErrorKind, readonly string[]>> = {
  "no-capacity": [
    "InsufficientInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientHostCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientVolumeCapacity",
    "ReservationCapacityExceeded",
    "UnfulfillableCapacity",
    // The zone has not got the type at all.
    "Unsupported",
    "VolumeTypeNotAvailableInZone",
  ],
  quota: ["InstanceLimitExceeded", "VcpuLimitExceeded", "VolumeLimitExceeded"],
  // Same token, other parameters; same token, and its instance is gone. Both say that it was used.
  "already-launched": ["IdempotentInstanceTerminated", "IdempotentParameterMismatch"],
  refused: [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "InvalidAccessKeyId",
    "NoSuchBucket",
    "OptInRequired",
    "PendingVerification",
    "PermanentRedirect",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
  ],
  conflict: [
    "ConditionalRequestConflict",
    "DocumentAlreadyExists",
    "OperationAborted",
    "PreconditionFailed",
  ],
  "not-found": [
    "DoesNotExistException",
    // Of StartSession and DescribeDocument: there is no document of that name.
    "InvalidDocument",
    "InvalidInstanceID.NotFound",
    "NoSuchKey",
    "NotFound",
    "ParameterNotFound",
  ],
  unavailable: [
    "EC2ThrottledException",
    // Credentials of a role are renewed by the SDK; the next call has new ones.
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServerInternal",
    "ServiceUnavailable",
    "SlowDown",
    // The agent of a young machine is not there yet, or is just connecting again.
    "TargetNotConnected",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestThrottled",
    "Unavailable",
  ],
};

const kindByCode = new Map<string, CloudErrorKind>(
  (Object.keys(KINDS) as CloudErrorKind[]).flatMap((kind) =>
    KINDS[kind].map((code): [string, CloudErrorKind] => [code, kind]),
  ),
);

/** What a user can do about a refusal, where AWS's own words do not say it. */
const HINTS: Readonly<Record<string, string>> = {
  AuthFailure: "check the credentials and the clock of this machine",
  InvalidAccessKeyId: "check the credentials",
  SignatureDoesNotMatch: "check the credentials and the clock of this machine",
  AuthorizationHeaderMalformed: "set `region` to the bucket's region",
  PermanentRedirect: "set `region` to the bucket's region",
  NoSuchBucket: "set `bucket` to a bucket that exists",
  OptInRequired: "enable the region, or subscribe to the image, in the AWS console",
  PendingVerification: "AWS is still verifying the account; try again in a few hours",
  Blocked: "the account is blocked; ask AWS support",
  QueueDoesNotExist: "set `queueUrl` to a queue that exists",
};

/** Errors without an answer: nobody knows whether the call was carried out. */
const NETWORK_CODES = new Set([
  "TimeoutError",
  "NetworkingError",
  "CredentialsProviderError",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EPIPE",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ETIMEDOUT",
]);

/**
 * Runs a call; `doing` is a gerund for the message, as in "launching g5.xlarge in us-east-1a". Throws CloudError
 * for all that AWS or the network answered.
 */
export async function callAws<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toCloudError(doing, error);
  }
}

/** A CloudError with AWS's own words in its message, or the same error when it is none of AWS's. */
export function toCloudError(doing: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CloudError) return error;
  const { code, status } = answerOf(error);
  const kind = kindOf(error, code, status);
  if (!kind) return error;
  const words = wordsOf(error, code);
  const hint = kind === "refused" ? hintOf(error, code) : "";
  return new CloudError(kind, `${doing}: ${words}${hint && `; ${hint}`}`, { code });
}

/** The answer to a read that wants another version alone, which the SDK throws. */
export const isUnchanged = (error: unknown): boolean =>
  error instanceof Error && answerOf(error).status === 304;

type Answer = { readonly code: string; readonly status: number | undefined };

function answerOf(error: Error): Answer {
  const { $metadata, Code, code } = error as Error & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly Code?: string;
    readonly code?: string;
  };
  const status = $metadata?.httpStatusCode;
  const isNetwork = status === undefined && code !== undefined;
  return { code: isNetwork ? code : (Code ?? error.name), status };
}

function kindOf(
  error: Error,
  code: string,
  status: number | undefined,
): CloudErrorKind | undefined {
  if (NETWORK_CODES.has(code) || NETWORK_CODES.has(error.name)) return "unavailable";
  if (status === undefined) return undefined;
  // IAM tells EC2 of a new instance profile a few seconds late.
  if (code === "InvalidParameterValue" && /Invalid IAM Instance Profile/i.test(error.message)) {
    return "unavailable";
  }
  return kindByCode.get(code) ?? kindByCode.get(error.name) ?? kindByStatus(status);
}

/** HEAD answers have no body and so no code; the codes of tomorrow are in no table. */
function kindByStatus(status: number): CloudErrorKind {
  if (status === 404) return "not-found";
  if (status === 409 || status === 412) return "conflict";
  // A 2xx that the SDK could not read, from a proxy for instance, is no answer either.
  const isNoAnswer = status >= 500 || status === 408 || status === 429 || status < 300;
  return isNoAnswer ? "unavailable" : "refused";
}

/** The encoded part of a refusal is a kilobyte that only `aws sts decode-authorization-message` reads. */
function wordsOf(error: Error, code: string): string {
  const message = error.message
    .replace(/\s*Encoded authorization failure message: \S+/, "")
    .replaceAll(/\s+/g, " ")
    .trim();
  return message === "" || message === code ? code : `${message} (${code})`;
}

function hintOf(error: Error, code: string): string {
  const action = /not authorized to perform: ([\w-]+:\w+)/.exec(error.message)?.[1];
  if (action) return `allow ${action} to the role that makes this call`;
  return HINTS[code] ?? HINTS[error.name] ?? "";
}
