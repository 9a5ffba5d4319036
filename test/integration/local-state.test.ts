import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListPartsCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { ReceiveMessageCommand, SendMessageCommand } from "@aws-sdk/client-sqs";
import { afterEach, describe, expect, it } from "vitest";
import {
  BUCKET,
  makeBucketCalls,
  makeClients,
  startTestCloud,
  type TestCloud,
} from "../support/test-cloud.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function start(directory: string, port = 0): Promise<TestCloud> {
  const test = await startTestCloud({ directory, port });
  cleanups.push(() => test.cloud.stop());
  return test;
}
async function makeDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "errand-state-"));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
const bucketOf = (test: TestCloud) => makeBucketCalls(() => test.s3);

describe("a restart", () => {
  it("keeps port, keys, objects, uploads and messages", async () => {
    const directory = await makeDirectory();
    const first = await start(directory);
    const big = randomBytes(300_000);
    await bucketOf(first).put("kept/small", "small", { Metadata: { a: "b" } });
    await bucketOf(first).put("kept/big", big);
    await bucketOf(first).put("kept/gone", "gone");
    await first.s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: "kept/gone" }));
    const upload = { Bucket: BUCKET, Key: "kept/parts" };
    const { UploadId } = await first.s3.send(new CreateMultipartUploadCommand(upload));
    const part = { ...upload, UploadId, PartNumber: 1, Body: "part" };
    await first.s3.send(new UploadPartCommand(part));
    const QueueUrl = first.cloud.queueUrl;
    await first.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "kept" }));
    await first.cloud.stop();

    const second = await start(directory);

    expect(second.cloud.endpoint).toBe(first.cloud.endpoint);
    expect(second.cloud.secretAccessKey).toBe(first.cloud.secretAccessKey);
    expect((await bucketOf(second).head("kept/small")).Metadata).toEqual({ a: "b" });
    expect((await bucketOf(second).read("kept/big")).equals(big)).toBe(true);
    await expect(bucketOf(second).head("kept/gone")).rejects.toThrow();
    const { Parts } = await second.s3.send(new ListPartsCommand({ ...upload, UploadId }));
    expect(Parts?.map(({ Size }) => Size)).toEqual([4]);
    const { Messages } = await second.sqs.send(new ReceiveMessageCommand({ QueueUrl }));
    expect(Messages?.map(({ Body }) => Body)).toEqual(["kept"]);
    // The two small ones, the big one and the part; the deleted one left nothing.
    expect(await readdir(join(directory, "s3", "data"))).toHaveLength(3);
  });

  it("removes data files that nothing names", async () => {
    const directory = await makeDirectory();
    await (await start(directory)).cloud.stop();
    await writeFile(join(directory, "s3", "data", "orphan"), "half a body");
    await start(directory);
    expect(await readdir(join(directory, "s3", "data"))).toEqual([]);
  });

  it("refuses a journal that is damaged in its middle", async () => {
    const directory = await makeDirectory();
    const test = await start(directory);
    await bucketOf(test).put("a", "1");
    await bucketOf(test).put("b", "2");
    await test.cloud.stop();
    const path = join(directory, "s3", "journal");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"key":"a"', '"key":"z"'));
    await expect(start(directory)).rejects.toThrow(/journal: line \d+ is damaged at byte \d+/);
  });
});

/** A cloud in a process of its own, with the way to end it. */
async function startHost(directory: string) {
  const support = join(import.meta.dirname, "../support");
  const words = [join(support, "run-typescript.mjs"), join(support, "local-cloud-host.ts")];
  const host = spawn(process.execPath, [...words, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(host, "exit");
  const kill = async (): Promise<void> => {
    host.kill("SIGKILL");
    await ended;
  };
  cleanups.push(kill);
  const [line] = await once(createInterface(host.stdout), "line");
  return { ...makeClients(JSON.parse(line)), kill };
}

describe("kill -9 in the middle of writes", () => {
  it("loses nothing that was acknowledged, and leaves nothing that is half there", async () => {
    const directory = await makeDirectory();
    /** By key, the number of the last write that was answered. */
    const acknowledged = new Map<string, number>();
    // Bodies on both sides of the border between one write and a stream.
    const bodies = [100, 5_000, 200_000].map((bytes) => randomBytes(bytes));
    let writes = 0;
    for (let round = 1; round <= 2; round += 1) {
      const { s3, kill } = await startHost(directory);
      const { put } = makeBucketCalls(() => s3);
      const writers = Array.from({ length: 10 }, async (_, writer) => {
        for (;;) {
          writes += 1;
          const write = writes;
          // Each key is one writer's, and is written again and again.
          const key = `killed/${writer}-${write % 7}`;
          const body = bodies[write % 3] ?? Buffer.alloc(0);
          await put(key, Buffer.concat([Buffer.from(`${write} `), body]));
          acknowledged.set(key, write);
          if (write > round * 300) void kill();
        }
      });
      const outcomes = await Promise.allSettled(writers);
      expect(outcomes.map(({ status }) => status)).toEqual(Array(10).fill("rejected"));
    }

    const test = await start(directory);

    expect(acknowledged.size).toBe(70);
    for (const [key, write] of acknowledged) {
      const body = await bucketOf(test).read(key);
      const { ETag } = await bucketOf(test).head(key);
      expect(ETag).toBe(`"${createHash("md5").update(body).digest("hex")}"`);
      // A later write that was cut off before its answer may have happened.
      expect(Number(body.toString("latin1").split(" ")[0])).toBeGreaterThanOrEqual(write);
    }
  });
});

describe("a stop", () => {
  it("hangs up on a long poll and on a body that is still coming", async () => {
    const test = await start(await makeDirectory());
    const QueueUrl = test.cloud.queueUrl;
    const poll = test.sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }));
    const endless = new Readable({ read() {} });
    endless.push("begun");
    const upload = bucketOf(test).put("endless", endless, { ContentLength: 1 << 20 });
    const outcomes = Promise.allSettled([poll, upload]);
    // Both have been taken up when one that came after them is answered.
    await bucketOf(test).put("after", "x");
    await test.cloud.stop();
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  });
});

describe("the directory", () => {
  it("is its owner's alone and tells how to reach the cloud while it runs", async () => {
    const directory = await makeDirectory();
    const test = await start(directory);
    const modeOf = async (name: string): Promise<string> =>
      ((await stat(join(directory, name))).mode & 0o777).toString(8);
    expect(await modeOf(".")).toBe("700");
    expect(await modeOf("secret")).toBe("600");
    expect(await modeOf("local.json")).toBe("600");
    const note = JSON.parse(await readFile(join(directory, "local.json"), "utf8"));
    expect(note).toMatchObject({
      endpoint: test.cloud.endpoint,
      region: "us-east-1",
      accessKeyId: test.cloud.accessKeyId,
      secretAccessKey: test.cloud.secretAccessKey,
      bucket: BUCKET,
      queueUrl: test.cloud.queueUrl,
      pid: process.pid,
    });
    await test.cloud.stop();
    expect(await readdir(directory)).not.toContain("local.json");
    expect(await readdir(directory)).not.toContain("lock");
  });

  it("is one process's at a time", async () => {
    const directory = await makeDirectory();
    await start(directory);
    await expect(start(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it("is taken over from a process whose pid another has now", async () => {
    const directory = await makeDirectory();
    const dead = { pid: process.pid, startedAt: "1", nonce: "x" };
    await writeFile(join(directory, "lock"), JSON.stringify(dead));
    const test = await start(directory);
    expect(test.cloud.bucket).toBe(BUCKET);
  });

  it("names the port that is taken", async () => {
    const { cloud } = await start(await makeDirectory());
    await expect(start(await makeDirectory(), cloud.port)).rejects.toThrow(
      `port ${cloud.port} is taken`,
    );
  });
});
