/** Which operation a request is, for rules of faults: read as its service reads it, and no error where that would refuse it. */
import type { CallDescription } from "./fault-calls.ts";
import type { UnsignedRequest } from "./http.ts";
import { readTarget } from "./s3.ts";
import { findOperation } from "./s3-routes.ts";
import type { ServiceName } from "./signature.ts";

/** `body` is undefined for S3, whose bodies stream. */
export function describeCall(
  service: ServiceName,
  request: UnsignedRequest,
  body: Buffer | undefined,
): CallDescription {
  try {
    switch (service) {
      case "s3":
        return describeS3(request);
      case "ec2":
      case "sts":
        return describeForm(body);
      case "kms":
      case "secretsmanager":
      case "servicequotas":
      case "sqs":
      case "ssm":
        return describeJson(request, body);
    }
  } catch {
    // The service will say what is wrong with it.
    return UNKNOWN;
  }
}

const UNKNOWN: CallDescription = { operation: "", fields: {} };

function describeS3(request: UnsignedRequest): CallDescription {
  const { bucket, key } = readTarget(request);
  const on = bucket === "" ? "service" : key === "" ? "bucket" : "object";
  const { method, query, headers } = request;
  const operation = findOperation({ method, on, query, headers });
  return { operation, fields: { bucket, ...(key === "" ? {} : { key }) } };
}

function describeForm(body: Buffer | undefined): CallDescription {
  const form = new URLSearchParams(body?.toString() ?? "");
  return { operation: form.get("Action") ?? "", fields: Object.fromEntries(form) };
}

function describeJson(request: UnsignedRequest, body: Buffer | undefined): CallDescription {
  const operation = String(request.headers["x-amz-target"] ?? "").split(".")[1] ?? "";
  const input: unknown = JSON.parse(body?.toString() || "{}");
  const fields = Object.entries(input ?? {}).map(([name, value]) => [
    name,
    typeof value === "object" ? JSON.stringify(value) : String(value),
  ]);
  return { operation, fields: Object.fromEntries(fields) };
}

/** `/imds/<instance>/<secret>/latest/…` */
export function describeImds(request: Pick<UnsignedRequest, "method" | "rawPath">): {
  readonly instanceId: string;
  readonly call: CallDescription;
} {
  const [, , instanceId = "", , ...rest] = request.rawPath.split("/");
  const path = rest.join("/");
  const operation = path === "latest/api/token" ? "PutToken" : "Get";
  return { instanceId, call: { operation, fields: { path } } };
}
