/** The data channel's binary messages, as the agent and the service see them. Strict: what is not right is refused with the reason. */
import { createHash, randomUUID } from "node:crypto";

export type Frame = {
  readonly type: string;
  readonly sequence: number;
  readonly flags: number;
  readonly payloadType: number;
  readonly id: string;
  readonly payload: Buffer;
};

const HEADER = 116;
const OFFSET = {
  type: 4,
  version: 36,
  date: 40,
  sequence: 48,
  flags: 56,
  id: 64,
  digest: 80,
} as const;
const OFFSET_PAYLOAD_TYPE = 112;
const OFFSET_PAYLOAD = HEADER + 4;

export function writeFrame(frame: Omit<Frame, "id"> & { readonly id?: string }): Buffer {
  const head = Buffer.alloc(OFFSET_PAYLOAD);
  head.writeUInt32BE(HEADER, 0);
  head.write(frame.type.padEnd(32, " "), OFFSET.type, 32, "latin1");
  head.writeUInt32BE(1, OFFSET.version);
  head.writeBigUInt64BE(BigInt(Date.now()), OFFSET.date);
  head.writeBigInt64BE(BigInt(frame.sequence), OFFSET.sequence);
  head.writeBigUInt64BE(BigInt(frame.flags), OFFSET.flags);
  const id = (frame.id ?? randomUUID()).replaceAll("-", "");
  head.write(id.slice(16) + id.slice(0, 16), OFFSET.id, "hex");
  createHash("sha256").update(frame.payload).digest().copy(head, OFFSET.digest);
  head.writeUInt32BE(frame.payloadType, OFFSET_PAYLOAD_TYPE);
  head.writeUInt32BE(frame.payload.length, HEADER);
  return Buffer.concat([head, frame.payload]);
}

/** Throws Error for what the official programs would not send. */
export function readFrame(bytes: Buffer): Frame {
  if (bytes.length < OFFSET_PAYLOAD) throw new Error(`a frame of ${bytes.length} bytes`);
  const header = bytes.readUInt32BE(0);
  if (header !== HEADER) throw new Error(`a header of ${header} bytes`);
  const payload = bytes.subarray(OFFSET_PAYLOAD);
  if (bytes.readUInt32BE(HEADER) !== payload.length) throw new Error("a wrong payload length");
  const digest = createHash("sha256").update(payload).digest();
  if (!digest.equals(bytes.subarray(OFFSET.digest, OFFSET.digest + 32))) {
    throw new Error("a wrong payload digest");
  }
  if (bytes.readBigUInt64BE(OFFSET.date) === 0n) throw new Error("no date");
  const swapped = bytes.toString("hex", OFFSET.id, OFFSET.id + 16);
  const id = swapped.slice(16) + swapped.slice(0, 16);
  return {
    type: bytes.toString("latin1", OFFSET.type, OFFSET.type + 32).trimEnd(),
    sequence: Number(bytes.readBigInt64BE(OFFSET.sequence)),
    flags: Number(bytes.readBigUInt64BE(OFFSET.flags)),
    payloadType: bytes.readUInt32BE(OFFSET_PAYLOAD_TYPE),
    id: [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, id),
    payload,
  };
}
