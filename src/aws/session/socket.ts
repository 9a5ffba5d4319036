/** The WebSocket under a data channel: opens it, authenticates by the session's token, pings, and tells its end. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import WebSocket from "ws";
import { type Channel, type ChannelOptions, createChannel } from "./channel.ts";
import { CLIENT_VERSION } from "./handshake.ts";

export type SocketOptions = Omit<ChannelOptions, "send" | "now"> & {
  readonly streamUrl: string;
  readonly tokenValue: string;
};

export type SessionSocket = Pick<Channel, "resize" | "interrupt"> & {
  /** At once. `onEnd` is called if it has not been. */
  close(reason: string): void;
};

/** NATs forget quiet connections after a minute. */
const PING_MS = 25_000;
const PONG_MAX_MS = 20_000;
const TICK_MS = 100;
const CONNECT_MAX_MS = 10_000;
const FRAME_BYTES_MAX = 1 << 20;
const CLIENT_ID = randomUUID();

export function openSocket(options: SocketOptions): SessionSocket {
  const socket = new WebSocket(options.streamUrl, {
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    handshakeTimeout: CONNECT_MAX_MS,
  });
  const channel = createChannel({
    ...options,
    now: monotonicMs,
    send: (frame) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    onEnd: (end) => {
      stop();
      options.onEnd(end);
    },
  });
  const gather = createGatherer(socket);
  const ticking = setInterval(() => channel.tick(), TICK_MS);
  let pongDue: NodeJS.Timeout | undefined;
  const pinging = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.ping();
    clearTimeout(pongDue);
    pongDue = setTimeout(() => channel.abandon("the connection is dead"), PONG_MAX_MS);
  }, PING_MS);

  function stop(): void {
    clearInterval(ticking);
    clearInterval(pinging);
    clearTimeout(pongDue);
    // A moment for the last acknowledgements; a peer that does not answer is left alone.
    if (socket.readyState === WebSocket.OPEN) socket.close(1000);
    else socket.terminate();
  }

  socket.on("open", () => socket.send(openingOf(options.tokenValue)));
  socket.on("message", (data, isBinary) => {
    if (!isBinary) return;
    gather();
    channel.receive(bytesOf(data));
  });
  socket.on("pong", () => clearTimeout(pongDue));
  // A close always follows.
  socket.on("error", (error) => channel.abandon(`the connection: ${error.message}`));
  socket.on("close", (code, reason) =>
    channel.abandon(`the connection was closed (${[code, reason.toString()].join(" ").trim()})`),
  );
  return {
    resize: channel.resize,
    interrupt: channel.interrupt,
    close: (reason) => channel.abandon(reason),
  };
}

/**
 * Returns what holds back all that is sent until the messages that have come together are dealt with: acknowledgements are small and many, and each
 * would be a system call and a packet.
 */
function createGatherer(socket: WebSocket): () => void {
  let connection: IncomingMessage["socket"] | undefined;
  let isHeld = false;
  socket.on("upgrade", (response) => {
    connection = response.socket;
  });
  return () => {
    if (isHeld || !connection) return;
    isHeld = true;
    connection.cork();
    process.nextTick(() => {
      isHeld = false;
      connection?.uncork();
    });
  };
}

/** The one text frame. The token is good for one connection, and only for a moment. */
const openingOf = (TokenValue: string): string =>
  JSON.stringify({
    MessageSchemaVersion: "1.0",
    RequestId: randomUUID(),
    TokenValue,
    ClientId: CLIENT_ID,
    ClientVersion: CLIENT_VERSION,
  });

function bytesOf(data: WebSocket.RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** Since 1970, and never back: a clock that is set must not look like a dead connection. */
const monotonicMs = (): number => Math.round(performance.timeOrigin + performance.now());
