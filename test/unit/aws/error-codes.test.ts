import { expect, test } from "vitest";
import { callAws, toCloudError } from "../../../src/aws/error-codes.ts";
import { CloudError } from "../../../src/errors.ts";

/** As the SDK throws them. */
const awsError = (name: string, status: number | undefined, message = "in AWS's words"): Error =>
  Object.assign(new Error(message), {
    name,
    $fault: "client",
    $metadata: status === undefined ? { attempts: 1 } : { httpStatusCode: status },
  });

const mapped = (error: unknown): CloudError => {
  const result = toCloudError("launching g5.xlarge in us-east-1a", error);
  if (!(result instanceof CloudError)) throw new Error("it is no CloudError");
  return result;
};

test.each([
  ["InsufficientInstanceCapacity", 500, "no-capacity"],
  ["Unsupported", 400, "no-capacity"],
  ["InsufficientFreeAddressesInSubnet", 400, "no-capacity"],
  ["VcpuLimitExceeded", 400, "quota"],
  ["IdempotentParameterMismatch", 400, "already-launched"],
  ["IdempotentInstanceTerminated", 400, "already-launched"],
  ["UnauthorizedOperation", 403, "refused"],
  ["InvalidAMIID.NotFound", 400, "refused"],
  ["InvalidSubnetID.NotFound", 400, "refused"],
  ["InvalidParameterValue", 400, "refused"],
  ["NoSuchBucket", 404, "refused"],
  ["NoSuchKey", 404, "not-found"],
  ["InvalidInstanceID.NotFound", 400, "not-found"],
  ["PreconditionFailed", 412, "conflict"],
  ["ConditionalRequestConflict", 409, "conflict"],
  ["RequestLimitExceeded", 503, "unavailable"],
  ["SlowDown", 503, "unavailable"],
  ["RequestTimeout", 400, "unavailable"],
  ["ExpiredToken", 400, "unavailable"],
  ["PermanentRedirect", 301, "refused"],
  ["CodeOfTomorrow", 200, "unavailable"],
  ["CodeOfTomorrow", 301, "refused"],
  ["CodeOfTomorrow", 400, "refused"],
  ["CodeOfTomorrow", 403, "refused"],
  ["CodeOfTomorrow", 404, "not-found"],
  ["CodeOfTomorrow", 409, "conflict"],
  ["CodeOfTomorrow", 412, "conflict"],
  ["CodeOfTomorrow", 429, "unavailable"],
  ["CodeOfTomorrow", 500, "unavailable"],
])("%s with %i means %s", (code, status, kind) => {
  const error = mapped(awsError(code, status));
  expect([error.kind, error.code]).toEqual([kind, code]);
});

test.each(["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENOTFOUND"])(
  "%s on the way means unavailable",
  (code) => {
    const error = Object.assign(new Error("connect"), { code, $metadata: { attempts: 3 } });
    expect([mapped(error).kind, mapped(error).code]).toEqual(["unavailable", code]);
  },
);

test("a time-out without a status means unavailable", () => {
  expect(mapped(awsError("TimeoutError", undefined)).kind).toBe("unavailable");
});

test("a profile that IAM has not told EC2 of yet is worth another look", () => {
  const message =
    "Value (errand) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
  expect(mapped(awsError("InvalidParameterValue", 400, message)).kind).toBe("unavailable");
});

test("the message says what was done, then AWS's own words and its code", () => {
  const message = "We currently do not have sufficient g5.xlarge capacity.";
  expect(mapped(awsError("InsufficientInstanceCapacity", 500, message)).message).toBe(
    "launching g5.xlarge in us-east-1a: We currently do not have sufficient g5.xlarge capacity. (InsufficientInstanceCapacity)",
  );
});

test("a missing permission is named, and the encoded part is left out", () => {
  const message =
    "You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: r. Encoded authorization failure message: AbC-dEf_123";
  expect(mapped(awsError("UnauthorizedOperation", 403, message)).message).toBe(
    "launching g5.xlarge in us-east-1a: You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: r. (UnauthorizedOperation); allow iam:PassRole to the role that makes this call",
  );
});

test("a bug stays what it is", async () => {
  const bug = new TypeError("undefined is not a function");
  expect(toCloudError("launching", bug)).toBe(bug);
  await expect(callAws("launching", () => Promise.reject(bug))).rejects.toBe(bug);
});

test("an error that is sorted already keeps its own words", () => {
  const error = new CloudError("conflict", "writing a: it is gone");
  expect(toCloudError("launching", error)).toBe(error);
});
