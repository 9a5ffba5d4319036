/**
 * Follows the logs that somebody watches: one session for an instance, however many watch it. Nothing is stored: what a watcher
 * missed, the durable log has. A log that nobody watches is not followed, for nobody would be told.
 */
import { describeError, isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, LogEvent, Logs } from "../ports.ts";
import { createLineRing } from "./line-ring.ts";

export type Followers = Logs & {
  /** How many logs are followed. */
  count(): number;
  /** Resolves when no session is open any more; nobody may follow after that. */
  stop(): Promise<void>;
};

export type FollowersOptions = { readonly logs: Logs; readonly clock: Clock; readonly log: Log };

/** A watcher who comes back soon, as a command that is started again, finds the session still there. */
const LINGER_MS = 10_000;

type Follower = {
  readonly ring: ReturnType<typeof createLineRing>;
  /** The last event that is not about lines; said to whoever comes. */
  status: LogEvent | undefined;
  open: (LogEvent & { readonly type: "open" }) | undefined;
  watchers: number;
  /** What ended it; it is not followed any more. */
  failure: { readonly error: unknown } | undefined;
  readonly leaving: AbortController;
  readonly done: Promise<void>;
  /** Waits for the next event. */
  news(): Promise<void>;
};

export function createFollowers(options: FollowersOptions): Followers {
  const followers = new Map<string, Follower>();
  const stopping = new AbortController();

  function ensure(instanceId: string, firstLine: number): Follower {
    const known = followers.get(instanceId);
    if (known && !known.failure && !known.leaving.signal.aborted) return known;
    const follower = startFollower(options, { instanceId, firstLine, stop: stopping.signal });
    followers.set(instanceId, follower);
    void follower.done.then(() => {
      if (followers.get(instanceId) === follower) followers.delete(instanceId);
    });
    return follower;
  }

  /** The last one closes the door, unless somebody comes within a while. */
  async function leave(follower: Follower): Promise<void> {
    if (--follower.watchers > 0) return;
    // A signal of its own, or many who leave together would be many listeners of one.
    await options.clock.sleep(LINGER_MS, AbortSignal.any([stopping.signal]));
    if (follower.watchers === 0) follower.leaving.abort();
  }

  return {
    follow: async function* follow(instanceId, firstLine, signal) {
      const follower = ensure(instanceId, firstLine);
      follower.watchers++;
      try {
        yield* watch(follower, firstLine, AbortSignal.any([signal, stopping.signal]));
      } finally {
        void leave(follower);
      }
    },
    count: () => followers.size,
    stop: async () => {
      stopping.abort();
      await Promise.all([...followers.values()].map(({ done }) => done));
    },
  };
}

function startFollower(
  { logs, log, clock }: FollowersOptions,
  { instanceId, firstLine, stop }: { instanceId: string; firstLine: number; stop: AbortSignal },
): Follower {
  const leaving = new AbortController();
  const isLongWait = createPatience(clock);
  let wake = (): void => {};
  let news = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const tell = (): void => {
    const told = wake;
    news = new Promise<void>((resolve) => {
      wake = resolve;
    });
    told();
  };
  async function keep(): Promise<void> {
    try {
      const signal = AbortSignal.any([stop, leaving.signal]);
      for await (const event of logs.follow(instanceId, firstLine, signal)) {
        take(follower, event);
        tell();
        if (isLongWait(event)) log.warn("log not live", { instanceId, reason: event.reason });
      }
    } catch (error) {
      follower.failure = { error };
      if (isCloudError(error)) log.warn("log not followed", { instanceId, error });
      else log.error("log not followed", { instanceId, error });
    }
    leaving.abort();
    tell();
  }
  const follower: Follower = {
    ring: createLineRing(),
    status: undefined,
    open: undefined,
    watchers: 0,
    failure: undefined,
    leaving,
    // In a turn of its own, when `follower` is there.
    done: Promise.resolve().then(keep),
    news: () => news,
  };
  return follower;
}

/** A young machine's agent is there within a minute or so: what takes longer is worth a word, once. */
const PATIENCE_MS = 90_000;

function createPatience(
  clock: Clock,
): (event: LogEvent) => event is LogEvent & { readonly type: "waiting" } {
  let since: number | undefined;
  let isTold = false;
  return (event): event is LogEvent & { readonly type: "waiting" } => {
    if (event.type !== "waiting") {
      if (event.type === "live") [since, isTold] = [undefined, false];
      return false;
    }
    since ??= clock.now();
    const isNews = !isTold && clock.now() - since >= PATIENCE_MS;
    isTold ||= isNews;
    return isNews;
  };
}

function take(follower: Follower, event: LogEvent): void {
  switch (event.type) {
    case "lines":
      follower.ring.add(event.firstLine, event.lines);
      follower.open = undefined;
      return;
    case "skipped":
      // The ring knows by the numbers that follow.
      return;
    case "open":
      follower.open = event;
      return;
    case "live":
    case "waiting":
      follower.status = event;
      return;
  }
}

/** One watcher: where it is in the log, and what it has been told. */
async function* watch(
  follower: Follower,
  firstLine: number,
  signal: AbortSignal,
): AsyncGenerator<LogEvent, void, void> {
  const gone = aborted(signal);
  const findNext = createCursor(follower, firstLine);
  while (!signal.aborted) {
    const news = follower.news();
    const event = findNext();
    if (event) yield event;
    else if (follower.failure) throw follower.failure.error;
    else if (follower.leaving.signal.aborted) return;
    else await Promise.race([news, gone]);
  }
}

/** Returns what gives the next event that the watcher has not been told; undefined when there is none now. */
function createCursor(follower: Follower, firstLine: number): () => LogEvent | undefined {
  let next = firstLine;
  let status: LogEvent | undefined;
  let open: LogEvent | undefined;
  return () => {
    if (follower.status !== status) {
      status = follower.status;
      return status;
    }
    const event = follower.ring.read(next);
    if (event) {
      next = event.type === "lines" ? event.firstLine + event.lines.length : event.lastLine + 1;
      return event;
    }
    if (follower.open === open) return undefined;
    open = follower.open;
    return follower.open && follower.open.number >= next ? open : undefined;
  };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

/** For people: what a watcher is told when its log cannot be followed. */
export const failureWords = (error: unknown): string =>
  isCloudError(error) ? describeError(error) : "the daemon failed; its log says why";
