/**
 * The receiving half of the channel's reliability: messages in their order, each once. Every message is acknowledged on its own, also
 * one that came before (its first acknowledgement was lost, and the agent repeats it for ever otherwise).
 */

export type Received<Message> =
  /** To be acknowledged, and these to be worked on, in this order. */
  | { readonly type: "taken"; readonly ready: readonly Message[] }
  /** There is no room to keep it: not acknowledged, so it comes again. */
  | { readonly type: "dropped" };

export type Incoming<Message> = {
  receive(sequence: number, message: Message, now: number): Received<Message>;
  /** A gap at the head that repeats will not close soon enough. */
  isHopeless(now: number): boolean;
};

const WAITING_MAX = 10_000;
/**
 * The agent repeats only its oldest message, ten a second at most: behind a gap of many messages the log would be
 * minutes late, while a new session is there in a tenth of a second.
 */
const GAP_MAX_MS = 5_000;
const CROWD = 64;
const CROWD_MAX_MS = 2_000;

export function createIncoming<Message>(): Incoming<Message> {
  const waiting = new Map<number, Message>();
  let expected = 0;
  let gapSince: number | undefined;

  function drain(): readonly Message[] {
    const ready: Message[] = [];
    for (let next = waiting.get(expected); next !== undefined; next = waiting.get(expected)) {
      waiting.delete(expected);
      expected++;
      ready.push(next);
    }
    return ready;
  }

  return {
    receive: (sequence, message, now) => {
      if (sequence < expected) return { type: "taken", ready: [] };
      if (sequence === expected) {
        expected++;
        const ready = [message, ...drain()];
        // Another gap may be at the head now; its time counts from here.
        gapSince = waiting.size > 0 ? now : undefined;
        return { type: "taken", ready };
      }
      if (waiting.size >= WAITING_MAX && !waiting.has(sequence)) return { type: "dropped" };
      waiting.set(sequence, message);
      gapSince ??= now;
      return { type: "taken", ready: [] };
    },
    isHopeless: (now) => {
      if (gapSince === undefined) return false;
      const age = now - gapSince;
      return age > GAP_MAX_MS || (waiting.size > CROWD && age > CROWD_MAX_MS);
    },
  };
}
