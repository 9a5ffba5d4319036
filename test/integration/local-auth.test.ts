import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import {
  GetObjectCommand,
  HeadBucketCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCredentials } from "../../src/local/credentials.ts";
import { BUCKET, refusalOf, startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let test: TestCloud;
beforeAll(async () => {
  test = await startTestCloud();
});
afterAll(() => test.dispose());

type Keys = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
};

/** What HeadBucket, or the call given, is refused with by a client with these keys. */
const refusalWith = async (
  credentials: Keys,
  options: { region?: string; systemClockOffset?: number } = {},
): Promise<string> => {
  const client = new S3Client({
    endpoint: test.cloud.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials,
    ...options,
  });
  return refusalOf(client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "absent" })));
};
const owner = (): Keys => ({
  accessKeyId: test.cloud.accessKeyId,
  secretAccessKey: test.cloud.secretAccessKey,
});
const makeKeys = async (now: number): Promise<Keys> => {
  const secret = Buffer.from(await readFile(join(test.directory, "secret"), "utf8"), "hex");
  return makeCredentials(secret).issueForInstance("i-0123456789abcdef0", now);
};

/** The status and body of a request made by hand. */
const ask = (
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const url = new URL(path, test.cloud.endpoint);
    const asked = request(url, { headers }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.on("error", reject);
    asked.end();
  });

describe("keys", () => {
  it("of the owner are good", async () => {
    expect(await refusalWith(owner())).toBe("NoSuchKey");
  });

  it("that are unknown are refused", async () => {
    const keys = { ...owner(), accessKeyId: "AKIAAAAAAAAAAAAAAAAA" };
    expect(await refusalWith(keys)).toBe("InvalidAccessKeyId");
  });

  it("with a wrong secret are refused", async () => {
    const keys = { ...owner(), secretAccessKey: "wrong" };
    expect(await refusalWith(keys)).toBe("SignatureDoesNotMatch");
  });

  it("of an instance are good with their own token only", async () => {
    const now = Date.now();
    const keys = await makeKeys(now);
    const { sessionToken = "", ...bare } = keys;
    expect(await refusalWith(keys)).toBe("NoSuchKey");
    expect(await refusalWith(bare)).toBe("InvalidAccessKeyId");
    expect(await refusalWith({ ...bare, sessionToken: `${sessionToken}x` })).toBe("InvalidToken");
    expect(await refusalWith({ ...owner(), sessionToken })).toBe("InvalidToken");
  });

  it("of an instance expire", async () => {
    expect(await refusalWith(await makeKeys(Date.now() - 8 * 3_600_000))).toBe("ExpiredToken");
  });

  it("of an instance do not open SQS", async () => {
    const sqs = new SQSClient({
      endpoint: test.cloud.endpoint,
      region: "us-east-1",
      maxAttempts: 1,
      credentials: await makeKeys(Date.now()),
    });
    expect(await refusalOf(sqs.send(new ListQueuesCommand({})))).toBe("AccessDenied");
  });

  it("for another region are refused", async () => {
    expect(await refusalWith(owner(), { region: "eu-west-1" })).toBe(
      "AuthorizationHeaderMalformed",
    );
  });

  it.each([20 * 60_000, -20 * 60_000])("with a clock %d ms off are refused", async (offset) => {
    expect(await refusalWith(owner(), { systemClockOffset: offset })).toBe("RequestTimeTooSkewed");
  });
});

describe("requests", () => {
  it("without a signature are refused", async () => {
    const { status, body } = await ask(`/${BUCKET}/key`);
    expect(status).toBe(403);
    expect(body).toContain("<Code>AccessDenied</Code>");
  });

  it("from a web page are refused, even for the health", async () => {
    expect((await ask("/_local/health")).status).toBe(200);
    expect((await ask("/_local/health", { origin: "http://example.com" })).status).toBe(403);
  });

  it.each(["example.com", "127.0.0.1", "127.0.0.1:1", "169.254.169.254", "evil.localhost.com"])(
    "for the host %s are refused",
    async (host) => {
      expect((await ask("/_local/health", { host })).status).toBe(403);
    },
  );

  it("are read from the name of a bucket's host, too", async () => {
    const { port } = test.cloud;
    const { status, body } = await ask("/key", { host: `${BUCKET}.localhost:${port}` });
    expect(status).toBe(403);
    expect(body).toContain("not signed");
  });

  it("whose signed bytes were changed are refused and written nowhere", async () => {
    const tamper = new S3Client({
      endpoint: test.cloud.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: owner(),
      requestChecksumCalculation: "WHEN_REQUIRED",
    });
    tamper.middlewareStack.add(
      (next) => (args) => {
        Object.assign(args.request as object, { body: "changed!" });
        return next(args);
      },
      { step: "finalizeRequest", priority: "low", name: "tamper" },
    );
    const put = new PutObjectCommand({ Bucket: BUCKET, Key: "tampered", Body: "original" });
    expect(await refusalOf(tamper.send(put))).toBe("XAmzContentSHA256Mismatch");
    const get = test.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: "tampered" }));
    expect(await refusalOf(get)).toBe("NoSuchKey");
  });

  it("leave their connection usable when a large body was refused", async () => {
    const body = Buffer.alloc(8 << 20);
    for (let time = 0; time < 3; time += 1) {
      const put = new PutObjectCommand({ Bucket: "no-such-bucket", Key: "x", Body: body });
      expect(await refusalOf(test.s3.send(put))).toBe("NoSuchBucket");
    }
    await test.s3.send(new HeadBucketCommand({ Bucket: BUCKET }));
  });
});

describe("the port", () => {
  it("is open on 127.0.0.1 alone", async () => {
    const outcome = await new Promise<string>((resolve) => {
      const socket = connect({ host: "127.0.0.2", port: test.cloud.port }, () => resolve("open"));
      socket.once("error", () => resolve("refused"));
    });
    expect(outcome).toBe("refused");
  });
});
