import { createHash, randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  ListObjectVersionsCommand,
  PutObjectCommand,
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
const list = (more: Partial<ListObjectsV2CommandInput>) =>
  test.s3.send(new ListObjectsV2Command({ Bucket, ...more }));
const readText = async (key: string): Promise<string> => (await read(key)).toString();
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const MIB = 1 << 20;

describe("objects", () => {
  it("come back with their bytes, ETag, type and metadata", async () => {
    const written = await put("objects/a.json", '{"a":1}', {
      ContentType: "application/json",
      CacheControl: "no-cache",
      ContentEncoding: "identity",
      Metadata: { workflow: "train", "var-epochs": "3" },
    });

    const object = await get("objects/a.json");

    expect(await object.Body?.transformToString()).toBe('{"a":1}');
    expect(object.ETag).toBe(`"${md5(Buffer.from('{"a":1}'))}"`);
    expect(object.ETag).toBe(written.ETag);
    expect(object.ContentType).toBe("application/json");
    expect(object.CacheControl).toBe("no-cache");
    expect(object.ContentEncoding).toBe("identity");
    expect(object.Metadata).toEqual({ workflow: "train", "var-epochs": "3" });
    expect(object.ContentLength).toBe(7);
  });

  it("may be empty", async () => {
    await put("objects/empty", "");
    expect(await readText("objects/empty")).toBe("");
    const found = await head("objects/empty");
    expect(found.ContentLength).toBe(0);
    expect(found.ContentType).toBe("application/octet-stream");
  });

  it.each([
    ["a streamed body of known length", 20 * MIB],
    ["one at the border of small", 128 << 10],
    ["one byte over it", (128 << 10) + 1],
  ])("are stored whole from %s", async (_, bytes) => {
    const body = randomBytes(bytes);
    const chunks = Array.from({ length: Math.ceil(bytes / 50_000) }, (_, index) =>
      body.subarray(index * 50_000, (index + 1) * 50_000),
    );
    await put("objects/stream", Readable.from(chunks), { ContentLength: bytes });
    expect(md5(await read("objects/stream"))).toBe(md5(body));
  });

  it.each([
    "keys/plain",
    "keys/with space+plus&amp;'quotes\"",
    "keys/new\nline",
    "keys/ümläut/日本/😀",
    "keys//double//slash/",
    "keys/../dots/./x",
    "keys/%2F%zz?#=;",
    "keys/\u0001control",
  ])("keep the key %j", async (key) => {
    await put(key, key);
    expect(await readText(key)).toBe(key);
    const { Contents } = await list({ Prefix: key, EncodingType: "url" });
    const keys = Contents?.map(({ Key }) => decodeURIComponent((Key ?? "").replaceAll("+", " ")));
    expect(keys).toContain(key);
    await test.s3.send(new DeleteObjectCommand({ Bucket, Key: key }));
    expect(await refusalOf(get(key))).toBe("NoSuchKey");
  });

  it("are not found by the name of their prefix", async () => {
    await put("folder/x", "x");
    expect(await refusalOf(get("folder"))).toBe("NoSuchKey");
    expect(await refusalOf(head("folder/"))).toBe("NotFound");
  });

  it("give their old content to a reader that began before they were overwritten", async () => {
    const before = randomBytes(2 * MIB);
    await put("objects/replaced", before);
    const object = await get("objects/replaced");
    await put("objects/replaced", "after");
    const bytes = await object.Body?.transformToByteArray();
    expect(md5(bytes ?? new Uint8Array())).toBe(md5(before));
    expect(await readText("objects/replaced")).toBe("after");
  });

  it("are whole for each of many readers at once, whoever hangs up in the middle", async () => {
    const bodies = Array.from({ length: 6 }, () => randomBytes(2 * MIB));
    await Promise.all(bodies.map((body, index) => put(`readers/${index}`, body)));

    const readers = Array.from({ length: 36 }, async (_, index) => {
      const of = index % bodies.length;
      const object = await get(`readers/${of}`);
      if (index % 3 > 0)
        return bodies[of]?.equals((await object.Body?.transformToByteArray()) as Uint8Array);
      const body = object.Body as Readable;
      for await (const _chunk of body) break;
      return body.destroyed;
    });

    expect(await Promise.all(readers)).toEqual(readers.map(() => true));
  });

  it("are refused with a key of more than 1,024 bytes", async () => {
    expect(await refusalOf(put("k".repeat(1025), "x"))).toBe("KeyTooLongError");
  });
});

describe("ranges", () => {
  it.each([
    ["bytes=0-3", "0123", "bytes 0-3/10"],
    ["bytes=4-", "456789", "bytes 4-9/10"],
    ["bytes=-2", "89", "bytes 8-9/10"],
    ["bytes=8-100", "89", "bytes 8-9/10"],
  ])("%s is answered with that part", async (Range, text, contentRange) => {
    await put("ranges/digits", "0123456789");
    const part = await get("ranges/digits", { Range });
    expect(await part.Body?.transformToString()).toBe(text);
    expect(part.ContentRange).toBe(contentRange);
  });

  it("behind the end are refused", async () => {
    await put("ranges/digits", "0123456789");
    expect(await refusalOf(get("ranges/digits", { Range: "bytes=10-" }))).toBe("InvalidRange");
  });
});

describe("conditional reads", () => {
  it("answer 304 and 412 by ETag and date", async () => {
    const { ETag } = await put("conditions/read", "x");
    const status = (more: object): Promise<number> =>
      get("conditions/read", more).then(
        ({ $metadata }) => $metadata.httpStatusCode ?? 0,
        ({ $metadata }) => $metadata.httpStatusCode,
      );
    expect(await status({ IfMatch: ETag })).toBe(200);
    expect(await status({ IfMatch: '"other"' })).toBe(412);
    expect(await status({ IfNoneMatch: ETag })).toBe(304);
    expect(await status({ IfNoneMatch: '"other"' })).toBe(200);
    expect(await status({ IfModifiedSince: new Date(Date.now() + 60_000) })).toBe(304);
    expect(await status({ IfModifiedSince: new Date(0) })).toBe(200);
    expect(await status({ IfUnmodifiedSince: new Date(0) })).toBe(412);
    expect(await status({ IfMatch: ETag, IfUnmodifiedSince: new Date(0) })).toBe(200);
  });
});

describe("conditional writes", () => {
  it("have exactly one winner of 100 that create the same key", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        put("conditions/race", `racer ${index}`, { IfNoneMatch: "*" }).then(
          () => index,
          (error: Error) => error.name,
        ),
      ),
    );
    const winners = outcomes.filter((outcome) => typeof outcome === "number");
    expect(winners).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "PreconditionFailed")).toHaveLength(99);
    expect(await readText("conditions/race")).toBe(`racer ${winners[0]}`);
  });

  it("are refused when another wins while their body is still coming", async () => {
    const slow = new PassThrough();
    slow.write(randomBytes(200_000));
    const options = { IfNoneMatch: "*", ContentLength: 200_001 };
    const late = refusalOf(put("conditions/overtaken", slow, options));
    await expect.poll(() => slow.readableLength).toBe(0);
    await put("conditions/overtaken", "first", { IfNoneMatch: "*" });
    slow.end("x");
    expect(await late).toBe("PreconditionFailed");
    expect(await readText("conditions/overtaken")).toBe("first");
  });

  it("have exactly one winner of 50 that swap the same version", async () => {
    const { ETag } = await put("conditions/swap", "first");
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        put("conditions/swap", `swap ${index}`, { IfMatch: ETag }).then(
          () => "won",
          (error: Error) => error.name,
        ),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "won")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "PreconditionFailed")).toHaveLength(49);
  });

  it("with If-Match on a missing key are refused with NoSuchKey", async () => {
    expect(await refusalOf(put("conditions/none", "x", { IfMatch: '"abc"' }))).toBe("NoSuchKey");
  });

  it("leave a streamed body's bytes nowhere when they are refused", async () => {
    await put("conditions/big", "small");
    const body = Readable.from([randomBytes(MIB)]);
    expect(
      await refusalOf(put("conditions/big", body, { IfNoneMatch: "*", ContentLength: MIB })),
    ).toBe("PreconditionFailed");
    expect(await readText("conditions/big")).toBe("small");
  });

  it("hold for deletes, too", async () => {
    const { ETag } = await put("conditions/delete", "x");
    const remove = (IfMatch: string | undefined) =>
      test.s3.send(new DeleteObjectCommand({ Bucket, Key: "conditions/delete", IfMatch }));
    expect(await refusalOf(remove('"other"'))).toBe("PreconditionFailed");
    expect(await readText("conditions/delete")).toBe("x");
    await remove(ETag);
    expect(await refusalOf(get("conditions/delete"))).toBe("NoSuchKey");
    expect(await refusalOf(remove(ETag))).toBe("NoSuchKey");
    await remove(undefined);
  });
});

describe("listings", () => {
  it("come in the order of UTF-8 bytes, page by page", async () => {
    // U+FF5E comes before U+1F600 in UTF-8, and behind it in JavaScript's order.
    const names = ["a", "a/b", "aa", "b", "ä", "～", "😀"];
    for (const name of names.toReversed()) await put(`order/${name}`, "x");
    const seen: (string | undefined)[] = [];
    let ContinuationToken: string | undefined;
    for (let page = 0; page < 10; page += 1) {
      const answer = await list({ Prefix: "order/", MaxKeys: 2, ContinuationToken });
      seen.push(...(answer.Contents ?? []).map(({ Key }) => Key));
      ContinuationToken = answer.NextContinuationToken;
      if (!answer.IsTruncated) break;
    }
    expect(seen).toEqual(names.map((name) => `order/${name}`));
  });

  it("fold keys at the delimiter, over pages, each folder once", async () => {
    for (const key of ["1", "a/1", "a/2", "b", "c/x/1", "c/y", "d/"]) await put(`fold/${key}`, "x");
    const seen: string[] = [];
    let ContinuationToken: string | undefined;
    for (let page = 0; page < 10; page += 1) {
      const answer = await list({
        Prefix: "fold/",
        Delimiter: "/",
        MaxKeys: 1,
        ContinuationToken,
      });
      expect(answer.KeyCount).toBe(1);
      seen.push(...(answer.Contents ?? []).map(({ Key }) => String(Key)));
      seen.push(...(answer.CommonPrefixes ?? []).map(({ Prefix }) => `folder ${Prefix}`));
      ContinuationToken = answer.NextContinuationToken;
      if (!answer.IsTruncated) break;
    }
    expect(seen).toEqual([
      "fold/1",
      "folder fold/a/",
      "fold/b",
      "folder fold/c/",
      "folder fold/d/",
    ]);
  });

  it("start behind a key and say that there is no more", async () => {
    for (const key of ["a", "b", "c"]) await put(`after/${key}`, "x");
    const answer = await list({ Prefix: "after/", StartAfter: "after/a" });
    expect(answer.Contents?.map(({ Key }) => Key)).toEqual(["after/b", "after/c"]);
    expect(answer.IsTruncated).toBe(false);
    expect((await list({ Prefix: "after/", MaxKeys: 0 })).IsTruncated).toBe(false);
  });

  it("come the old way, too, from marker to marker", async () => {
    for (const key of ["a/1", "a/2", "b", "c"]) await put(`old/${key}`, "x");
    const page = async (Marker?: string) =>
      test.s3.send(
        new ListObjectsCommand({
          Bucket,
          Prefix: "old/",
          Delimiter: "/",
          MaxKeys: 2,
          ...(Marker && { Marker }),
        }),
      );
    const first = await page();
    expect(first.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(["old/a/"]);
    expect(first.Contents?.map(({ Key }) => Key)).toEqual(["old/b"]);
    const second = await page(first.NextMarker);
    expect(second.Contents?.map(({ Key }) => Key)).toEqual(["old/c"]);
    expect([first.IsTruncated, second.IsTruncated]).toEqual([true, false]);
  });

  it("refuse a continuation token that is not one", async () => {
    expect(await refusalOf(list({ ContinuationToken: "no token!" }))).toBe("InvalidArgument");
  });
});

describe("deletes of many", () => {
  it("tell of each key", async () => {
    const keys = ["many/1", "many/new\nline", "many/<&>"];
    for (const key of keys) await put(key, "x");
    const answer = await test.s3.send(
      new DeleteObjectsCommand({
        Bucket,
        Delete: {
          Objects: [
            ...keys.map((Key) => ({ Key })),
            { Key: "many/absent" },
            { Key: "many/absent", ETag: '"x"' },
          ],
        },
      }),
    );
    expect(answer.Deleted?.map(({ Key }) => Key)).toEqual([...keys, "many/absent"]);
    expect(answer.Errors?.map(({ Code }) => Code)).toEqual(["NoSuchKey"]);
    expect((await list({ Prefix: "many/" })).KeyCount).toBe(0);
  });
});

describe("buckets", () => {
  it("are created, found, listed and removed when empty", async () => {
    await test.s3.send(new CreateBucketCommand({ Bucket: "second" }));
    await test.s3.send(new HeadBucketCommand({ Bucket: "second" }));
    const { Buckets } = await test.s3.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual([Bucket, "second"]);
    const location = await test.s3.send(new GetBucketLocationCommand({ Bucket: "second" }));
    expect(location.LocationConstraint).toBeUndefined();
    await test.s3.send(new PutObjectCommand({ Bucket: "second", Key: "x", Body: "x" }));
    const remove = () => test.s3.send(new DeleteBucketCommand({ Bucket: "second" }));
    expect(await refusalOf(remove())).toBe("BucketNotEmpty");
    await test.s3.send(new DeleteObjectCommand({ Bucket: "second", Key: "x" }));
    await remove();
    const find = () => test.s3.send(new HeadBucketCommand({ Bucket: "second" }));
    expect(await refusalOf(find())).toBe("NotFound");
    expect(await refusalOf(test.s3.send(new ListObjectsV2Command({ Bucket: "second" })))).toBe(
      "NoSuchBucket",
    );
  });
});

describe("what is not implemented", () => {
  it.each([
    ["an ACL", { ACL: "public-read" }],
    ["a key of the customer's", { SSECustomerAlgorithm: "AES256" }],
    ["tags", { Tagging: "a=b" }],
    ["a storage class", { StorageClass: "GLACIER" }],
    ["an object lock", { ObjectLockMode: "GOVERNANCE" }],
  ] as const)("is refused and writes nothing: %s", async (_, more) => {
    expect(await refusalOf(put("refused/object", "x", more))).toBe("NotImplemented");
    expect(await refusalOf(get("refused/object"))).toBe("NoSuchKey");
  });

  it("is refused for reads and sub-resources", async () => {
    await put("refused/there", "x");
    expect(await refusalOf(get("refused/there", { PartNumber: 1 }))).toBe("NotImplemented");
    expect(await refusalOf(get("refused/there", { VersionId: "v" }))).toBe("NotImplemented");
    expect(
      await refusalOf(test.s3.send(new GetObjectTaggingCommand({ Bucket, Key: "refused/there" }))),
    ).toBe("NotImplemented");
  });

  it("is named as AWS names it, also where a bucket or an object has something besides", async () => {
    const versioning = test.s3.send(new GetBucketVersioningCommand({ Bucket }));
    await expect(versioning).rejects.toThrow("does not implement S3 GetBucketVersioning");
    const tagging = test.s3.send(new DeleteObjectTaggingCommand({ Bucket, Key: "refused/there" }));
    await expect(tagging).rejects.toThrow("does not implement S3 DeleteObjectTagging");
    const later = test.s3.send(new ListObjectVersionsCommand({ Bucket, KeyMarker: "x" }));
    await expect(later).rejects.toThrow("does not implement S3 ListObjectVersions");
  });
});
