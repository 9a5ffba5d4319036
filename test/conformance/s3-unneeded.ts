/** What S3 does and Errand does without. */
import {
  CompleteMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectTaggingCommand,
  type ObjectAttributes,
  PutBucketVersioningCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { expect } from "vitest";
import type { Check } from "./backend.ts";
import type { Open } from "./s3-calls.ts";

const MIB = 1 << 20;

export function describeUnneeded(open: Open, test: Check): void {
  test("an object takes tags and gives them back", async () => {
    const { s3, put, at } = await open();
    await put("a", "x", { Tagging: "a=b" });
    const { TagSet } = await s3.send(new GetObjectTaggingCommand(at("a")));
    expect(TagSet).toEqual([{ Key: "a", Value: "b" }]);
  });

  test("an object takes an ACL", async () => {
    const { put } = await open();
    await put("a", "x", { ACL: "bucket-owner-full-control" });
  });

  test("an object says that it is encrypted when that was asked for", async () => {
    const { put } = await open();
    const { ServerSideEncryption } = await put("a", "x", { ServerSideEncryption: "AES256" });
    expect(ServerSideEncryption).toBe("AES256");
  });

  test("an object that was sent without a checksum has CRC64NVME", async () => {
    const { at, read, makeClient } = await open();
    const client = await makeClient({ requestChecksumCalculation: "WHEN_REQUIRED" });
    await client.send(new PutObjectCommand({ ...at("a"), Body: "123456789" }));
    client.destroy();
    const { ChecksumCRC64NVME } = await read("a", { ChecksumMode: "ENABLED" });
    // The check value of the algorithm's specification, ae8b14860a799888.
    expect(ChecksumCRC64NVME).toBe("rosUhgp5mIg=");
  });

  test("GetObjectAttributes tells size and ETag", async () => {
    const { s3, put, at } = await open();
    await put("a", "12345");
    const ObjectAttributes: ObjectAttributes[] = ["ObjectSize", "ETag"];
    const command = new GetObjectAttributesCommand({ ...at("a"), ObjectAttributes });
    expect((await s3.send(command)).ObjectSize).toBe(5);
  });

  test("a part of an object is read by its number", async () => {
    const { s3, begin, read } = await open();
    const upload = await begin("a");
    const send = async (PartNumber: number, Body: Uint8Array | string) => {
      const command = new UploadPartCommand({ ...upload, PartNumber, Body });
      return { PartNumber, ETag: (await s3.send(command)).ETag };
    };
    const Parts = [await send(1, Buffer.alloc(5 * MIB)), await send(2, "tail")];
    const complete = { ...upload, MultipartUpload: { Parts } };
    await s3.send(new CompleteMultipartUploadCommand(complete));
    const part = await read("a", { PartNumber: 2 });
    expect([part.text, part.PartsCount]).toEqual(["tail", 2]);
  });

  test("a bucket keeps versions when it is told to", async () => {
    const { s3, Bucket } = await open();
    const VersioningConfiguration = { Status: "Suspended" as const };
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
  });
}
