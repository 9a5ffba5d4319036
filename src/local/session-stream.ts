/**
 * One end's reliable stream, as the agent keeps it: numbers for what it sends, the oldest unacknowledged message sent again after a
 * time-out, and what comes put in order and acknowledged. It lives as long as the session, through any number of connections.
 */
import { type Frame, readFrame, writeFrame } from "./session-frames.ts";

export type Stream = {
  send(payloadType: number, payload: Buffer): void;
  receive(bytes: Buffer): void;
  /** Everything sent has been acknowledged. */
  isAcknowledged(): boolean;
  stop(): void;
};

export type StreamOptions = {
  readonly transmit: (frame: Buffer) => void;
  /** Messages of the client's stream, in order and once. */
  readonly onInput: (payloadType: number, payload: Buffer) => void;
};

const TICK_MS = 100;
const TIMEOUT_FIRST_MS = 200;
const TIMEOUT_MAX_MS = 1_000;
/** Beyond it a message is sent once and not kept. */
const UNACKNOWLEDGED_MAX = 100_000;

type Sent = { readonly frame: Buffer; sentAt: number; isRepeated: boolean };

export function createStream({ transmit, onInput }: StreamOptions): Stream {
  const sent = new Map<number, Sent>();
  const early = new Map<number, Frame>();
  let [nextSequence, expected] = [0, 0];
  let [roundTripMs, variationMs, timeoutMs] = [100, 0, TIMEOUT_FIRST_MS];

  const ticking = setInterval(() => {
    const [oldest] = sent.values();
    if (oldest === undefined || Date.now() - oldest.sentAt < timeoutMs) return;
    oldest.sentAt = Date.now();
    oldest.isRepeated = true;
    transmit(oldest.frame);
  }, TICK_MS);

  function acknowledged(payload: Buffer): void {
    const { AcknowledgedMessageSequenceNumber: sequence } = JSON.parse(payload.toString());
    const message = sent.get(sequence);
    if (message === undefined) return;
    sent.delete(sequence);
    if (message.isRepeated) return;
    const sampleMs = Date.now() - message.sentAt;
    variationMs += (Math.abs(sampleMs - roundTripMs) - variationMs) / 4;
    roundTripMs += (sampleMs - roundTripMs) / 8;
    timeoutMs = Math.min(TIMEOUT_MAX_MS, roundTripMs + Math.max(10, 4 * variationMs));
  }

  function takeInput(frame: Frame): void {
    transmit(acknowledgementOf(frame));
    if (frame.sequence >= expected) early.set(frame.sequence, frame);
    for (let next = early.get(expected); next !== undefined; next = early.get(expected)) {
      early.delete(expected++);
      onInput(next.payloadType, next.payload);
    }
  }

  return {
    send: (payloadType, payload) => {
      const sequence = nextSequence++;
      const flags = sequence === 0 ? 1 : 0;
      const frame = writeFrame({
        type: "output_stream_data",
        sequence,
        flags,
        payloadType,
        payload,
      });
      if (sent.size < UNACKNOWLEDGED_MAX) {
        sent.set(sequence, { frame, sentAt: Date.now(), isRepeated: false });
      }
      transmit(frame);
    },
    receive: (bytes) => {
      const frame = readFrame(bytes);
      if (frame.type === "acknowledge") acknowledged(frame.payload);
      else if (frame.type === "input_stream_data") takeInput(frame);
      else throw new Error(`a client sends no ${frame.type}`);
    },
    isAcknowledged: () => sent.size === 0,
    stop: () => clearInterval(ticking),
  };
}

function acknowledgementOf(frame: Frame): Buffer {
  const payload = {
    AcknowledgedMessageType: frame.type,
    AcknowledgedMessageId: frame.id,
    AcknowledgedMessageSequenceNumber: frame.sequence,
    IsSequentialMessage: true,
  };
  return writeFrame({
    type: "acknowledge",
    sequence: 0,
    flags: 3,
    payloadType: 0,
    payload: Buffer.from(JSON.stringify(payload)),
  });
}
