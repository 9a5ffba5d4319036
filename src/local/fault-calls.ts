/**
 * Faults of single calls, as the front of the local cloud commits them before and after a service has done its work. The services
 * know nothing of it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  CALL_FAULTS,
  type CallFault,
  matchesFields,
  type RuleOf,
  statusOf,
} from "./fault-rules.ts";
import type { Faults } from "./faults.ts";
import { ApiError, HangUp, isStream, type LocalResponse, type UnsignedRequest } from "./http.ts";
import type { ServiceName } from "./signature.ts";
import { matchesWildcard } from "./wildcards.ts";

/** A call as rules see it. */
export type CallDescription = {
  /** Without its service; empty when nobody can tell. */
  readonly operation: string;
  /** What `match` may name: parameters of EC2 and STS, fields of SQS and SSM, `bucket` and `key` of S3, `path` of IMDS. */
  readonly fields: Readonly<Record<string, string | undefined>>;
};

export type GuardedCall = {
  readonly service: ServiceName | "imds";
  readonly request: Pick<UnsignedRequest, "signal">;
  /** The instance that calls; undefined for the owner. */
  readonly instanceId: string | undefined;
  /** Asked only when there are rules. */
  readonly describe: () => CallDescription;
};

export type CallFaults = {
  /** Throws ApiError for an answer that was planted, HangUp when the caller is to hear nothing. */
  guard(call: GuardedCall, handle: () => Promise<LocalResponse>): Promise<LocalResponse>;
};

export function createCallFaults(
  faults: Faults,
  isCutOff: (instanceId: string) => boolean,
): CallFaults {
  return {
    guard: async (call, handle) => {
      if (call.instanceId !== undefined && isCutOff(call.instanceId)) throw new HangUp();
      if (!faults.hasAny(CALL_FAULTS)) return handle();
      const isMatch = matcher(call);
      const delay = faults.fire("delay", isMatch);
      if (delay) await sleep(delay.ms, undefined, { signal: call.request.signal });
      refuse(call, faults, isMatch);
      const lost = faults.fire("lost-reply", isMatch);
      const answer = await handle();
      if (!lost) return answer;
      if (isStream(answer.body)) answer.body.close();
      throw new HangUp();
    },
  };
}

type IsMatch = (rule: RuleOf<CallFault>) => boolean;

function matcher(call: GuardedCall): IsMatch {
  const { operation, fields } = call.describe();
  const name = `${call.service}:${operation}`;
  const all = { ...fields, caller: call.instanceId ?? "owner" };
  return (rule) => matchesWildcard(name, rule.operation) && matchesFields(rule.match, all);
}

function refuse({ service }: GuardedCall, faults: Faults, isMatch: IsMatch): void {
  if (faults.fire("lost-request", isMatch)) throw new HangUp();
  if (faults.fire("throttle", isMatch)) {
    const { status, code, message } = THROTTLED[service];
    throw new ApiError(status, code, message);
  }
  const error = faults.fire("error", isMatch);
  if (error) throw new ApiError(statusOf(error), error.code, error.message);
}

const rateExceeded = { status: 400, code: "ThrottlingException", message: "Rate exceeded" };

/** In each service's own words. */
const THROTTLED: Readonly<
  Record<
    GuardedCall["service"],
    { readonly status: number; readonly code: string; readonly message: string }
  >
> = {
  ec2: { status: 503, code: "RequestLimitExceeded", message: "Request limit exceeded." },
  imds: { status: 429, code: "TooManyRequests", message: "Too Many Requests" },
  kms: rateExceeded,
  secretsmanager: rateExceeded,
  servicequotas: { ...rateExceeded, code: "TooManyRequestsException" },
  s3: { status: 503, code: "SlowDown", message: "Please reduce your request rate." },
  sqs: { status: 403, code: "RequestThrottled", message: "Request was throttled." },
  ssm: rateExceeded,
  sts: { ...rateExceeded, code: "Throttling" },
};
