/** How often SSM may be called. https://docs.aws.amazon.com/general/latest/gr/ssm.html */
import { ApiError } from "./http.ts";
import { type BucketSize, createThrottle } from "./token-bucket.ts";

const perSecond = (requests: number): BucketSize => ({
  capacity: requests,
  refillPerSecond: requests,
});

const LIMITS = {
  StartSession: perSecond(3),
  ResumeSession: perSecond(6),
  TerminateSession: perSecond(6),
  DescribeSessions: perSecond(6),
  GetConnectionStatus: perSecond(50),
  /** GetParameter, GetParameters and GetParametersByPath share it. */
  GetParameter: perSecond(40),
} satisfies Readonly<Record<string, BucketSize>>;

type LimitName = keyof typeof LIMITS;

/** Takes one token for an operation, such as `StartSession`; one that is not listed is not limited. Throws ApiError ThrottlingException. */
export type SsmThrottle = (operation: string) => void;

export function createSsmThrottle(now: () => number): SsmThrottle {
  const throttle = createThrottle<LimitName>(LIMITS, now);
  return (operation) => {
    const name = operation.replace(/^GetParameter(s|sByPath)$/, "GetParameter");
    if (Object.hasOwn(LIMITS, name) && !throttle.take(name as LimitName)) {
      throw new ApiError(400, "ThrottlingException", "Rate exceeded");
    }
  };
}
