/** Links that carry their signature, and bodies whose checksum comes behind them, over the wire. */
import { Readable } from "node:stream";
import {
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
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

const { put, get, read } = makeBucketCalls(() => test.s3);

function makeClient(more: S3ClientConfig): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = test.cloud;
  const credentials = { accessKeyId, secretAccessKey };
  const common = { endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 };
  return new S3Client({ ...common, ...more });
}
const at = (Key: string) => ({ Bucket: BUCKET, Key });

const codeIn = async (response: Response): Promise<string | undefined> =>
  /<Code>(\w+)<\/Code>/.exec(await response.text())?.[1];

describe("a presigned link", () => {
  it("reads its object without keys, and says what its maker wanted said of it", async () => {
    await put("presigned/a b", "text", { ContentType: "text/plain" });
    const command = new GetObjectCommand({
      ...at("presigned/a b"),
      ResponseContentDisposition: 'attachment; filename="a.csv"',
      ResponseContentType: "text/csv",
    });
    const response = await fetch(await getSignedUrl(test.s3, command, { expiresIn: 60 }));
    expect(await response.text()).toBe("text");
    expect(response.headers.get("content-type")).toBe("text/csv");
    expect(response.headers.get("content-disposition")).toBe('attachment; filename="a.csv"');
    const plain = await getSignedUrl(test.s3, new GetObjectCommand(at("presigned/a b")));
    expect((await fetch(plain)).headers.get("content-type")).toBe("text/plain");
  });

  it("writes its object, unless it was signed with another body's checksum", async () => {
    const client = makeClient({ requestChecksumCalculation: "WHEN_REQUIRED" });
    const put = async (signer: S3Client) => {
      const url = await getSignedUrl(signer, new PutObjectCommand(at("presigned/put")));
      return fetch(url, { method: "PUT", body: "written" });
    };
    // By default the SDK signs the checksum of no body at all, which AWS refuses, too.
    const refused = await put(test.s3);
    expect([refused.status, await codeIn(refused)]).toEqual([400, "BadDigest"]);
    expect(await refusalOf(get("presigned/put"))).toBe("NoSuchKey");
    expect((await put(client)).status).toBe(200);
    expect((await read("presigned/put")).toString()).toBe("written");
    client.destroy();
  });

  it("is good for its own method and object alone", async () => {
    await put("presigned/one", "text");
    await put("presigned/two", "text");
    const url = await getSignedUrl(test.s3, new GetObjectCommand(at("presigned/one")));
    const other = await fetch(url.replace("presigned/one", "presigned/two"));
    expect([other.status, await codeIn(other)]).toEqual([403, "SignatureDoesNotMatch"]);
    const removal = await fetch(url, { method: "DELETE" });
    expect([removal.status, await codeIn(removal)]).toEqual([403, "SignatureDoesNotMatch"]);
  });

  it("ends when it was said to", async () => {
    await put("presigned/late", "text");
    const sign = (agoSeconds: number) =>
      getSignedUrl(test.s3, new GetObjectCommand(at("presigned/late")), {
        expiresIn: 60,
        signingDate: new Date(Date.now() - agoSeconds * 1000),
      });
    expect((await fetch(await sign(30))).status).toBe(200);
    const late = await fetch(await sign(62));
    expect([late.status, await codeIn(late)]).toEqual([403, "AccessDenied"]);
  });
});

describe("a checksum behind a streamed body", () => {
  const stream = () => Readable.from([Buffer.alloc(100_000, 1), Buffer.alloc(100_000, 2)]);
  const ContentLength = 200_000;

  it.each(["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"] as const)(
    "is verified and kept: %s",
    async (ChecksumAlgorithm) => {
      const key = `trailing/${ChecksumAlgorithm}`;
      await put(key, stream(), { ContentLength, ChecksumAlgorithm });
      const answer = await get(key, { ChecksumMode: "ENABLED" });
      expect(answer[`Checksum${ChecksumAlgorithm}`]).toBeTruthy();
      // The SDK compares what it reads with that checksum, and would reject.
      expect((await answer.Body?.transformToByteArray())?.length).toBe(ContentLength);
    },
  );

  it("is refused when it is another body's, and nothing is written", async () => {
    /** A hash that is wrong, in a client that is right otherwise. */
    class Wrong {
      update(): void {}
      reset(): void {}
      async digest(): Promise<Uint8Array> {
        return new Uint8Array(20);
      }
    }
    const client = makeClient({ sha1: Wrong });
    const command = new PutObjectCommand({
      ...at("trailing/wrong"),
      Body: stream(),
      ContentLength,
      ChecksumAlgorithm: "SHA1",
    });
    expect(await refusalOf(client.send(command))).toBe("BadDigest");
    client.destroy();
    expect(await refusalOf(get("trailing/wrong"))).toBe("NoSuchKey");
  });
});
