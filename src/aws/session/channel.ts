/**
 * The client's end of a session's data channel, without its socket: frames come in, frames go out, and the command's output, in
 * order and once. Time comes in with `tick`, which should be called every 100 ms or so.
 */
import { randomUUID } from "node:crypto";
import type { Encryption, GenerateDataKey } from "./encryption.ts";
import { answerHandshake } from "./handshake.ts";
import { createIncoming } from "./incoming.ts";
import {
  decodeMessage,
  encodeMessage,
  FLAGS_SINGLE,
  MESSAGE,
  PAYLOAD,
  type SessionMessage,
} from "./message.ts";
import { createOutgoing } from "./outgoing.ts";
import { acknowledgeSchema, challengeSchema, closedSchema, readJson } from "./payloads.ts";

export type ChannelEnd =
  /** The command has ended and all of its output has been given. */
  | { readonly type: "exited"; readonly code: number }
  /** Anything else: what was given so far is all right, and more may exist. `reason` is for people. */
  | { readonly type: "broken"; readonly reason: string; readonly isOver: boolean };

export type ChannelOptions = {
  readonly sessionId: string;
  readonly instanceId: string;
  readonly generateDataKey: GenerateDataKey;
  readonly now: () => number;
  readonly send: (frame: Uint8Array) => void;
  /** Output may come from now on; the command starts about now. */
  readonly onReady: () => void;
  readonly onOutput: (bytes: Uint8Array) => void;
  /** What the command, or the agent in its place, says of itself on stderr. */
  readonly onComplaint: (text: string) => void;
  /** Once; nothing is called after it. */
  readonly onEnd: (end: ChannelEnd) => void;
};

export type Channel = {
  receive(frame: Uint8Array): void;
  tick(): void;
  /** The only input that keeps an idle session alive and that a command without a terminal ignores. */
  resize(columns: number, rows: number): void;
  /** SIGINT to the command. */
  interrupt(): void;
  /** The socket has closed, or is of no use any more. */
  abandon(reason: string): void;
};

/** The agent waits 15 s for each step of its handshake. */
const HANDSHAKE_MAX_MS = 20_000;
const INTERRUPT = Buffer.from([3]);

export function createChannel(options: ChannelOptions): Channel {
  const { now, send } = options;
  const incoming = createIncoming<SessionMessage>();
  const outgoing = createOutgoing();
  const openedAt = now();
  const state = { isReady: false, isEnded: false };

  function end(how: ChannelEnd): void {
    if (state.isEnded) return;
    state.isEnded = true;
    options.onEnd(how);
  }
  const fail = (reason: string, isOver = false): void => end({ type: "broken", reason, isOver });

  function sendInput(payloadType: number, payload: Uint8Array): void {
    if (state.isEnded) return;
    const sequence = outgoing.next();
    const base = { type: MESSAGE.input, sequence, payloadType, flags: 0, payload };
    const frame = encodeMessage({ ...base, id: randomUUID(), createdAt: now() });
    outgoing.keep(sequence, frame, now());
    send(frame);
  }

  function beReady(): void {
    if (state.isReady) return;
    state.isReady = true;
    options.onReady();
  }

  const worker = createWorker({ options, state, sendInput, beReady, end, fail });

  function receiveOutput(message: SessionMessage): void {
    const received = incoming.receive(message.sequence, message, now());
    if (received.type === "dropped") return;
    send(acknowledgementOf(message, now()));
    for (const each of received.ready) if (!state.isEnded) worker.work(each);
  }

  function dispatch(message: SessionMessage): void {
    if (message.type === MESSAGE.output) receiveOutput(message);
    if (message.type === MESSAGE.closed) fail(closingWords(message), true);
    if (message.type === MESSAGE.acknowledge) {
      const read = readJson(acknowledgeSchema, message.payload);
      if (read) outgoing.acknowledge(read.AcknowledgedMessageSequenceNumber, now());
    }
    // Pauses tell of the agent's side being away; gaps and pings say the same of it, later and surely.
  }

  return {
    receive: (frame) => {
      const message = state.isEnded ? undefined : decodeMessage(frame);
      try {
        if (message) dispatch(message);
      } catch (error) {
        // Ciphertext of another key: nothing that follows can be read either.
        fail(`reading a message: ${describe(error)}`);
      }
    },
    tick: () => {
      if (state.isEnded) return;
      const at = now();
      if (!state.isReady && at - openedAt > HANDSHAKE_MAX_MS)
        return fail("the agent did not answer");
      if (incoming.isHopeless(at)) return fail("messages were lost on the way");
      if (outgoing.isHopeless()) return fail("the agent acknowledges nothing");
      const frame = outgoing.due(at);
      if (frame) send(frame);
    },
    resize: (cols, rows) => sendInput(PAYLOAD.size, jsonBytes({ cols, rows })),
    interrupt: () => sendInput(PAYLOAD.output, worker.seal(INTERRUPT)),
    abandon: fail,
  };
}

type Hands = {
  readonly options: ChannelOptions;
  readonly state: { readonly isEnded: boolean };
  readonly sendInput: (payloadType: number, payload: Uint8Array) => void;
  readonly beReady: () => void;
  readonly end: (how: ChannelEnd) => void;
  readonly fail: (reason: string) => void;
};

type Worker = {
  /** Messages of the stream, in order. */
  work(message: SessionMessage): void;
  /** What we send must be encrypted where what comes is. */
  seal(payload: Uint8Array): Uint8Array;
};

function createWorker({ options, state, sendInput, beReady, end, fail }: Hands): Worker {
  let encryption: Encryption | undefined;
  const open = (payload: Uint8Array): Uint8Array => encryption?.decrypt(payload) ?? payload;

  async function shakeHands(payload: Uint8Array): Promise<void> {
    const answer = await answerHandshake(payload, options);
    if (state.isEnded) return;
    encryption = answer.encryption;
    sendInput(PAYLOAD.handshakeResponse, jsonBytes(answer.response));
    if (answer.problem !== "") fail(answer.problem);
  }

  function answerChallenge(payload: Uint8Array): void {
    const challenge = readJson(challengeSchema, payload)?.Challenge;
    if (challenge === undefined || !encryption) throw new Error("the challenge is unreadable");
    const plain = encryption.decrypt(Buffer.from(challenge, "base64"));
    const Challenge = encryption.encrypt(plain).toString("base64");
    sendInput(PAYLOAD.challengeResponse, jsonBytes({ Challenge }));
  }

  return {
    work: ({ payloadType, payload }) => {
      switch (payloadType) {
        case PAYLOAD.handshakeRequest:
          void shakeHands(payload).catch((error: unknown) => fail(`handshake: ${describe(error)}`));
          return;
        case PAYLOAD.challengeRequest:
          return answerChallenge(payload);
        case PAYLOAD.handshakeComplete:
          return beReady();
        case PAYLOAD.output:
          // Sessions of other kinds begin without a handshake.
          beReady();
          return options.onOutput(open(payload));
        case PAYLOAD.stdErr:
          return options.onComplaint(Buffer.from(open(payload)).toString("utf8"));
        case PAYLOAD.exitCode:
          return end({ type: "exited", code: readExitCode(open(payload)) });
        default:
          // Acknowledged and left alone, as the official client does.
          return;
      }
    },
    seal: (payload) => encryption?.encrypt(payload) ?? payload,
  };
}

const jsonBytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const describe = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

function closingWords(message: SessionMessage): string {
  const output = readJson(closedSchema, message.payload)?.Output.trim() ?? "";
  return output === "" ? "the session was closed" : output;
}

function acknowledgementOf(message: SessionMessage, createdAt: number): Buffer {
  const payload = JSON.stringify({
    AcknowledgedMessageType: message.type,
    AcknowledgedMessageId: message.id,
    AcknowledgedMessageSequenceNumber: message.sequence,
    IsSequentialMessage: true,
  });
  return encodeMessage({
    type: MESSAGE.acknowledge,
    sequence: 0,
    payloadType: 0,
    id: randomUUID(),
    createdAt,
    flags: FLAGS_SINGLE,
    payload: Buffer.from(payload),
  });
}

/** `EXIT_CODE: 4`; 1 for what does not read so. */
function readExitCode(payload: Uint8Array): number {
  const found = /^EXIT_CODE: (-?\d+)\s*$/.exec(Buffer.from(payload).toString("utf8"));
  return found ? Number(found[1]) : 1;
}
