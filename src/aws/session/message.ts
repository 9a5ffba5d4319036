/**
 * Messages of the session data channel, byte by byte: what both ends put into WebSocket frames. Integers are big endian.
 * The form is that of amazon-ssm-agent and session-manager-plugin; test vectors were captured from both.
 */
import { createHash } from "node:crypto";

export type SessionMessage = {
  /** Such as `output_stream_data`. */
  readonly type: string;
  /** Of its direction, from 0; 0 in what is not part of a stream. */
  readonly sequence: number;
  readonly payloadType: number;
  /** UUID in lower case. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly flags: number;
  readonly payload: Uint8Array;
};

export const MESSAGE = {
  input: "input_stream_data",
  output: "output_stream_data",
  acknowledge: "acknowledge",
  closed: "channel_closed",
  pause: "pause_publication",
  start: "start_publication",
} as const;

export const PAYLOAD = {
  output: 1,
  size: 3,
  handshakeRequest: 5,
  handshakeResponse: 6,
  handshakeComplete: 7,
  challengeRequest: 8,
  challengeResponse: 9,
  stdErr: 11,
  exitCode: 12,
} as const;

/** SYN and FIN, which acknowledgements carry. */
export const FLAGS_SINGLE = 3;

const HEADER_BYTES = 116;
const TYPE_BYTES = 32;
const SCHEMA_VERSION = 1;
const AT = {
  type: 4,
  schema: 36,
  created: 40,
  sequence: 48,
  flags: 56,
  id: 64,
  digest: 80,
} as const;
const AT_PAYLOAD_TYPE = 112;
/** Some versions lengthen the header; its length says where the payload is. */
const HEADER_BYTES_MAX = 4096;

export function encodeMessage(message: SessionMessage): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + 4 + message.payload.length);
  bytes.writeUInt32BE(HEADER_BYTES, 0);
  bytes.fill(" ", AT.type, AT.type + TYPE_BYTES);
  bytes.write(message.type, AT.type, TYPE_BYTES, "ascii");
  bytes.writeUInt32BE(SCHEMA_VERSION, AT.schema);
  bytes.writeBigUInt64BE(BigInt(message.createdAt), AT.created);
  bytes.writeBigInt64BE(BigInt(message.sequence), AT.sequence);
  bytes.writeBigUInt64BE(BigInt(message.flags), AT.flags);
  swapHalves(Buffer.from(message.id.replaceAll("-", ""), "hex")).copy(bytes, AT.id);
  digestOf(message.payload).copy(bytes, AT.digest);
  bytes.writeUInt32BE(message.payloadType, AT_PAYLOAD_TYPE);
  bytes.writeUInt32BE(message.payload.length, HEADER_BYTES);
  bytes.set(message.payload, HEADER_BYTES + 4);
  return bytes;
}

/**
 * Undefined for a frame that is no message, or whose payload is not what its digest says: it is dropped, and its sender
 * sends it again. `pause_publication` and `start_publication` come with whatever header, and only their type is read.
 */
export function decodeMessage(frame: Uint8Array): SessionMessage | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  if (bytes.length < HEADER_BYTES) return undefined;
  const type = readType(bytes);
  const isNotice = type === MESSAGE.pause || type === MESSAGE.start;
  if (!isNotice && !isWhole(bytes, type)) return undefined;
  return {
    type,
    sequence: Number(bytes.readBigInt64BE(AT.sequence)),
    payloadType: bytes.readUInt32BE(AT_PAYLOAD_TYPE),
    id: readId(bytes),
    createdAt: Number(bytes.readBigUInt64BE(AT.created)),
    flags: Number(bytes.readBigUInt64BE(AT.flags)),
    payload: isNotice ? new Uint8Array() : payloadOf(bytes),
  };
}

function isWhole(bytes: Buffer, type: string): boolean {
  const headerBytes = bytes.readUInt32BE(0);
  if (type === "" || headerBytes < HEADER_BYTES || headerBytes > HEADER_BYTES_MAX) return false;
  if (bytes.length < headerBytes + 4) return false;
  if (bytes.readBigUInt64BE(AT.created) === 0n) return false;
  const sequence = bytes.readBigInt64BE(AT.sequence);
  if (sequence < 0n || sequence > BigInt(Number.MAX_SAFE_INTEGER)) return false;
  const payload = payloadOf(bytes);
  if (bytes.readUInt32BE(headerBytes) === 0) return payload.length === 0;
  return digestOf(payload).equals(bytes.subarray(AT.digest, AT.digest + 32));
}

/** To the end of the frame, as both programs read it. */
const payloadOf = (bytes: Buffer): Buffer => bytes.subarray(bytes.readUInt32BE(0) + 4);

/** The agent pads with spaces, others with NUL. */
const readType = (bytes: Buffer): string =>
  bytes.toString("ascii", AT.type, AT.type + TYPE_BYTES).replaceAll(/^[\0 ]+|[\0 ]+$/g, "");

function readId(bytes: Buffer): string {
  const hex = (from: number, to: number): string => bytes.toString("hex", AT.id + from, AT.id + to);
  return `${hex(8, 12)}-${hex(12, 14)}-${hex(14, 16)}-${hex(0, 2)}-${hex(2, 8)}`;
}

/** On the wire the second half of a UUID comes first. */
const swapHalves = (id: Buffer): Buffer => Buffer.concat([id.subarray(8, 16), id.subarray(0, 8)]);

const digestOf = (payload: Uint8Array): Buffer => createHash("sha256").update(payload).digest();
