/** Calls of the whole process held below what AWS allows an account. */
import type { Clock } from "../ports.ts";

export type RateLimiter = {
  /** Resolves in turn, at most so many a second; at once when the signal aborts. */
  take(signal: AbortSignal): Promise<void>;
};

export function createRateLimiter(perSecond: number, clock: Clock): RateLimiter {
  const gapMs = 1_000 / perSecond;
  let freeAt = 0;
  return {
    take: async (signal) => {
      if (signal.aborted) return;
      const at = Math.max(clock.now(), freeAt);
      freeAt = at + gapMs;
      const waitMs = at - clock.now();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    },
  };
}
