/** Logs of ports.ts over SSM sessions. */
import type { SSMClient } from "@aws-sdk/client-ssm";
import type { Clock, Logs } from "../../ports.ts";
import type { GenerateDataKey } from "./encryption.ts";
import { FOLLOW_TIMES, type FollowTimes, followLog } from "./follow.ts";
import { createSessions } from "./sessions.ts";

export type LogsOptions = {
  readonly ssm: SSMClient;
  /** Called only where the account's session preferences name a key. */
  readonly generateDataKey: GenerateDataKey;
  readonly clock: Clock;
  readonly random?: () => number;
  readonly times?: Partial<FollowTimes>;
};

/** One for the whole process, for the account's limits hold for all followers together. */
export function createLogs({ ssm, generateDataKey, clock, ...options }: LogsOptions): Logs {
  const sessions = createSessions(ssm, clock);
  const times = { ...FOLLOW_TIMES, ...options.times };
  const random = options.random ?? Math.random;
  return {
    follow: (instanceId, firstLine, signal) => {
      const common = { sessions, generateDataKey, clock, times, random };
      return followLog({ ...common, instanceId, firstLine }, signal);
    },
  };
}
