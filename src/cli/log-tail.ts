/** One attempt's log while it grows: from its chunks, and as it is written where the daemon is near. */
import { isCloudError } from "../errors.ts";
import type { Clock, Logs, Store } from "../ports.ts";
import { createLogPosition } from "./log-position.ts";
import { type AttemptName, readChunks } from "./log-reader.ts";

export type LogTail = {
  /** What chunks have by now. */
  read(): Promise<void>;
  /** Follows it live from where it is, unless that is under way. Chunks go on to be read: they have what the live view leaves out. */
  watch(instanceId: string): void;
  /** Resolves when nobody follows it live any more. */
  leave(): Promise<void>;
};

export type LogTailOptions = {
  readonly store: Store;
  readonly logs: Logs | undefined;
  readonly clock: Clock;
  readonly attempt: AttemptName;
  readonly onLines: (lines: readonly string[]) => Promise<void> | void;
};

/** Between tries, while no daemon is near or it cannot follow. */
const RETRY_MS = 2_000;

export function createLogTail({ store, logs, clock, attempt, onLines }: LogTailOptions): LogTail {
  const readNew = readChunks(store, attempt);
  const position = createLogPosition();
  const leaving = new AbortController();
  let live: Promise<void> | undefined;
  let liveEndedAt = Number.NEGATIVE_INFINITY;
  let turn: Promise<void> = Promise.resolve();

  /** One after the other: both sides take lines and give them away in one go, or lines would overtake each other. */
  function inTurn(take: () => readonly string[]): Promise<void> {
    turn = turn.then(async () => {
      const lines = take();
      if (lines.length > 0) await onLines(lines);
    });
    return turn;
  }

  async function watchLive(source: Logs, instanceId: string): Promise<void> {
    try {
      const events = source.follow(instanceId, position.nextLine(), leaving.signal);
      for await (const event of events) {
        if (event.type !== "lines") continue;
        await inTurn(() => position.takeLive(event.firstLine, event.lines));
      }
    } catch (error) {
      // Whatever ails the live side, the chunks have everything.
      if (!isCloudError(error)) throw error;
    } finally {
      liveEndedAt = clock.now();
      live = undefined;
    }
  }

  return {
    read: async () => {
      for await (const { firstLine, lines } of readNew()) {
        await inTurn(() => position.take(firstLine, lines));
      }
    },
    watch: (instanceId) => {
      if (!logs || live || leaving.signal.aborted) return;
      if (clock.now() - liveEndedAt < RETRY_MS) return;
      live = watchLive(logs, instanceId);
      // Awaited by `leave`; until then it is nobody's unhandled one.
      live.catch(() => {});
    },
    leave: async () => {
      leaving.abort();
      await live;
    },
  };
}
