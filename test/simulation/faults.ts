/** What may go wrong, and how often. */
import type { Random } from "./random.ts";

/** Chances are per call; of machines per machine, of events per event. Times are milliseconds. */
export type Faults = {
  /** The daemon dies in a call, before the world has done it or after. */
  readonly crash: number;
  /** It stands still for minutes in a call, as a suspended host does, and goes on as if nothing had been. */
  readonly pause: number;
  /** Its clock is set forward or back. */
  readonly clockJump: number;
  readonly unavailable: number;
  /** The call was carried out; its answer is lost. */
  readonly lostReply: number;
  /** A write is given up by whoever sent it, and arrives and is carried out within minutes all the same. */
  readonly late: number;
  /** S3 answers 409 to a conditional write that it has not carried out. */
  readonly race: number;
  readonly noCapacity: number;
  readonly quota: number;
  /** RunInstances is denied before EC2 looks at the token; and again, where a call with that token was carried out before. */
  readonly denied: number;
  readonly deniedAgain: number;
  /** Of a story: one type is not offered in one zone at all. */
  readonly unsupported: number;
  readonly listingLagMs: number;
  /** An instance is left out of one listing, and of those of the next two minutes at the most. */
  readonly omission: number;
  /** TerminateInstances does not know the instance yet, and does nothing. */
  readonly notFound: number;
  readonly eventLost: number;
  readonly eventTwice: number;
  readonly eventDelayMs: number;
  /** EC2 takes the launch back before the machine boots. */
  readonly takenBack: number;
  /** The machine dies some time, without a word. */
  readonly death: number;
  /** It never claims its order. */
  readonly silentBoot: number;
  /** It works for ever. */
  readonly hang: number;
  /** It reaches S3 no more from some moment on. */
  readonly noNetwork: number;
  /** It powers off without a report. */
  readonly noReport: number;
  /** It puts its last report again, a while later: the reply to the first was lost. */
  readonly reportTwice: number;
  readonly jobFailure: number;
  readonly bootMs: number;
  readonly shutdownMs: number;
  /** Its reports take this long at the most. */
  readonly reportMs: number;
  /** Chances of a story: a record cannot be read for a while. */
  readonly damage: number;
  readonly cancel: number;
  /** A drop that nobody can use; one that is overwritten soon after. */
  readonly brokenDrop: number;
  readonly overwrittenDrop: number;
  /** A daemon is asked to end, as systemd does. */
  readonly stop: number;
  /** Two daemons from the start. */
  readonly rival: number;
};

export const STORM: Faults = {
  crash: 0.004,
  pause: 0.0005,
  clockJump: 0.0005,
  unavailable: 0.03,
  lostReply: 0.05,
  late: 0.001,
  race: 0.02,
  noCapacity: 0.2,
  quota: 0.03,
  denied: 0.02,
  deniedAgain: 0.2,
  unsupported: 0.2,
  listingLagMs: 30_000,
  omission: 0.05,
  notFound: 0.2,
  eventLost: 0.2,
  eventTwice: 0.2,
  eventDelayMs: 90_000,
  takenBack: 0.05,
  death: 0.15,
  silentBoot: 0.1,
  hang: 0.05,
  noNetwork: 0.05,
  noReport: 0.05,
  reportTwice: 0.1,
  jobFailure: 0.15,
  bootMs: 120_000,
  shutdownMs: 60_000,
  reportMs: 20_000,
  damage: 0.2,
  cancel: 0.4,
  brokenDrop: 0.1,
  overwrittenDrop: 0.15,
  stop: 0.2,
  rival: 0.25,
};

/** Nearly certain would be no storm but an outage. */
const CHANCE_MAX = 0.5;

/**
 * Each storm is of its own kind: some faults do not occur, and some much more often than on average. What always comes
 * together with everything else hides what comes alone, and what is rare never meets what is rare.
 */
export function drawStorm(random: Random): Faults {
  const drawn = Object.entries(STORM).map(([name, value]) => [
    name,
    name.endsWith("Ms")
      ? value * drawLength(name, random)
      : Math.min(CHANCE_MAX, value * drawFrequency(random)),
  ]);
  return { ...STORM, ...Object.fromEntries(drawn) };
}

function drawFrequency(random: Random): number {
  const kind = random.next();
  if (kind < 0.35) return 0;
  return kind < 0.8 ? 1 : 5;
}

function drawLength(name: string, random: Random): number {
  if (!random.chance(0.2)) return 1;
  // Errand waits two minutes for an instance to be listed.
  return name === "listingLagMs" ? 3.5 : 6;
}

export const CALM: Faults = {
  crash: 0,
  pause: 0,
  clockJump: 0,
  unavailable: 0,
  lostReply: 0,
  late: 0,
  race: 0,
  noCapacity: 0,
  quota: 0,
  denied: 0,
  deniedAgain: 0,
  unsupported: 0,
  listingLagMs: 0,
  omission: 0,
  notFound: 0,
  eventLost: 0,
  eventTwice: 0,
  eventDelayMs: 1_000,
  takenBack: 0,
  death: 0,
  silentBoot: 0,
  hang: 0,
  noNetwork: 0,
  noReport: 0,
  reportTwice: 0,
  jobFailure: 0,
  bootMs: 20_000,
  shutdownMs: 20_000,
  reportMs: 500,
  damage: 0,
  cancel: 0,
  brokenDrop: 0,
  overwrittenDrop: 0,
  stop: 0,
  rival: 0,
};
