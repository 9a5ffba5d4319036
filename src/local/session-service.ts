/**
 * One session as the service has it: between the client's connections, of which it has one at a time, and the agent. It closes
 * connections when they are old, ends sessions whose client is silent, and loses, repeats and swaps frames when it is told to.
 */
import { randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { WebSocket } from "ws";
import { type Agent, type AgentOptions, startAgent } from "./session-agent.ts";
import type { SessionFaults } from "./session-faults.ts";
import { readFrame, writeFrame } from "./session-frames.ts";

export type LocalSession = {
  readonly id: string;
  readonly instanceId: string;
  /** Good for one connection. */
  issueToken(): string;
  connect(socket: WebSocket): void;
  terminate(): void;
  /** At once, with its connection. */
  kill(): void;
};

export type LocalSessionOptions = {
  readonly id: string;
  readonly instanceId: string;
  readonly faults: SessionFaults;
  readonly agent: Pick<AgentOptions, "version" | "start" | "isSeparated" | "kms" | "onPumpDead">;
  /** Its machine has no network: what is sent either way is lost. */
  readonly isCutOff: () => boolean;
  readonly isMachineThere: () => boolean;
  readonly onOver: () => void;
};

const HELLO_MAX_MS = 10_000;
const HELD_MAX_MS = 20;
/** As on AWS: how old a connection may be, and how long a client may send no input, whatever comes out. */
const CONNECTION_MAX_MS = 60 * 60_000;
const IDLE_MAX_MS = 20 * 60_000;
const POLICY_VIOLATION = 1008;

export function createLocalSession(options: LocalSessionOptions): LocalSession {
  const { faults } = options;
  let isOver = false;
  const token = createToken();
  let socket: WebSocket | undefined;
  let agent: Agent | undefined;
  let idle: NodeJS.Timeout | undefined;
  const early = faults.plan("idle-timeout");

  const wire = createWire(faults, (frame) => {
    const isLost = options.isCutOff() || !options.isMachineThere();
    if (!isLost && socket?.readyState === 1) socket.send(frame);
  });

  function over(output: string | undefined): void {
    if (isOver) return;
    isOver = true;
    clearTimeout(idle);
    agent?.kill();
    if (output !== undefined) socket?.send(closedFrame(options.id, output));
    socket?.close(1000);
    options.onOver();
  }

  function keepAwake(): void {
    clearTimeout(idle);
    idle = setTimeout(() => {
      early?.happened();
      over("Session timed out: the client sent no input.");
    }, early?.ms ?? IDLE_MAX_MS);
    idle.unref();
  }

  function open(from: WebSocket): void {
    socket?.close(1000);
    socket = from;
    keepAwake();
    const clear = disturb(from, faults);
    from.once("close", () => {
      clear();
      if (socket !== from) return;
      socket = undefined;
      agent?.pause(true);
    });
    agent?.pause(false);
    agent ??= startAgent({
      ...options.agent,
      transmit: wire.send,
      backlog: () => socket?.bufferedAmount ?? 0,
      onEnd: (output) => {
        // With its machine the agent has gone, too: nobody says a word, and the connection stays as it is.
        if (options.isMachineThere()) over(output);
      },
    });
  }

  function receive(bytes: Buffer): void {
    if (faults.befalls("frame-lost", "client")) return;
    if (readFrame(bytes).type === "input_stream_data") keepAwake();
    if (!options.isCutOff()) agent?.receive(bytes);
  }

  return {
    id: options.id,
    instanceId: options.instanceId,
    issueToken: () => {
      keepAwake();
      return token.issue();
    },
    connect: (from) => authenticate(from, token.take, { open: () => open(from), receive }),
    terminate: () => over(""),
    kill: () => {
      over(undefined);
      socket?.terminate();
    },
  };
}

function createToken() {
  let token = "";
  return {
    issue: (): string => {
      token = randomBytes(48).toString("base64");
      return token;
    },
    /** Empty when it was taken before. */
    take: (): string => {
      const taken = token;
      token = "";
      return taken;
    },
  };
}

/** The first message must carry the token; what follows is binary. Whoever sends anything else is hung up on. */
function authenticate(
  socket: WebSocket,
  takeToken: () => string,
  { open, receive }: { open: () => void; receive: (bytes: Buffer) => void },
): void {
  const refuse = (reason: string): void => socket.close(POLICY_VIOLATION, reason.slice(0, 120));
  const late = setTimeout(() => refuse("no opening message"), HELLO_MAX_MS);
  socket.once("close", () => clearTimeout(late));
  socket.on("error", () => {});
  socket.once("message", (data, isBinary) => {
    clearTimeout(late);
    if (isBinary || !isSame(readToken(String(data)), takeToken())) {
      refuse("the token is not valid");
      return;
    }
    socket.on("message", (bytes) => {
      try {
        receive(bytes as Buffer);
      } catch (error) {
        refuse(error instanceof Error ? error.message : "unreadable");
      }
    });
    open();
  });
}

function isSame(given: string, wanted: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(wanted)];
  return other.length > 0 && one.length === other.length && timingSafeEqual(one, other);
}

/** Closes a connection when it is old, and tells it to pause now and then where a rule wants that. Returns what ends both. */
function disturb(socket: WebSocket, faults: SessionFaults): () => void {
  const early = faults.plan("connection-closes");
  const closing = setTimeout(() => {
    early?.happened();
    socket.close(1000, "Bye");
  }, early?.ms ?? CONNECTION_MAX_MS).unref();
  const pauses = faults.plan("session-pauses");
  const pausing =
    pauses &&
    setInterval(() => {
      pauses.happened();
      socket.send(pauseFrame());
    }, pauses.ms).unref();
  return () => {
    clearTimeout(closing);
    clearInterval(pausing);
  };
}

/** Frames on their way to the client. */
function createWire(faults: SessionFaults, send: (frame: Buffer) => void) {
  let held: Buffer | undefined;
  const release = (): void => {
    const frame = held;
    held = undefined;
    if (frame) send(frame);
  };
  return {
    send: (frame: Buffer): void => {
      if (faults.befalls("frame-lost", "agent")) return;
      if (held === undefined && faults.befalls("frame-out-of-order", "agent")) {
        held = frame;
        setTimeout(release, HELD_MAX_MS).unref();
        return;
      }
      send(frame);
      if (faults.befalls("frame-twice", "agent")) send(frame);
      release();
    },
  };
}

function readToken(text: string): string {
  try {
    const { TokenValue, MessageSchemaVersion } = JSON.parse(text);
    return MessageSchemaVersion === "1.0" ? String(TokenValue) : "";
  } catch {
    return "";
  }
}

function closedFrame(sessionId: string, Output: string): Buffer {
  const payload = {
    MessageType: "channel_closed",
    MessageId: randomUUID(),
    DestinationId: sessionId,
    SessionId: sessionId,
    SchemaVersion: 1,
    CreatedDate: new Date().toISOString(),
    Output,
  };
  const bytes = Buffer.from(JSON.stringify(payload));
  return writeFrame({
    type: "channel_closed",
    sequence: 0,
    flags: 0,
    payloadType: 0,
    payload: bytes,
  });
}

/** As the service sends it: a type, and zeros. */
function pauseFrame(): Buffer {
  const frame = Buffer.alloc(120);
  frame.write("pause_publication", 4);
  return frame;
}
