/**
 * The sending half of the channel's reliability: what has not been acknowledged is sent again, the oldest first, after a time-out that
 * follows the round trips seen (Jacobson: mean and deviation with gains of 1/8 and 1/4, as the official client has them).
 */

export type Outgoing = {
  /** The sequence number for the next message; it must be sent, and kept here. */
  next(): number;
  keep(sequence: number, frame: Uint8Array, now: number): void;
  acknowledge(sequence: number, now: number): void;
  /** What is to be sent again now. */
  due(now: number): Uint8Array | undefined;
  /** Nobody has acknowledged the oldest for so long that nobody will. */
  isHopeless(): boolean;
};

type Kept = { readonly frame: Uint8Array; sentAt: number; tries: number };

const TIMEOUT_FIRST_MS = 200;
const TIMEOUT_MAX_MS = 1_000;
const DEVIATION_MIN_MS = 10;
/** We send a few messages an hour, so a tenth of the official client's patience is enough: half a minute. */
const TRIES_MAX = 30;

export function createOutgoing(): Outgoing {
  const kept = new Map<number, Kept>();
  let sequence = 0;
  let [roundTripMs, deviationMs, timeoutMs] = [100, 0, TIMEOUT_FIRST_MS];

  function learn(sampleMs: number): void {
    const error = sampleMs - roundTripMs;
    roundTripMs += error / 8;
    deviationMs += (Math.abs(error) - deviationMs) / 4;
    timeoutMs = Math.min(TIMEOUT_MAX_MS, roundTripMs + Math.max(DEVIATION_MIN_MS, 4 * deviationMs));
  }

  const oldest = (): Kept | undefined => kept.values().next().value;

  return {
    next: () => sequence++,
    keep: (number, frame, now) => {
      kept.set(number, { frame, sentAt: now, tries: 1 });
    },
    acknowledge: (number, now) => {
      const message = kept.get(number);
      if (message === undefined) return;
      kept.delete(number);
      // Of one sent twice nobody knows which was acknowledged.
      if (message.tries === 1) learn(now - message.sentAt);
    },
    due: (now) => {
      const message = oldest();
      if (message === undefined || now - message.sentAt < timeoutMs) return undefined;
      message.sentAt = now;
      message.tries++;
      return message.frame;
    },
    isHopeless: () => (oldest()?.tries ?? 0) > TRIES_MAX,
  };
}
