import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeMessage,
  encodeMessage,
  MESSAGE,
  PAYLOAD,
  type SessionMessage,
} from "../../../../src/aws/session/message.ts";
import { runs } from "../../../support/property-tests.ts";

/** Captured from the unmodified session-manager-plugin and amazon-ssm-agent. */
const PLUGIN_SIZE = [
  "00000074696e7075745f73747265616d5f646174612020202020202020202020",
  "2020202000000001000001a208061988000000000000000100000000",
  "00000000a6c475158babec243ccd6f61499542cfe1537ad4749d88db6f6d97ed",
  "16e443dee6ba30c43afa2c4875bb1432f07d8b3a0000000300000017",
].join("");
const AGENT_EXIT = [
  "000000746f75747075745f73747265616d5f6461746120202020202020202020",
  "2020202000000001000001a208061993000000000000000400000000",
  "00000000b2c541dc298139e7a6e5d9d5c4dc490c7cf30fa56890c244b3664ee0",
  "29bb505ff6a52d5593a9d26a084044d36b59d52d0000000c0000000c",
].join("");

const bytesOf = (header: string, payload: string): Buffer =>
  Buffer.concat([Buffer.from(header, "hex"), Buffer.from(payload)]);

const SIZE: SessionMessage = {
  type: MESSAGE.input,
  sequence: 1,
  payloadType: PAYLOAD.size,
  id: "3ccd6f61-4995-42cf-a6c4-75158babec24",
  createdAt: 0x1a208061988,
  flags: 0,
  payload: Buffer.from('{"cols":300,"rows":100}'),
};

const anyMessage = fc.record({
  type: fc.stringMatching(/^[a-z_]{1,32}$/).filter((type) => !type.endsWith("_publication")),
  sequence: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  payloadType: fc.nat({ max: 2 ** 32 - 1 }),
  id: fc.uuid(),
  createdAt: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  flags: fc.integer({ min: 0, max: 3 }),
  payload: fc.uint8Array({ maxLength: 2_000 }),
});

describe("messages of the data channel", () => {
  test("a message of the official client is read, and written, byte for byte", () => {
    const bytes = bytesOf(PLUGIN_SIZE, '{"cols":300,"rows":100}');
    expect(decodeMessage(bytes)).toEqual(SIZE);
    expect(encodeMessage(SIZE)).toEqual(bytes);
  });

  test("a message of the official agent is read", () => {
    const message = decodeMessage(bytesOf(AGENT_EXIT, "EXIT_CODE: 4"));
    expect(message).toMatchObject({ type: MESSAGE.output, sequence: 4, payloadType: 12 });
    expect(Buffer.from(message?.payload ?? []).toString()).toBe("EXIT_CODE: 4");
  });

  test("ids travel with their halves swapped", () => {
    const id = "aaa3e375-559e-4825-9766-af183fa2ed19";
    const bytes = encodeMessage({ ...SIZE, id });
    expect(bytes.subarray(64, 80).toString("hex")).toBe("9766af183fa2ed19aaa3e375559e4825");
    expect(decodeMessage(bytes)?.id).toBe(id);
  });

  test("any message comes back as it was", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const decoded = decodeMessage(encodeMessage(message));
        expect(decoded).toEqual({ ...message, payload: Buffer.from(message.payload) });
      }),
    );
  });

  test("types padded with NUL are read like those padded with spaces", () => {
    const bytes = encodeMessage(SIZE);
    bytes.fill(0, 4 + SIZE.type.length, 36);
    expect(decodeMessage(bytes)?.type).toBe(SIZE.type);
  });

  test("a longer header says where the payload is", () => {
    const bytes = encodeMessage(SIZE);
    const longer = Buffer.concat([bytes.subarray(0, 116), Buffer.alloc(8), bytes.subarray(116)]);
    longer.writeUInt32BE(124, 0);
    expect(decodeMessage(longer)?.payload).toEqual(SIZE.payload);
  });

  test("one flipped bit of the payload makes it no message", () => {
    fc.assert(
      fc.property(fc.nat({ max: SIZE.payload.length * 8 - 1 }), (bit) => {
        const bytes = encodeMessage(SIZE);
        const at = 120 + (bit >> 3);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
        expect(decodeMessage(bytes)).toBeUndefined();
      }),
    );
  });

  test.each([
    ["no header length", (bytes: Buffer) => bytes.writeUInt32BE(0, 0)],
    ["a header longer than the frame", (bytes: Buffer) => bytes.writeUInt32BE(4_000, 0)],
    ["a huge header", (bytes: Buffer) => bytes.writeUInt32BE(0xffffffff, 0)],
    ["no type", (bytes: Buffer) => bytes.fill(" ", 4, 36)],
    ["no date", (bytes: Buffer) => bytes.fill(0, 40, 48)],
    ["a negative number", (bytes: Buffer) => bytes.fill(0xff, 48, 56)],
    ["a payload that should be empty", (bytes: Buffer) => bytes.writeUInt32BE(0, 116)],
  ])("%s makes it no message", (_, spoil) => {
    const bytes = encodeMessage(SIZE);
    spoil(bytes);
    expect(decodeMessage(bytes)).toBeUndefined();
  });

  test("a pause is read whatever the rest of its header says", () => {
    const bytes = Buffer.alloc(120);
    bytes.write("pause_publication", 4);
    expect(decodeMessage(bytes)?.type).toBe(MESSAGE.pause);
  });

  test("whatever bytes come, reading them ends without an error", () => {
    const random = fc.uint8Array({ maxLength: 300 });
    const spoiled = fc
      .tuple(anyMessage, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 }))
      .map(([message, changes]) => {
        const bytes = encodeMessage(message);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes.subarray(0, bytes.length - ((changes[0]?.[0] ?? 0) % 3));
      });
    fc.assert(
      fc.property(fc.oneof(random, spoiled), (bytes) => {
        decodeMessage(bytes);
      }),
      { numRuns: runs(500) },
    );
  });
});
