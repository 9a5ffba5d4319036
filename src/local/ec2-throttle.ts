/**
 * How often EC2 may be called: a bucket of requests for each action, and one of resources for those that make or end instances.
 * https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
 */
import { ApiError } from "./http.ts";
import { type BucketSize, createTokenBucket, type TokenBucket } from "./token-bucket.ts";

const DESCRIBE: BucketSize = { capacity: 100, refillPerSecond: 20 };
const MUTATE: BucketSize = { capacity: 50, refillPerSecond: 5 };
/** For those Describe actions that list everything when they are asked without filter and pages. */
const DESCRIBE_ALL: BucketSize = { capacity: 50, refillPerSecond: 10 };

const REQUESTS: Readonly<Record<string, BucketSize>> = {
  RunInstances: { capacity: 5, refillPerSecond: 2 },
  TerminateInstances: { capacity: 100, refillPerSecond: 5 },
  CreateTags: { capacity: 100, refillPerSecond: 10 },
};

const RESOURCES: Readonly<Record<string, BucketSize>> = {
  RunInstances: { capacity: 1_000, refillPerSecond: 2 },
  TerminateInstances: { capacity: 1_000, refillPerSecond: 20 },
};

/** Takes the tokens of one call. Throws ApiError RequestLimitExceeded when there are none. */
export type Ec2Throttle = (action: string, form: URLSearchParams) => void;

export function createEc2Throttle(now: () => number): Ec2Throttle {
  const buckets = new Map<string, TokenBucket>();
  const take = (name: string, size: BucketSize, tokens: number): void => {
    const bucket = buckets.get(name) ?? createTokenBucket(size, now);
    buckets.set(name, bucket);
    if (!bucket.take(tokens)) throw new ApiError(503, "RequestLimitExceeded", MESSAGE);
  };
  return (action, form) => {
    const isWhole = action === "DescribeInstances" && !isNarrowed(form);
    const size = isWhole ? DESCRIBE_ALL : (REQUESTS[action] ?? defaultSize(action));
    take(isWhole ? `${action} of all` : action, size, 1);
    const resources = RESOURCES[action];
    if (resources) take(`resources of ${action}`, resources, countResources(action, form));
  };
}

const MESSAGE = "Request limit exceeded.";

const defaultSize = (action: string): BucketSize =>
  /^(Describe|Get)/.test(action) ? DESCRIBE : MUTATE;

/** With a filter or in pages; a list of ids is neither. */
const isNarrowed = (form: URLSearchParams): boolean =>
  form.has("MaxResults") ||
  form.has("NextToken") ||
  [...form.keys()].some((name) => name.startsWith("Filter."));

/** What is not a number is refused for that later. */
function countResources(action: string, form: URLSearchParams): number {
  if (action === "RunInstances") return Math.max(0, Number(form.get("MaxCount")) || 0);
  return [...form.keys()].filter((name) => name.startsWith("InstanceId.")).length;
}
