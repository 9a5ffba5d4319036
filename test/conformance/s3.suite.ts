/** S3 as AWS documents it, as far as we lean on it beyond what the Store promises. Through the SDK, call by call. */
import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { expect } from "vitest";
import { type Backend, type Check, conformance } from "./backend.ts";
import { errorOf } from "./errors.ts";
import { makeCalls, type Open, type S3UnderTest } from "./s3-calls.ts";
import { describeUnneeded } from "./s3-unneeded.ts";

/** `makeWorld` is called for each test; all may share one bucket. */
export function s3Conformance(backend: Backend, makeWorld: () => Promise<S3UnderTest>): void {
  const open = async () => makeCalls(await makeWorld());
  conformance("S3", backend, (test) => {
    describeConditions(open, test);
    describeReading(open, test);
    describeChecksums(open, test);
    describeMultipart(open, test);
    describeCopying(open, test);
    describeListing(open, test);
    describeSignatures(open, test);
    describeUnneeded(open, test);
  });
}

const MIB = 1 << 20;
const md5 = (bytes: Uint8Array): Buffer => createHash("md5").update(bytes).digest();

function describeConditions(open: Open, test: Check): void {
  test("PutObject with If-None-Match answers PreconditionFailed where an object is", async () => {
    const { put } = await open();
    await put("a", "one", { IfNoneMatch: "*" });
    expect(await errorOf(put("a", "two", { IfNoneMatch: "*" }))).toBe("412 PreconditionFailed");
  });

  test("PutObject with If-Match answers NoSuchKey where none is, PreconditionFailed for another", async () => {
    const { put } = await open();
    expect(await errorOf(put("a", "x", { IfMatch: '"0"' }))).toBe("404 NoSuchKey");
    const { ETag } = await put("a", "one");
    await put("a", "two", { IfMatch: ETag });
    expect(await errorOf(put("a", "x", { IfMatch: ETag }))).toBe("412 PreconditionFailed");
  });

  test("CompleteMultipartUpload with If-None-Match is refused where an object is, and may be tried again", async () => {
    const { s3, put, begin, read, remove } = await open();
    const upload = await begin("a");
    const part = { ...upload, PartNumber: 1, Body: "parts" };
    const { ETag } = await s3.send(new UploadPartCommand(part));
    await put("a", "in the way");
    const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] };
    const complete = () =>
      s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload, IfNoneMatch: "*" }));
    expect(await errorOf(complete())).toBe("412 PreconditionFailed");
    await remove("a");
    await complete();
    expect((await read("a")).text).toBe("parts");
  });

  test("DeleteObject with If-Match spares another version", async () => {
    const { s3, put, at, read } = await open();
    const { ETag } = await put("a", "one");
    await put("a", "two");
    const remove = s3.send(new DeleteObjectCommand({ ...at("a"), IfMatch: ETag }));
    expect(await errorOf(remove)).toBe("412 PreconditionFailed");
    expect((await read("a")).text).toBe("two");
  });
}

function describeReading(open: Open, test: Check): void {
  test("GetObject answers If-None-Match with 304 and If-Match with 412", async () => {
    const { put, read } = await open();
    const { ETag } = await put("a", "text");
    expect(await errorOf(read("a", { IfNoneMatch: ETag }))).toMatch(/^304 /);
    expect(await errorOf(read("a", { IfMatch: '"0"' }))).toBe("412 PreconditionFailed");
    expect((await read("a", { IfMatch: ETag })).text).toBe("text");
  });

  test("GetObject gives the last bytes, and InvalidRange behind the end", async () => {
    const { put, read } = await open();
    await put("a", "0123456789");
    const tail = await read("a", { Range: "bytes=-3" });
    expect([tail.text, tail.ContentRange]).toEqual(["789", "bytes 7-9/10"]);
    expect((await read("a", { Range: "bytes=-99" })).text).toBe("0123456789");
    expect(await errorOf(read("a", { Range: "bytes=10-" }))).toBe("416 InvalidRange");
  });

  test("headers and metadata come back as they were sent", async () => {
    const { s3, put, at } = await open();
    const sent = {
      ContentType: "text/x-a",
      CacheControl: "no-store",
      ContentDisposition: 'attachment; filename="a"',
      ContentEncoding: "gzip",
      ContentLanguage: "de",
      Metadata: { "a-b": "c d" },
    };
    await put("a", "x", sent);
    expect(await s3.send(new HeadObjectCommand(at("a")))).toMatchObject(sent);
  });

  test("metadata of more than 2 KB is MetadataTooLarge", async () => {
    const { put } = await open();
    const Metadata = { a: "x".repeat(2048) };
    expect(await errorOf(put("a", "x", { Metadata }))).toBe("400 MetadataTooLarge");
  });

  test("a key of more than 1,024 bytes is KeyTooLongError", async () => {
    const { put } = await open();
    expect(await errorOf(put("x".repeat(1024), "x"))).toBe("400 KeyTooLongError");
  });
}

/** Of another body. */
const WRONG_SUMS = {
  ChecksumCRC32: "AAAAAA==",
  ChecksumCRC32C: "AAAAAA==",
  ChecksumCRC64NVME: "AAAAAAAAAAA=",
  ChecksumSHA1: `${"A".repeat(27)}=`,
  ChecksumSHA256: `${"A".repeat(43)}=`,
  ContentMD5: `${"A".repeat(22)}==`,
};

function describeChecksums(open: Open, test: Check): void {
  for (const [field, value] of Object.entries(WRONG_SUMS)) {
    test(`PutObject refuses a body with a wrong ${field}, and keeps nothing of it`, async () => {
      const { put, read } = await open();
      expect(await errorOf(put("a", "body", { [field]: value }))).toBe("400 BadDigest");
      expect(await errorOf(read("a"))).toBe("404 NoSuchKey");
    });
  }

  test("a checksum is kept and given back to whoever asks for it", async () => {
    const { put, read } = await open();
    const { ChecksumSHA256 } = await put("a", "body", { ChecksumAlgorithm: "SHA256" });
    const sum = createHash("sha256").update("body").digest("base64");
    expect(ChecksumSHA256).toBe(sum);
    expect((await read("a", { ChecksumMode: "ENABLED" })).ChecksumSHA256).toBe(sum);
  });

  test("UploadPart refuses a part with a wrong checksum", async () => {
    const { s3, begin } = await open();
    const upload = await begin("a", { ChecksumAlgorithm: "SHA256" });
    const part = { ...upload, PartNumber: 1, Body: "body" };
    const wrong = { ChecksumSHA256: WRONG_SUMS.ChecksumSHA256 };
    expect(await errorOf(s3.send(new UploadPartCommand({ ...part, ...wrong })))).toBe(
      "400 BadDigest",
    );
  });
}

function describeMultipart(open: Open, test: Check): void {
  test("the ETag and the checksum of an upload in parts are composed of the parts'", async () => {
    const { s3, at, begin } = await open();
    const upload = await begin("a", { ChecksumAlgorithm: "SHA256" });
    const bodies = [Buffer.alloc(5 * MIB, 1), Buffer.from("tail")];
    const Parts = await Promise.all(
      bodies.map(async (Body, index) => {
        const part = { ...upload, PartNumber: index + 1, Body };
        const command = new UploadPartCommand({ ...part, ChecksumAlgorithm: "SHA256" });
        const { ETag, ChecksumSHA256 } = await s3.send(command);
        return { ETag, ChecksumSHA256, PartNumber: index + 1 };
      }),
    );
    const complete = { ...upload, MultipartUpload: { Parts } };
    await s3.send(new CompleteMultipartUploadCommand(complete));
    const composed = createHash("sha256");
    for (const body of bodies) composed.update(createHash("sha256").update(body).digest());
    const head = new HeadObjectCommand({ ...at("a"), ChecksumMode: "ENABLED" });
    expect(await s3.send(head)).toMatchObject({
      ETag: `"${md5(Buffer.concat(bodies.map(md5))).toString("hex")}-2"`,
      ChecksumSHA256: `${composed.digest("base64")}-2`,
      ContentLength: 5 * MIB + 4,
    });
  });

  test("a part below 5 MiB that is not the last is EntityTooSmall, one that is not there InvalidPart", async () => {
    const { s3, begin } = await open();
    const upload = await begin("a");
    const send = async (PartNumber: number) => {
      const command = new UploadPartCommand({ ...upload, PartNumber, Body: "small" });
      return { PartNumber, ETag: (await s3.send(command)).ETag };
    };
    const complete = (Parts: { PartNumber: number; ETag: string | undefined }[]) =>
      s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
    expect(await errorOf(complete([await send(1), await send(2)]))).toBe("400 EntityTooSmall");
    expect(await errorOf(complete([{ PartNumber: 3, ETag: '"0"' }]))).toBe("400 InvalidPart");
  });

  test("parts that are not named in their order are InvalidPartOrder", async () => {
    const { s3, begin } = await open();
    const upload = await begin("a");
    const Parts = await Promise.all(
      [2, 1].map(async (PartNumber) => {
        const Body = Buffer.alloc(5 * MIB, PartNumber);
        const command = new UploadPartCommand({ ...upload, PartNumber, Body });
        return { PartNumber, ETag: (await s3.send(command)).ETag };
      }),
    );
    const complete = { ...upload, MultipartUpload: { Parts } };
    expect(await errorOf(s3.send(new CompleteMultipartUploadCommand(complete)))).toBe(
      "400 InvalidPartOrder",
    );
  });

  test("parts are listed, and an upload that was aborted is NoSuchUpload", async () => {
    const { s3, begin } = await open();
    const upload = await begin("a");
    await s3.send(new UploadPartCommand({ ...upload, PartNumber: 7, Body: "part" }));
    const { Parts } = await s3.send(new ListPartsCommand(upload));
    expect(Parts).toMatchObject([{ PartNumber: 7, Size: 4 }]);
    await s3.send(new AbortMultipartUploadCommand(upload));
    expect(await errorOf(s3.send(new ListPartsCommand(upload)))).toBe("404 NoSuchUpload");
  });

  test("UploadPartCopy takes a range of another object", async () => {
    const { s3, put, begin, Bucket, root, read } = await open();
    await put("from", "0123456789");
    const upload = await begin("to");
    const CopySource = `${Bucket}/${root}from`;
    const copy = { ...upload, CopySource, CopySourceRange: "bytes=2-4", PartNumber: 1 };
    const { CopyPartResult } = await s3.send(new UploadPartCopyCommand(copy));
    const MultipartUpload = { Parts: [{ ETag: CopyPartResult?.ETag, PartNumber: 1 }] };
    await s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }));
    expect((await read("to")).text).toBe("234");
  });

  test("completing an upload twice answers the same", async () => {
    const { s3, begin } = await open();
    const upload = await begin("a");
    const { ETag } = await s3.send(
      new UploadPartCommand({ ...upload, PartNumber: 1, Body: "part" }),
    );
    const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] };
    const complete = () =>
      s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }));
    const first = await complete();
    expect((await complete()).ETag).toBe(first.ETag);
  });
}

function describeCopying(open: Open, test: Check): void {
  test("CopyObject keeps the metadata or replaces it, and refuses a copy onto itself that changes nothing", async () => {
    const { s3, put, at, Bucket, root, read } = await open();
    await put("a", "text", { Metadata: { a: "1" } });
    const CopySource = `${Bucket}/${root}a`;
    await s3.send(new CopyObjectCommand({ ...at("b"), CopySource }));
    expect((await read("b")).Metadata).toEqual({ a: "1" });
    const replaced = { ...at("c"), CopySource, MetadataDirective: "REPLACE" as const };
    await s3.send(new CopyObjectCommand({ ...replaced, Metadata: { b: "2" } }));
    expect((await read("c")).Metadata).toEqual({ b: "2" });
    const onto = s3.send(new CopyObjectCommand({ ...at("a"), CopySource }));
    expect(await errorOf(onto)).toBe("400 InvalidRequest");
  });

  test("CopyObject with If-None-Match spares what is there", async () => {
    const { s3, put, at, Bucket, root, read } = await open();
    await put("a", "one");
    await put("b", "two");
    const copy = { ...at("b"), CopySource: `${Bucket}/${root}a`, IfNoneMatch: "*" };
    expect(await errorOf(s3.send(new CopyObjectCommand(copy)))).toBe("412 PreconditionFailed");
    expect((await read("b")).text).toBe("two");
  });
}

function describeListing(open: Open, test: Check): void {
  test("ListObjectsV2 folds at a delimiter, each folder once over all pages, and begins behind a key", async () => {
    const { s3, put, Bucket, root } = await open();
    for (const name of ["a", "b/1", "b/2", "c", "d/1"]) await put(name, "x");
    const list = (more: Partial<ListObjectsV2CommandInput>) =>
      s3.send(new ListObjectsV2Command({ Bucket, Prefix: root, Delimiter: "/", ...more }));
    const seen: (string | undefined)[] = [];
    let ContinuationToken: string | undefined;
    for (let page = 0; page < 10; page += 1) {
      const answer = await list({ MaxKeys: 1, ContinuationToken });
      seen.push(...(answer.Contents ?? []).map(({ Key }) => Key));
      seen.push(...(answer.CommonPrefixes ?? []).map(({ Prefix }) => Prefix));
      ContinuationToken = answer.NextContinuationToken;
      if (!answer.IsTruncated) break;
    }
    expect(seen).toEqual(["a", "b/", "c", "d/"].map((name) => `${root}${name}`));
    const behind = await list({ StartAfter: `${root}b/2` });
    expect(behind.Contents?.map(({ Key }) => Key)).toEqual([`${root}c`]);
  });

  test("DeleteObjects answers for each key, and one that is not there counts as deleted", async () => {
    const { s3, put, Bucket, root, read } = await open();
    await put("a", "x");
    const Objects = ["a", "none"].map((name) => ({ Key: `${root}${name}` }));
    const { Deleted } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    expect(Deleted?.map(({ Key }) => Key)).toEqual(Objects.map(({ Key }) => Key));
    expect(await errorOf(read("a"))).toBe("404 NoSuchKey");
  });
}

function describeSignatures(open: Open, test: Check): void {
  test("a presigned link is good until it expires", async () => {
    const { s3, put, at } = await open();
    await put("a", "text");
    const sign = (agoSeconds: number) =>
      getSignedUrl(s3, new GetObjectCommand(at("a")), {
        expiresIn: 60,
        signingDate: new Date(Date.now() - agoSeconds * 1000),
      });
    expect(await (await fetch(await sign(0))).text()).toBe("text");
    expect((await fetch(await sign(90))).status).toBe(403);
  });

  test("a wrong secret is SignatureDoesNotMatch", async () => {
    const { s3, at, makeClient } = await open();
    const { accessKeyId } = await s3.config.credentials();
    const client = await makeClient({ credentials: { accessKeyId, secretAccessKey: "wrong" } });
    const read = client.send(new GetObjectCommand(at("a")));
    expect(await errorOf(read)).toBe("403 SignatureDoesNotMatch");
    client.destroy();
  });
}
