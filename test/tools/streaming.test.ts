/** Bodies far larger than memory, through `errand local` as a process of its own. */
import { createHash } from "node:crypto";
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ErrandLocal, startErrandLocal } from "../support/errand-local.ts";

const GIB = 2 ** 30;
const FREE_BYTES_MIN = 12 * GIB;
const MEMORY_MB_MAX = 300;
const CHUNK_BYTES = 1 << 20;

async function readReason(): Promise<string | undefined> {
  const { bavail, bsize } = await statfs(tmpdir());
  if (bavail * bsize >= FREE_BYTES_MIN) return undefined;
  return `skipped: ${tmpdir()} has ${Math.floor((bavail * bsize) / GIB)} GiB free of the 12 that it takes`;
}

const reason = await readReason();
if (reason) process.stderr.write(`${reason}\n`);

let local: ErrandLocal;
let s3: S3Client;

beforeAll(async () => {
  if (reason) return;
  local = await startErrandLocal();
  const { endpoint, region, accessKeyId, secretAccessKey } = local;
  const credentials = { accessKeyId, secretAccessKey };
  s3 = new S3Client({ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 });
});
afterAll(async () => {
  s3?.destroy();
  await local?.dispose();
});

/** `bytes` of them, no two MiB the same. */
function* generate(bytes: number, first: number): Generator<Buffer> {
  const chunk = Buffer.alloc(CHUNK_BYTES, 7);
  for (let sent = 0; sent < bytes; sent += CHUNK_BYTES) {
    chunk.writeUInt32BE(first + sent / CHUNK_BYTES);
    // The reader may keep it for a while.
    yield Buffer.from(chunk);
  }
}

const bodyOf = (bytes: number, first = 0): Readable =>
  Readable.from(generate(bytes, first), { objectMode: false, highWaterMark: CHUNK_BYTES });

function hashOf(bytes: number): string {
  const hash = createHash("sha256");
  for (const chunk of generate(bytes, 0)) hash.update(chunk);
  return hash.digest("hex");
}

async function expectLittleMemory(): Promise<void> {
  const memoryMb = await local.memoryMbMax();
  if (memoryMb === undefined) return;
  process.stdout.write(`errand local had ${memoryMb.toFixed(0)} MB resident at most\n`);
  expect(memoryMb).toBeLessThan(MEMORY_MB_MAX);
}

describe.skipIf(reason)("bodies larger than memory", { timeout: 600_000 }, () => {
  it("1 GiB in one PUT goes in and comes out the same, in less than 300 MB", async () => {
    const at = { Bucket: local.bucket, Key: "large/put" };
    await s3.send(new PutObjectCommand({ ...at, Body: bodyOf(GIB), ContentLength: GIB }));
    const { Body } = await s3.send(new GetObjectCommand(at));
    const hash = createHash("sha256");
    for await (const chunk of Body as Readable) hash.update(chunk);
    expect(hash.digest("hex")).toBe(hashOf(GIB));
    await s3.send(new DeleteObjectCommand(at));
    await expectLittleMemory();
  });

  it("5 GiB in parts of 512 MiB go in two at a time, in less than 300 MB", async () => {
    const at = { Bucket: local.bucket, Key: "large/parts" };
    const partBytes = GIB / 2;
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(at));
    const send = async (PartNumber: number) => {
      const Body = bodyOf(partBytes, ((PartNumber - 1) * partBytes) / CHUNK_BYTES);
      const part = { ...at, UploadId, PartNumber, Body, ContentLength: partBytes };
      return { PartNumber, ETag: (await s3.send(new UploadPartCommand(part))).ETag };
    };
    const Parts: Awaited<ReturnType<typeof send>>[] = [];
    for (let first = 1; first <= 10; first += 2) {
      Parts.push(...(await Promise.all([send(first), send(first + 1)])));
    }
    const complete = { ...at, UploadId, MultipartUpload: { Parts } };
    await s3.send(new CompleteMultipartUploadCommand(complete));
    const seams = [CHUNK_BYTES * 512, CHUNK_BYTES * (5 * 1024 - 1)];
    for (const start of seams) {
      const Range = `bytes=${start}-${start + 3}`;
      const { Body, ContentRange } = await s3.send(new GetObjectCommand({ ...at, Range }));
      expect(ContentRange).toBe(`bytes ${start}-${start + 3}/${5 * GIB}`);
      const bytes = Buffer.from((await Body?.transformToByteArray()) ?? []);
      expect(bytes.readUInt32BE()).toBe(start / CHUNK_BYTES);
    }
    await s3.send(new DeleteObjectCommand(at));
    await expectLittleMemory();
  });
});
