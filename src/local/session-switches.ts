/**
 * How sessions misbehave when they are told to, and how often they have. Chance is seeded, so that a failing test can be played again.
 */
export type SessionSwitches = {
  readonly seed: number;
  /** Chances are from 0 to 1. This one is of frames, both ways. */
  readonly dropFrames: number;
  readonly duplicateFrames: number;
  /** Held back until the next one has gone, or 20 ms. */
  readonly reorderFrames: number;
  /** The service closes connections of this age with 1000 "Bye"; AWS after about an hour. */
  readonly closeAfterMs: number;
  /** Of a client that sends no input, whatever comes out. */
  readonly idleMs: number;
  /** Since its launch an instance's agent is not connected for so long. */
  readonly absentMs: number;
  /** Of StartSession. */
  readonly failStarts: number;
  /** A `pause_publication` with a zeroed header, so often. */
  readonly pauseEveryMs: number | null;
  /** The account's preferences name it; sessions are encrypted then. */
  readonly kmsKeyId: string | null;
  /** Agents since 3.3.808 send one. */
  readonly hasKmsChallenge: boolean;
  readonly agentVersion: string;
};

export const AS_ON_AWS: SessionSwitches = {
  seed: 1,
  dropFrames: 0,
  duplicateFrames: 0,
  reorderFrames: 0,
  closeAfterMs: 60 * 60_000,
  idleMs: 20 * 60_000,
  absentMs: 0,
  failStarts: 0,
  pauseEveryMs: null,
  kmsKeyId: null,
  hasKmsChallenge: true,
  agentVersion: "3.3.0.0",
};

export type Fired =
  | "droppedFrames"
  | "duplicatedFrames"
  | "reorderedFrames"
  | "closedConnections"
  | "idleSessions"
  | "absentAgents"
  | "failedStarts"
  | "pauses"
  | "encryptedSessions"
  | "deadPumps"
  | "startedSessions"
  | "resumedSessions";

export type SessionFaults = {
  switches(): SessionSwitches;
  set(switches: Partial<SessionSwitches>): void;
  /** Rolls the dice of a chance, and counts. */
  happens(
    of: "dropFrames" | "duplicateFrames" | "reorderFrames" | "failStarts",
    as: Fired,
  ): boolean;
  count(what: Fired): void;
  counts(): Readonly<Partial<Record<Fired, number>>>;
};

export function createSessionFaults(initial: Partial<SessionSwitches> = {}): SessionFaults {
  let switches: SessionSwitches = { ...AS_ON_AWS, ...initial };
  let random = createRandom(switches.seed);
  const counts: Partial<Record<Fired, number>> = {};
  const count = (what: Fired): void => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  return {
    switches: () => switches,
    set: (changes) => {
      switches = { ...switches, ...changes };
      if (changes.seed !== undefined) random = createRandom(changes.seed);
    },
    happens: (of, as) => {
      if (switches[of] === 0 || random() >= switches[of]) return false;
      count(as);
      return true;
    },
    count,
    counts: () => counts,
  };
}

/** Mulberry32. */
function createRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
