/** One attempt's log while it grows: from its chunks, and as it is written where the daemon is near. */
import type { LogLine } from "../core/log-lines.ts";
import { describeError, isCloudError } from "../errors.ts";
import type { Clock, LogEvent, Logs, Store } from "../ports.ts";
import { createLogPosition } from "./log-position.ts";
import { type LogStart, WHOLE_LOG } from "./log-range.ts";
import { type AttemptName, type LogEncoding, readChunks } from "./log-reader.ts";

export type LogTail = {
  /** What chunks have by now, for the caller to show. Only before it is watched. */
  backlog(): AsyncGenerator<readonly LogLine[], void, void>;
  /** Gives what chunks have by now. */
  read(): Promise<void>;
  /** Follows it live from where it is, unless that is under way. Chunks go on to be read: they have what the live view leaves out. */
  watch(instanceId: string): void;
  /** Resolves when nobody follows it live any more. */
  leave(): Promise<void>;
};

export type TailListener = {
  readonly onLines: (lines: readonly LogLine[]) => Promise<void> | void;
  /** What there is of the line that is being written; undefined when it has ended. */
  readonly onOpen: (line: LogLine | undefined) => void;
  /** A daemon is near, and it cannot follow the log: why. Undefined when it can again. */
  readonly onTrouble: (reason: string | undefined) => void;
};

export type LogTailOptions = {
  readonly store: Store;
  readonly logs: Logs | undefined;
  readonly clock: Clock;
  readonly attempt: AttemptName;
  readonly start?: LogStart;
  readonly encoding?: LogEncoding;
  readonly listener: TailListener;
};

/** Between tries, while no daemon is near; and while it may not follow, which somebody has to mend. */
const RETRY_MS = 2_000;
const RETRY_REFUSED_MS = 60_000;
/** A session is to be had within this, as a rule: what takes longer is told. */
const PATIENCE_MS = 5_000;

export function createLogTail(options: LogTailOptions): LogTail {
  const { store, logs, clock, attempt, start = WHOLE_LOG, encoding = "utf8", listener } = options;
  const readNew = readChunks(store, attempt, { encoding, from: start.chunk });
  const position = createLogPosition(start.firstLine);
  const leaving = new AbortController();
  let live: Promise<void> | undefined;
  let retryAt = Number.NEGATIVE_INFINITY;
  const tellStatus = createStatusTeller(clock, listener.onTrouble);
  let turn: Promise<void> = Promise.resolve();
  const openLine = createOpenLine(listener.onOpen);

  /** One after the other: both sides take lines and give them away in one go, or lines would overtake each other. */
  function inTurn(take: () => readonly LogLine[]): Promise<void> {
    turn = turn.then(async () => {
      const lines = take();
      openLine.endBefore(position.nextLine());
      if (lines.length > 0) await listener.onLines(lines);
    });
    return turn;
  }

  async function takeEvent(event: LogEvent): Promise<void> {
    switch (event.type) {
      case "lines":
        await inTurn(() => position.takeLive(event.firstLine, event.lines));
        return;
      case "open":
        // Behind lines that are still to come by chunks it would stand in the wrong place.
        if (event.number === position.nextLine()) openLine.show(event.number, event.line);
        return;
      case "live":
      case "waiting":
        tellStatus(event);
        return;
      case "skipped":
        // Chunks have them.
        return;
    }
  }

  async function watchLive(source: Logs, instanceId: string): Promise<void> {
    let retryMs = RETRY_MS;
    try {
      const events = source.follow(instanceId, position.nextLine(), leaving.signal);
      for await (const event of events) await takeEvent(event);
    } catch (error) {
      // Whatever ails the live side, the chunks have everything.
      if (!isCloudError(error)) throw error;
      if (error.kind !== "refused") return;
      retryMs = RETRY_REFUSED_MS;
      listener.onTrouble(describeError(error));
    } finally {
      retryAt = clock.now() + retryMs;
      live = undefined;
    }
  }

  return {
    backlog: async function* backlog() {
      for await (const { firstLine, lines } of readNew()) yield position.take(firstLine, lines);
    },
    read: async () => {
      for await (const { firstLine, lines } of readNew()) {
        await inTurn(() => position.take(firstLine, lines));
      }
    },
    watch: (instanceId) => {
      if (!logs || live || leaving.signal.aborted) return;
      if (clock.now() < retryAt) return;
      live = watchLive(logs, instanceId);
      // Awaited by `leave`; until then it is nobody's unhandled one.
      live.catch(() => {});
    },
    leave: async () => {
      leaving.abort();
      await live;
      openLine.endBefore(Number.POSITIVE_INFINITY);
    },
  };
}

/** The line that is shown unfinished, if one is. */
function createOpenLine(onOpen: TailListener["onOpen"]) {
  let shown: number | undefined;
  return {
    show: (number: number, line: LogLine): void => {
      shown = number;
      onOpen(line);
    },
    endBefore: (next: number): void => {
      if (shown === undefined || shown >= next) return;
      shown = undefined;
      onOpen(undefined);
    },
  };
}

type Status = LogEvent & { readonly type: "live" | "waiting" };

/** Tells of waiting that takes long. */
function createStatusTeller(
  clock: Clock,
  onTrouble: TailListener["onTrouble"],
): (status: Status) => void {
  let waitingSince: number | undefined;
  return (status) => {
    if (status.type === "live") {
      waitingSince = undefined;
      onTrouble(undefined);
      return;
    }
    waitingSince ??= clock.now();
    if (clock.now() - waitingSince >= PATIENCE_MS) onTrouble(status.reason);
  };
}
