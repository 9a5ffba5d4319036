/** What the bucket tells its queue, write by write. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  type Event,
  PutBucketNotificationConfigurationCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { DeleteMessageCommand, ReceiveMessageCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { BUCKET, makeBucketCalls, startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let test: TestCloud;
beforeAll(async () => {
  test = await startTestCloud();
});
afterAll(() => test.dispose());

const { put } = makeBucketCalls(() => test.s3);

type Record = {
  readonly eventName: string;
  readonly s3: {
    readonly object: { readonly key: string; readonly size?: number; readonly sequencer: string };
  };
};

/** All that the queue holds now, each message deleted. */
async function drain(): Promise<readonly Record[]> {
  const QueueUrl = test.cloud.queueUrl;
  const records: Record[] = [];
  for (;;) {
    const receive = new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 });
    const { Messages = [] } = await test.sqs.send(receive);
    if (Messages.length === 0) return records;
    for (const { Body = "{}", ReceiptHandle } of Messages) {
      records.push(...(JSON.parse(Body).Records ?? []));
      await test.sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    }
  }
}

const setRule = (Events: Event[], rules: { prefix: string; suffix: string }) =>
  test.s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket: BUCKET,
      NotificationConfiguration: {
        QueueConfigurations: [
          {
            QueueArn: "arn:aws:sqs:us-east-1:000000000000:errand-events",
            Events,
            Filter: {
              Key: {
                FilterRules: [
                  { Name: "prefix", Value: rules.prefix },
                  { Name: "suffix", Value: rules.suffix },
                ],
              },
            },
          },
        ],
      },
    }),
  );

/** Every way to write and to remove `key`, and some that must not be told. */
async function doEverything(key: string): Promise<void> {
  const at = { Bucket: BUCKET, Key: key };
  await put(key, "12345");
  await test.s3.send(new CopyObjectCommand({ ...at, CopySource: `${BUCKET}/source` }));
  const { UploadId } = await test.s3.send(new CreateMultipartUploadCommand(at));
  const part = { ...at, UploadId, PartNumber: 1 };
  const { ETag } = await test.s3.send(new UploadPartCommand({ ...part, Body: "part" }));
  const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] };
  await test.s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }));
  await test.s3.send(new DeleteObjectCommand(at));
  await put(key, "again");
  const Delete = { Objects: [{ Key: key }] };
  await test.s3.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete }));
  // Neither a write that is refused nor an upload that is given up is an event.
  await expect(put(key, "x", { IfMatch: '"none"' })).rejects.toThrow();
  const other = await test.s3.send(new CreateMultipartUploadCommand(at));
  await test.s3.send(new AbortMultipartUploadCommand({ ...at, UploadId: other.UploadId }));
}

beforeEach(async () => {
  await put("source", "copied");
});

it("each kind of write and removal is told once, in order by its sequencer", async () => {
  await setRule(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], { prefix: "told/", suffix: ".txt" });
  await drain();
  await doEverything("told/a b.txt");
  const records = await drain();
  expect(records.map(({ eventName, s3 }) => [eventName, s3.object.size])).toEqual([
    ["ObjectCreated:Put", 5],
    ["ObjectCreated:Copy", 6],
    ["ObjectCreated:CompleteMultipartUpload", 4],
    ["ObjectRemoved:Delete", undefined],
    ["ObjectCreated:Put", 5],
    ["ObjectRemoved:Delete", undefined],
  ]);
  expect(new Set(records.map(({ s3 }) => s3.object.key))).toEqual(new Set(["told/a+b.txt"]));
  const sequencers = records.map(({ s3 }) => s3.object.sequencer);
  expect(sequencers).toEqual(sequencers.toSorted());
  expect(new Set(sequencers).size).toBe(6);
});

it.each<[Event, readonly string[]]>([
  ["s3:ObjectCreated:Put", ["ObjectCreated:Put", "ObjectCreated:Put"]],
  ["s3:ObjectCreated:Post", []],
  ["s3:ObjectCreated:Copy", ["ObjectCreated:Copy"]],
  ["s3:ObjectCreated:CompleteMultipartUpload", ["ObjectCreated:CompleteMultipartUpload"]],
  ["s3:ObjectRemoved:Delete", ["ObjectRemoved:Delete", "ObjectRemoved:Delete"]],
])("a rule for %s alone hears nothing else", async (event, expected) => {
  await setRule([event], { prefix: "one/", suffix: "" });
  await drain();
  await doEverything("one/a");
  expect((await drain()).map(({ eventName }) => eventName)).toEqual(expected);
});

it("neither another prefix nor another suffix is told", async () => {
  await setRule(["s3:ObjectCreated:*"], { prefix: "in/", suffix: ".json" });
  await drain();
  await put("in/a.txt", "x");
  await put("out/a.json", "x");
  await put("in/a.json", "x");
  expect((await drain()).map(({ s3 }) => s3.object.key)).toEqual(["in/a.json"]);
});
