/**
 * Follows one log through as many sessions as it takes. Whatever ends a session (a closed socket, a dead connection, lost messages, the
 * service's hourly close), the next one begins at the line that is wanted next. ResumeSession is never used: the agent's pump
 * for commands ends for good when output comes while nobody is connected, and the resumed session stays silent for ever.
 *
 * The service closes connections hourly. So before that a second session is opened, and the first is let go when the second
 * has caught up: nothing is missed, nothing waits.
 */
import { describeError, isCloudError } from "../../errors.ts";
import type { Clock, LogEvent } from "../../ports.ts";
import type { ChannelEnd } from "./channel.ts";
import type { GenerateDataKey } from "./encryption.ts";
import { AGENT_CURE } from "./inspect.ts";
import { createLineQueue, type LineQueue } from "./line-queue.ts";
import { type FollowedSession, followSession, type SessionTimes } from "./session.ts";
import type { Sessions } from "./sessions.ts";

export type FollowTimes = SessionTimes & {
  readonly rotateMs: number;
  /** Between tries of a machine whose agent is not there yet. */
  readonly readyEveryMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A session that lasted so long was a good one: the next failure is a first one. */
  readonly goodMs: number;
};

export const FOLLOW_TIMES: FollowTimes = {
  inputEveryMs: 45_000,
  farewellMs: 3_000,
  openAfterMs: 150,
  rotateMs: 50 * 60_000,
  readyEveryMs: 1_000,
  backoffMinMs: 500,
  backoffMaxMs: 30_000,
  goodMs: 60_000,
};

export type FollowOptions = {
  readonly instanceId: string;
  readonly firstLine: number;
  readonly sessions: Sessions;
  readonly generateDataKey: GenerateDataKey;
  readonly clock: Clock;
  readonly times: FollowTimes;
  /** From 0 to 1; spreads what many followers would do at once. */
  readonly random: () => number;
};

/** After so many the machine is a slow one, or one without an agent. */
const READY_TRIES_QUICK = 60;

export async function* followLog(
  options: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<LogEvent, void, void> {
  const queue = createLineQueue(options.firstLine);
  const leaving = new AbortController();
  const both = AbortSignal.any([signal, leaving.signal]);
  const working = keepFollowing(options, queue, both).then(queue.close, queue.fail);
  try {
    yield* queue.read();
  } finally {
    leaving.abort();
    await working;
  }
}

/** What following goes by; `farewells` are ends of sessions that nobody waits for but the end. */
type Work = {
  readonly options: FollowOptions;
  readonly queue: LineQueue;
  readonly farewells: Set<Promise<void>>;
  readonly signal: AbortSignal;
};

async function keepFollowing(
  options: FollowOptions,
  queue: LineQueue,
  signal: AbortSignal,
): Promise<void> {
  const work: Work = { options, queue, farewells: new Set(), signal };
  const waits: Waits = { failures: 0, absences: 0 };
  try {
    while (!signal.aborted) {
      const opened = await tryOpen(work);
      const waitMs =
        opened.type === "failed"
          ? afterFailure(work, waits, opened)
          : await followOnce(work, waits, opened.session);
      if (waitMs > 0) await options.clock.sleep(waitMs, signal);
    }
  } finally {
    await Promise.all(work.farewells);
  }
}

type Waits = { failures: number; absences: number };

/** Returns how long to wait before the next try. */
function afterFailure(
  { options, queue }: Work,
  waits: Waits,
  failed: Opened & { readonly type: "failed" },
): number {
  waits.absences = failed.isAbsent ? waits.absences + 1 : 0;
  const isYoung = failed.isAbsent && waits.absences < READY_TRIES_QUICK;
  const reason = failed.isAbsent && !isYoung ? `${failed.reason}: ${AGENT_CURE}` : failed.reason;
  queue.report({ type: "waiting", reason });
  return isYoung ? options.times.readyEveryMs : backoff(options, waits.failures++);
}

/** Returns how long to wait before the next session. */
async function followOnce(work: Work, waits: Waits, session: FollowedSession): Promise<number> {
  const { options, queue, signal } = work;
  const beganAt = options.clock.now();
  const end = await followUntilEnd(work, session);
  if (signal.aborted) return 0;
  queue.report({ type: "waiting", reason: reasonOf(end) });
  waits.absences = 0;
  const wasGood = options.clock.now() - beganAt > options.times.goodMs;
  waits.failures = wasGood ? 0 : waits.failures + 1;
  return wasGood ? 0 : backoff(options, waits.failures - 1);
}

function leave({ farewells }: Work, session: FollowedSession): void {
  const farewell = session.stop().finally(() => farewells.delete(farewell));
  farewells.add(farewell);
}

type Opened =
  | { readonly type: "open"; readonly session: FollowedSession }
  /** `isAbsent`: its agent is not there. */
  | { readonly type: "failed"; readonly reason: string; readonly isAbsent: boolean };

/** Throws what will not get better: a refusal, or a bug. */
async function tryOpen(work: Work): Promise<Opened> {
  const { options, queue, signal } = work;
  let complaint = "";
  try {
    const firstLine = queue.nextLine();
    const started = await options.sessions.start(options.instanceId, firstLine, signal);
    const session = followSession({
      ...options,
      started,
      firstLine,
      onPiece: queue.offer,
      onOpen: queue.offerOpen,
      onComplaint: (text) => {
        complaint = text.trim();
      },
    });
    const ready = session.ready.then((): "ready" => "ready");
    const end = await first<"ready" | ChannelEnd>([ready, session.ended], signal);
    if (end === "ready") {
      queue.report({ type: "live" });
      return { type: "open", session };
    }
    leave(work, session);
    const reason = [end ? reasonOf(end) : "", complaint].filter((text) => text !== "").join(": ");
    return { type: "failed", reason, isAbsent: false };
  } catch (error) {
    if (signal.aborted) return { type: "failed", reason: "", isAbsent: false };
    if (!isCloudError(error) || error.kind === "refused") throw error;
    const isAbsent = error.code === "TargetNotConnected";
    return { type: "failed", reason: describeError(error), isAbsent };
  }
}

/** Goes on from session to session in good time, until one ends by itself or the signal aborts; it leaves them all. */
async function followUntilEnd(work: Work, opened: FollowedSession): Promise<ChannelEnd> {
  const { options, signal } = work;
  let session = opened;
  try {
    for (;;) {
      const end = await endWithin(work, session, rotateAfter(options));
      if (end) return end;
      if (signal.aborted) return NOT_ENDED;
      const next = await tryOpen(work);
      // The old one goes on until the service closes it; another new one is tried in a while.
      if (next.type === "failed") continue;
      await catchUp(work, next.session);
      leave(work, session);
      session = next.session;
    }
  } finally {
    leave(work, session);
  }
}

const NOT_ENDED: ChannelEnd = { type: "broken", reason: "", isOver: false };

/** Undefined when the time is over, or nobody wants it any more. */
async function endWithin(
  { options, signal }: Work,
  { ended }: FollowedSession,
  ms: number,
): Promise<ChannelEnd | undefined> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  const slept = options.clock.sleep(ms, either).then(() => undefined);
  const end = await Promise.race([ended, slept]);
  done.abort();
  return end;
}

/** Undefined when the signal aborts before any of them. */
function first<Value>(promises: readonly Promise<Value>[], signal: AbortSignal) {
  return new Promise<Value | undefined>((resolve, reject) => {
    const giveUp = (): void => resolve(undefined);
    if (signal.aborted) return giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    Promise.race(promises)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", giveUp));
  });
}

const CATCH_UP_EVERY_MS = 50;
const CATCH_UP_TRIES_MAX = 200;

/** Until the new session is where the old one is; at the latest when the old one need not be waited for. */
async function catchUp(work: Work, session: FollowedSession): Promise<void> {
  for (let tries = 0; tries < CATCH_UP_TRIES_MAX; tries++) {
    if (session.nextLine() >= work.queue.nextLine()) return;
    if (await endWithin(work, session, CATCH_UP_EVERY_MS)) return;
    if (work.signal.aborted) return;
  }
}

/** Spread over a tenth, so that followers that began together do not all rotate together. */
const rotateAfter = ({ times, random }: FollowOptions): number =>
  times.rotateMs * (1 - random() / 10);

/** From a half of it to the whole. */
function backoff({ times, random }: FollowOptions, failures: number): number {
  const ms = Math.min(times.backoffMaxMs, times.backoffMinMs * 2 ** failures);
  return ms * (0.5 + random() / 2);
}

const reasonOf = (end: ChannelEnd): string =>
  end.type === "exited" ? `the command on the instance ended with ${end.code}` : end.reason;
