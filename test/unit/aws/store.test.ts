/** What no store of the conformance suites can be made to answer. */
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { mockClient } from "aws-sdk-client-mock";
import { expect, test } from "vitest";
import { createStore } from "../../../src/aws/store.ts";

const awsError = (name: string, status: number): Error =>
  Object.assign(new Error(`${name} in AWS's words`), {
    name,
    $metadata: { httpStatusCode: status },
  });

function makeWorld() {
  const client = new S3Client({ region: "us-east-1" });
  const s3 = mockClient(client);
  return { s3, store: createStore(client, "errand", { wholeBytesMax: 10, partBytes: 5 }) };
}

const bodyOf = (stream: Readable) =>
  stream as unknown as NonNullable<GetObjectCommandOutput["Body"]>;

test("a bucket that does not exist is no object that does not exist", async () => {
  const { s3, store } = makeWorld();
  s3.on(GetObjectCommand).rejects(awsError("NoSuchBucket", 404));
  await expect(store.find("a")).rejects.toMatchObject({
    kind: "refused",
    message: expect.stringContaining("set `bucket`"),
  });
});

test("a connection that breaks in the middle of a body is unavailable", async () => {
  const { s3, store } = makeWorld();
  const reset = Object.assign(new Error("aborted"), { code: "ECONNRESET" });
  const stream = Readable.from(
    (async function* () {
      yield Buffer.from("first");
      throw reset;
    })(),
  );
  s3.on(GetObjectCommand).resolves({ Body: bodyOf(stream) });
  const read = async () => {
    for await (const _ of await store.open("a"));
  };
  await expect(read()).rejects.toMatchObject({ kind: "unavailable", code: "ECONNRESET" });
});

test("the body of an object that is too large is given up, not read", async () => {
  const { s3, store } = makeWorld();
  const stream = Readable.from([Buffer.alloc(11)]);
  s3.on(GetObjectCommand).resolves({ Body: bodyOf(stream), ContentLength: 11 });
  await expect(store.find("a", 10)).rejects.toMatchObject({
    kind: "refused",
    message: "reading a: it is 11 B, at most 10 B are read",
  });
  expect(stream.destroyed).toBe(true);
});

test("a reader that stops early gives the body up", async () => {
  const { s3, store } = makeWorld();
  const stream = Readable.from([Buffer.alloc(1), Buffer.alloc(1), Buffer.alloc(1)]);
  s3.on(GetObjectCommand).resolves({ Body: bodyOf(stream) });
  for await (const _ of await store.open("a")) break;
  expect(stream.destroyed).toBe(true);
});

test("only a write that replaces a version takes a 404 for a conflict", async () => {
  const { s3, store } = makeWorld();
  s3.on(PutObjectCommand).rejects(awsError("NoSuchKey", 404));
  await expect(store.put("a", "x", { condition: { ifEtag: '"1"' } })).rejects.toMatchObject({
    kind: "conflict",
  });
  await expect(store.put("a", "x")).rejects.toMatchObject({ kind: "not-found" });
});

test("a copy in parts that fails leaves no parts behind, and its own error stands", async () => {
  const { s3, store } = makeWorld();
  s3.on(HeadObjectCommand).resolves({ ContentLength: 12 });
  s3.on(CreateMultipartUploadCommand).resolves({ UploadId: "upload" });
  s3.on(UploadPartCopyCommand).callsFake(({ PartNumber }: { PartNumber: number }) => {
    if (PartNumber === 2) throw awsError("PreconditionFailed", 412);
    return { CopyPartResult: { ETag: '"part"' } };
  });
  s3.on(AbortMultipartUploadCommand).rejects(awsError("SlowDown", 503));
  await expect(store.copy({ key: "a b", etag: '"1"' }, "c")).rejects.toMatchObject({
    kind: "conflict",
    code: "PreconditionFailed",
  });
  const parts = s3.commandCalls(UploadPartCopyCommand).map(({ args }) => args[0].input);
  expect(
    parts.map((part) => [part.CopySource, part.CopySourceIfMatch, part.CopySourceRange]),
  ).toEqual([
    ["errand/a%20b", '"1"', "bytes=0-4"],
    ["errand/a%20b", '"1"', "bytes=5-9"],
    ["errand/a%20b", '"1"', "bytes=10-11"],
  ]);
  expect(s3.commandCalls(AbortMultipartUploadCommand)[0]?.args[0].input).toEqual({
    Bucket: "errand",
    Key: "c",
    UploadId: "upload",
  });
});
