/** One session on one instance: its socket, what it says as numbered lines, and how it is kept alive and ended. */
import type { LogLine } from "../../core/log-lines.ts";
import type { ChannelEnd } from "./channel.ts";
import type { GenerateDataKey } from "./encryption.ts";
import { createLineSplitter, type Piece } from "./lines.ts";
import type { Sessions, StartedSession } from "./sessions.ts";
import { openSocket } from "./socket.ts";

export type SessionTimes = {
  /** Output does not keep a session alive, client input does; the shortest idle time that can be set is a minute. */
  readonly inputEveryMs: number;
  /** How long the end that we ask for may take. */
  readonly farewellMs: number;
  /** How long a line that is being written waits for its newline before it is shown. */
  readonly openAfterMs: number;
};

export type FollowedSession = {
  /** The log is followed from now on; never rejects, and never resolves when the session ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<ChannelEnd>;
  /** The line that this session is at. */
  nextLine(): number;
  /** Interrupts the command, waits for its end for a moment, terminates the session. Never rejects. */
  stop(): Promise<void>;
};

export type SessionOptions = {
  readonly instanceId: string;
  readonly started: StartedSession;
  readonly firstLine: number;
  readonly sessions: Sessions;
  readonly generateDataKey: GenerateDataKey;
  readonly times: SessionTimes;
  readonly onPiece: (piece: Piece) => void;
  readonly onOpen: (number: number, line: LogLine) => void;
  readonly onComplaint: (text: string) => void;
};

export function followSession(options: SessionOptions): FollowedSession {
  const { started, times } = options;
  const splitter = createLineSplitter(options.firstLine);
  const ready = defer<void>();
  const ended = defer<ChannelEnd>();
  let opening: NodeJS.Timeout | undefined;
  let end: ChannelEnd | undefined;

  const showOpen = (): void => {
    opening = undefined;
    const line = splitter.openLine();
    if (line) options.onOpen(splitter.nextLine(), line);
  };
  const socket = openSocket({
    ...started,
    instanceId: options.instanceId,
    generateDataKey: options.generateDataKey,
    onReady: () => ready.resolve(),
    onOutput: (bytes) => {
      for (const piece of splitter.push(bytes)) options.onPiece(piece);
      if (splitter.isOpen()) opening ??= setTimeout(showOpen, times.openAfterMs);
    },
    onComplaint: options.onComplaint,
    onEnd: (how) => {
      clearInterval(keeping);
      clearTimeout(opening);
      end = how;
      ended.resolve(how);
    },
  });
  let columns = 80;
  const keeping = setInterval(() => {
    columns = columns === 80 ? 81 : 80;
    socket.resize(columns, 24);
  }, times.inputEveryMs);

  return {
    ready: ready.promise,
    ended: ended.promise,
    nextLine: splitter.nextLine,
    stop: async () => {
      socket.interrupt();
      const patience = setTimeout(
        () => socket.close("it was not needed any more"),
        times.farewellMs,
      );
      await ended.promise;
      clearTimeout(patience);
      const isOver = end?.type === "exited" || end?.isOver;
      if (!isOver) await options.sessions.terminate(started.sessionId);
    },
  };
}

function defer<Value>() {
  let resolve = (_: Value): void => {};
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
