/**
 * Faults of sessions, as the service commits them: on frames as they pass, on connections and sessions from their beginning. The rules
 * are those of `fault-rules.ts`.
 */
import { type FaultName, matchesFields, type RuleOf } from "./fault-rules.ts";
import type { Faults } from "./faults.ts";

type FrameFault = "frame-lost" | "frame-twice" | "frame-out-of-order";
type TimedFault = "connection-closes" | "idle-timeout" | "session-pauses";

export type SessionFaults = {
  /** Whether it befalls a frame that comes from there. */
  befalls(fault: FrameFault, from: "agent" | "client"): boolean;
  /** What a connection or a session that begins now is to meet, if it lives to meet it. */
  plan(fault: TimedFault): Planned | undefined;
};

export type Planned = {
  readonly ms: number;
  /** Each time that it has. */
  readonly happened: () => void;
};

export function createSessionFaults(faults: Faults, instanceId: string): SessionFaults {
  return {
    befalls: (fault, from) =>
      faults.hasAny([fault]) &&
      faults.fire(fault, ({ match }) => matchesFields(match, { instanceId, from })) !== undefined,
    plan: (fault) => {
      const rule = faults.fire(fault, ({ match }) => matchesFields(match, { instanceId }), true);
      return rule && { ms: msOf(rule), happened: () => faults.happened(rule.id) };
    },
  };
}

const msOf = (rule: RuleOf<TimedFault>): number =>
  rule.fault === "session-pauses" ? rule.everyMs : rule.afterMs;

/** Whether a rule keeps the agent of an instance of this age away. */
export const isKeptAway = (
  faults: Faults,
  { instanceId, ageMs }: { readonly instanceId: string; readonly ageMs: number },
): boolean =>
  faults.fire(
    "agent-absent" satisfies FaultName,
    ({ match, forMs }) => ageMs < forMs && matchesFields(match, { instanceId }),
  ) !== undefined;
