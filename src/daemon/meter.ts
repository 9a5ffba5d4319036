/** What the daemon tells whoever measures it. Nothing here may throw, or wait. */
import type { Hold } from "../core/view.ts";
import type { CloudErrorKind } from "../errors.ts";

/** The daemon's loops: each comes round for as long as the daemon lives, whatever AWS answers. */
export type Loop = "lease" | "look" | "listen" | "sweep";

/** What a look has found, and what was decided on it. */
export type Looked = {
  readonly tookMs: number;
  readonly openRuns: number;
  /** Waiting jobs, by why they wait. */
  readonly holds: Readonly<Partial<Record<Hold["reason"], number>>>;
  /** Instances with our tag that are not gone, whether or not a record knows them. */
  readonly instances: number;
  /** What living attempts cost an hour, US dollars. */
  readonly hourlyUsd: number;
};

export type Meter = {
  /** A loop has come round, for good or ill. */
  readonly turned: (loop: Loop, at: number) => void;
  readonly looked: (looked: Looked) => void;
  /** EC2's definite answer to a launch of so many instances. */
  readonly launched: (outcome: "launched" | CloudErrorKind, count: number) => void;
  /** Whether this daemon plans, or stands by. */
  readonly leased: (isHeld: boolean) => void;
  /** Where the depth of the daemon's own queues can be read at any time. */
  readonly watch: (queue: "intake" | "events", depth: () => number) => void;
};

export const NO_METER: Meter = {
  turned: () => {},
  looked: () => {},
  launched: () => {},
  leased: () => {},
  watch: () => {},
};
