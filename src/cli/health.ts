/** Whether the daemon still does its rounds: what `/healthz` answers, and what keeps systemd's watchdog quiet. */
import type { Loop, Meter } from "../daemon/meter.ts";
import type { Clock } from "../ports.ts";

export type Health = Pick<Meter, "turned"> & {
  /** Undefined while all is well; else which loop has not come round since when. */
  readonly trouble: () => string | undefined;
};

/** A round waits a minute at most, and each of its calls to AWS three times a minute before it is given up. */
const ROUND_MS_MAX = 5 * 60_000;
/** The others may work for long: a sweep that prunes thousands of objects is no trouble. */
const LOOPS: readonly Loop[] = ["lease", "look"];

export function createHealth(clock: Pick<Clock, "now">): Health {
  const beganAt = clock.now();
  const turnedAt = new Map<Loop, number>();
  return {
    turned: (loop, at) => void turnedAt.set(loop, at),
    trouble: () => {
      for (const loop of LOOPS) {
        const quietMs = clock.now() - (turnedAt.get(loop) ?? beganAt);
        const seconds = Math.round(quietMs / 1_000);
        if (quietMs > ROUND_MS_MAX) return `the ${loop} loop has not come round for ${seconds} s`;
      }
      return undefined;
    },
  };
}
