/** Wakes a loop. Rings before anyone waits are kept as one. */
export type Bell = {
  readonly ring: () => void;
  /** Resolves at the next ring, after `ms`, or when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
};

export function createBell(sleep: (ms: number, signal: AbortSignal) => Promise<void>): Bell {
  let hasRung = false;
  let answer: (() => void) | undefined;
  return {
    ring: () => {
      hasRung = true;
      answer?.();
    },
    wait: async (ms, signal) => {
      if (!hasRung && ms > 0 && !signal.aborted) {
        const rung = new AbortController();
        answer = () => rung.abort();
        // AbortSignal.any would do it too, at several times the price, and this is waited for all day.
        signal.addEventListener("abort", answer);
        await sleep(ms, rung.signal);
        signal.removeEventListener("abort", answer);
        answer = undefined;
      }
      hasRung = false;
    },
  };
}
