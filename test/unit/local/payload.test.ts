/** Bodies in signed chunks, by the examples of AWS's documentation. */
import { createHmac } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { openPayload } from "../../../src/local/payload.ts";
import type { Verified } from "../../../src/local/signature.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const signingKey = ["20130524", "us-east-1", "s3", "aws4_request"].reduce(
  (key, part) => createHmac("sha256", key).update(part).digest(),
  Buffer.from(`AWS4${SECRET}`),
);

const PLAIN = {
  payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  chunks: [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
  ],
  trailer: "",
};
const TRAILING = {
  payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
  seed: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
  chunks: [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
  ],
  trailer:
    "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
};

const encode = ({ chunks, trailer }: { chunks: readonly string[]; trailer: string }): string =>
  [
    `10000;chunk-signature=${chunks[0]}\r\n${"a".repeat(65_536)}\r\n`,
    `400;chunk-signature=${chunks[1]}\r\n${"a".repeat(1024)}\r\n`,
    `0;chunk-signature=${chunks[2]}\r\n${trailer}\r\n`,
  ].join("");

/** Reads a body that comes in pieces of `pieceBytes`, and gives what the service sees of it. */
async function readPayload(
  text: string,
  options: { payload: string; seed?: string; length?: number; pieceBytes?: number },
): Promise<{ body: string; trailers: Record<string, string> }> {
  const { payload, seed = "", length = 66_560, pieceBytes = text.length } = options;
  const headers: IncomingHttpHeaders = { "x-amz-decoded-content-length": String(length) };
  const raw = Object.assign(new PassThrough(), { headers, complete: true });
  const verified: Verified = {
    service: "s3",
    caller: { type: "owner" },
    payload,
    chunkSigning: {
      key: signingKey,
      seed,
      timestamp: "20130524T000000Z",
      scope: "20130524/us-east-1/s3/aws4_request",
    },
  };
  const opened = openPayload(raw as unknown as IncomingMessage, verified);
  for (let at = 0; at < text.length; at += pieceBytes) raw.write(text.slice(at, at + pieceBytes));
  raw.end();
  const chunks: Buffer[] = [];
  for await (const chunk of opened.body) chunks.push(chunk as Buffer);
  return { body: Buffer.concat(chunks).toString(), trailers: Object.fromEntries(opened.trailers) };
}

describe("bodies in signed chunks", () => {
  it.each([1 << 20, 1000, 7])(
    "are decoded and verified in pieces of %d bytes",
    async (pieceBytes) => {
      const { body } = await readPayload(encode(PLAIN), { ...PLAIN, pieceBytes });
      expect(body).toBe("a".repeat(66_560));
    },
  );

  it("have their trailing headers verified", async () => {
    const { body, trailers } = await readPayload(encode(TRAILING), TRAILING);
    expect(body).toHaveLength(66_560);
    expect(trailers).toEqual({ "x-amz-checksum-crc32c": "sOO8/Q==" });
  });

  it.each([
    ["a changed byte", encode(PLAIN).replace("\r\naa", "\r\nab"), PLAIN],
    ["a changed signature", encode(PLAIN).replace("=ad80", "=ad81"), PLAIN],
    ["a missing signature", encode(PLAIN).replace(/;chunk-signature=[0-9a-f]+/, ""), PLAIN],
    ["another seed", encode(PLAIN), { ...PLAIN, seed: TRAILING.seed }],
    ["a changed trailer", encode(TRAILING).replace("sOO8", "sOO9"), TRAILING],
  ] as const)("are refused with %s", async (_, text, options) => {
    await expect(readPayload(text, options)).rejects.toMatchObject({
      code: "SignatureDoesNotMatch",
    });
  });

  it("are refused when the last chunk never comes", async () => {
    const text = encode(PLAIN);
    await expect(readPayload(text.slice(0, -120), PLAIN)).rejects.toMatchObject({
      code: "IncompleteBody",
    });
  });
});

describe("bodies in unsigned chunks", () => {
  const payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

  it("are decoded with their trailers", async () => {
    const text = "3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    expect(await readPayload(text, { payload, length: 5 })).toEqual({
      body: "abcde",
      trailers: { "x-amz-checksum-crc32": "AAAAAA==" },
    });
  });

  it.each([
    ["3\r\nabc\r\n0\r\n\r\n", "IncompleteBody"],
    ["zz\r\nabc\r\n0\r\n\r\n", "InvalidRequest"],
    ["3\r\nabcd\r\n0\r\n\r\n", "InvalidRequest"],
    [`${"1".repeat(10_000)}`, "InvalidRequest"],
  ])("are refused when they are wrong: %j", async (text, code) => {
    await expect(readPayload(text, { payload, length: 5 })).rejects.toMatchObject({ code });
  });
});

describe("other bodies", () => {
  it("are refused when their hash is another", async () => {
    const payload = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect((await readPayload("abc", { payload })).body).toBe("abc");
    await expect(readPayload("abd", { payload })).rejects.toMatchObject({
      code: "XAmzContentSHA256Mismatch",
    });
  });

  it("of an unknown coding are not read", async () => {
    const payload = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD";
    await expect(readPayload("abc", { payload })).rejects.toMatchObject({ code: "NotImplemented" });
  });
});
