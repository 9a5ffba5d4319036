import { createHash, randomBytes } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BUCKET,
  makeBucketCalls,
  refusalOf,
  startTestCloud,
  type TestCloud,
} from "../support/test-cloud.ts";

let test: TestCloud;
beforeAll(async () => {
  test = await startTestCloud();
});
afterAll(() => test.dispose());

const Bucket = BUCKET;
const { put, get, head, read } = makeBucketCalls(() => test.s3);
const readText = async (key: string): Promise<string> => (await read(key)).toString();
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const MIB = 1 << 20;

describe("checksums", () => {
  it.each(["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"] as const)(
    "of %s are verified and given back",
    async (ChecksumAlgorithm) => {
      const body = randomBytes(300_001);
      const key = `checksums/${ChecksumAlgorithm}`;
      const written = await put(key, body, { ChecksumAlgorithm });
      const field = `Checksum${ChecksumAlgorithm}` as "ChecksumCRC32";
      const { [field]: value } = await head(key, { ChecksumMode: "ENABLED" });
      expect(value).toBeTruthy();
      expect(written[field]).toBe(value);
    },
  );

  it.each([
    ["ChecksumCRC32", "AAAAAA=="],
    ["ChecksumCRC32C", "AAAAAA=="],
    ["ChecksumSHA256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
    ["ContentMD5", "1B2M2Y8AsgTpgAmY7PhCfg=="],
  ])("that do not fit the body are refused: %s", async (field, value) => {
    expect(await refusalOf(put("checksums/wrong", "body", { [field]: value }))).toBe("BadDigest");
    expect(await refusalOf(get("checksums/wrong"))).toBe("NoSuchKey");
  });
});

describe("copies", () => {
  const copy = (from: string, to: string, more = {}) =>
    test.s3.send(
      new CopyObjectCommand({
        Bucket,
        Key: to,
        CopySource: `${Bucket}/${from.split("/").map(encodeURIComponent).join("/")}`,
        ...more,
      }),
    );

  it("keep body, metadata and checksum, and outlive their source", async () => {
    await put("copies/a b+ü", "text", { ContentType: "text/plain", Metadata: { one: "1" } });
    const { CopyObjectResult } = await copy("copies/a b+ü", "copies/b");
    await test.s3.send(new DeleteObjectCommand({ Bucket, Key: "copies/a b+ü" }));
    const object = await get("copies/b", { ChecksumMode: "ENABLED" });
    expect(await object.Body?.transformToString()).toBe("text");
    expect(object.ContentType).toBe("text/plain");
    expect(object.Metadata).toEqual({ one: "1" });
    expect(object.ETag).toBe(CopyObjectResult?.ETag);
    expect(object.ChecksumCRC32).toBe(CopyObjectResult?.ChecksumCRC32);
  });

  it("take new metadata where they are told to, even onto themselves", async () => {
    await put("copies/self", "text", { Metadata: { one: "1" } });
    expect(await refusalOf(copy("copies/self", "copies/self"))).toBe("InvalidRequest");
    await copy("copies/self", "copies/self", {
      MetadataDirective: "REPLACE",
      Metadata: { two: "2" },
    });
    const object = await get("copies/self");
    expect(object.Metadata).toEqual({ two: "2" });
    expect(await object.Body?.transformToString()).toBe("text");
  });

  it("heed conditions on source and destination", async () => {
    const { ETag } = await put("copies/source", "text");
    expect(await refusalOf(copy("copies/source", "copies/to", { CopySourceIfMatch: '"x"' }))).toBe(
      "PreconditionFailed",
    );
    await copy("copies/source", "copies/to", { CopySourceIfMatch: ETag, IfNoneMatch: "*" });
    expect(await refusalOf(copy("copies/source", "copies/to", { IfNoneMatch: "*" }))).toBe(
      "PreconditionFailed",
    );
    expect(await refusalOf(copy("copies/gone", "copies/to"))).toBe("NoSuchKey");
  });
});

describe("multipart uploads", () => {
  const create = async (Key: string, more = {}): Promise<string> => {
    const { UploadId } = await test.s3.send(
      new CreateMultipartUploadCommand({ Bucket, Key, ...more }),
    );
    return UploadId ?? "";
  };
  const upload = (Key: string, UploadId: string, PartNumber: number, Body: Uint8Array, more = {}) =>
    test.s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...more }));
  const complete = (
    Key: string,
    UploadId: string,
    Parts: readonly { PartNumber: number; ETag?: string | undefined }[],
    more = {},
  ) =>
    test.s3.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId,
        MultipartUpload: { Parts: [...Parts] },
        ...more,
      }),
    );

  it("join their parts, with the ETag that AWS forms", async () => {
    const key = "multipart/joined";
    const bodies = [randomBytes(5 * MIB), randomBytes(6 * MIB), randomBytes(100)];
    const id = await create(key, { ContentType: "text/plain", Metadata: { a: "b" } });
    const parts: { PartNumber: number; ETag: string | undefined }[] = [];
    for (const [index, body] of bodies.entries()) {
      const { ETag } = await upload(key, id, index + 1, body);
      parts.push({ PartNumber: index + 1, ETag });
    }
    const listed = await test.s3.send(new ListPartsCommand({ Bucket, Key: key, UploadId: id }));
    expect(listed.Parts?.map(({ Size }) => Size)).toEqual(bodies.map(({ length }) => length));

    const done = await complete(key, id, parts);

    const sums = Buffer.concat(bodies.map((body) => Buffer.from(md5(body), "hex")));
    expect(done.ETag).toBe(`"${md5(sums)}-3"`);
    expect(await refusalOf(upload(key, id, 4, bodies[0] ?? Buffer.alloc(0)))).toBe("NoSuchUpload");
    const object = await get(key);
    expect(object.ContentType).toBe("text/plain");
    expect(object.Metadata).toEqual({ a: "b" });
    expect(md5((await object.Body?.transformToByteArray()) ?? Buffer.alloc(0))).toBe(
      md5(Buffer.concat(bodies)),
    );
    const border = await read(key, { Range: `bytes=${5 * MIB - 2}-${5 * MIB + 1}` });
    expect(border).toEqual(Buffer.concat(bodies).subarray(5 * MIB - 2, 5 * MIB + 2));
    expect((await complete(key, id, parts)).ETag).toBe(done.ETag);
  });

  it.each([
    ["COMPOSITE", "CRC32"],
    ["FULL_OBJECT", "CRC32"],
    ["FULL_OBJECT", "CRC64NVME"],
    ["COMPOSITE", "SHA256"],
  ])("have a %s checksum of %s", async (ChecksumType, ChecksumAlgorithm) => {
    const key = `multipart/${ChecksumType}-${ChecksumAlgorithm}`;
    const field = `Checksum${ChecksumAlgorithm}`;
    const bodies = [randomBytes(5 * MIB), randomBytes(1000)];
    const id = await create(key, { ChecksumType, ChecksumAlgorithm });
    const parts = await Promise.all(
      bodies.map(async (body, index) => {
        const part = await upload(key, id, index + 1, body, { ChecksumAlgorithm });
        const value = part[field as "ChecksumCRC32"];
        return { PartNumber: index + 1, ETag: part.ETag, [field]: value };
      }),
    );
    const done = await complete(key, id, parts);
    await put(`${key}-whole`, Buffer.concat(bodies), {
      ChecksumAlgorithm: ChecksumAlgorithm as "CRC32",
    });
    const whole = await head(`${key}-whole`, { ChecksumMode: "ENABLED" });
    const value = done[field as "ChecksumCRC32"];
    if (ChecksumType === "FULL_OBJECT") expect(value).toBe(whole[field as "ChecksumCRC32"]);
    else expect(value).toMatch(/^[A-Za-z0-9+/=]+-2$/);
    expect(done.ChecksumType).toBe(ChecksumType);
  });

  it("are refused with parts that are missing, out of order or too small", async () => {
    const key = "multipart/wrong";
    const id = await create(key);
    const small = await upload(key, id, 1, randomBytes(100));
    const last = await upload(key, id, 2, randomBytes(100));
    const [one, two] = [
      { PartNumber: 1, ETag: small.ETag },
      { PartNumber: 2, ETag: last.ETag },
    ];
    expect(await refusalOf(complete(key, id, [{ PartNumber: 3, ETag: small.ETag }]))).toBe(
      "InvalidPart",
    );
    expect(await refusalOf(complete(key, id, [{ ...one, ETag: '"x"' }]))).toBe("InvalidPart");
    expect(await refusalOf(complete(key, id, [two, one]))).toBe("InvalidPartOrder");
    expect(await refusalOf(complete(key, id, [one, two]))).toBe("EntityTooSmall");
  });

  it("heed If-None-Match when they complete, and stay for another try", async () => {
    const key = "multipart/conditional";
    await put(key, "there");
    const id = await create(key);
    const { ETag } = await upload(key, id, 1, Buffer.from("part"));
    const parts = [{ PartNumber: 1, ETag }];
    expect(await refusalOf(complete(key, id, parts, { IfNoneMatch: "*" }))).toBe(
      "PreconditionFailed",
    );
    await complete(key, id, parts);
    expect(await readText(key)).toBe("part");
  });

  it("take parts from other objects, and are listed until they are aborted", async () => {
    await put("multipart/source", "0123456789");
    const key = "multipart/copied";
    const id = await create(key);
    const part = await test.s3.send(
      new UploadPartCopyCommand({
        Bucket,
        Key: key,
        UploadId: id,
        PartNumber: 1,
        CopySource: `${Bucket}/multipart/source`,
        CopySourceRange: "bytes=2-5",
      }),
    );
    expect(part.CopyPartResult?.ETag).toBe(`"${md5(Buffer.from("2345"))}"`);
    await complete(key, id, [{ PartNumber: 1, ETag: part.CopyPartResult?.ETag }]);
    expect(await readText(key)).toBe("2345");

    const other = await create("multipart/listed");
    const uploads = async () =>
      (
        await test.s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: "multipart/listed" }))
      ).Uploads?.map(({ UploadId }) => UploadId);
    expect(await uploads()).toEqual([other]);
    await test.s3.send(
      new AbortMultipartUploadCommand({ Bucket, Key: "multipart/listed", UploadId: other }),
    );
    expect(await uploads()).toBeUndefined();
  });
});
