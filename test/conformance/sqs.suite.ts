/** SQS as AWS documents it, and what S3 tells it, beyond what the Events promise. Through the SDK, call by call. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutBucketNotificationConfigurationCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  ListQueueTagsCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SendMessageBatchCommand,
  SendMessageCommand,
  type SQSClient,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import { expect } from "vitest";
import { type Backend, type Check, conformance } from "./backend.ts";
import { errorOf } from "./errors.ts";

export type SqsUnderTest = {
  readonly sqs: SQSClient;
  readonly s3: S3Client;
  /** Its notifications are changed, and nobody else's business. */
  readonly bucket: string;
};

type World = ReturnType<typeof makeCalls>;
type Open = () => Promise<World>;

/** `makeWorld` is called for each test; all may share one account. */
export function sqsConformance(backend: Backend, makeWorld: () => Promise<SqsUnderTest>): void {
  const open = async () => makeCalls(await makeWorld());
  conformance("SQS", backend, (test) => {
    describeMessages(open, test);
    describeBatches(open, test);
    describeQueues(open, test);
    describeNotifications(open, test);
    describeRest(open, test);
  });
}

function makeCalls({ sqs, s3, bucket: Bucket }: SqsUnderTest) {
  return {
    sqs,
    s3,
    Bucket,
    makeQueue: async (Attributes: Record<string, string> = {}) => {
      const command = new CreateQueueCommand({ QueueName: randomUUID(), Attributes });
      return (await sqs.send(command)).QueueUrl ?? "";
    },
    arnOf: async (QueueUrl: string) => {
      const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] });
      return (await sqs.send(command)).Attributes?.QueueArn ?? "";
    },
    send: (QueueUrl: string, MessageBody: string, more = {}) =>
      sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, ...more })),
    receive: async (QueueUrl: string, more: Partial<ReceiveMessageCommandInput> = {}) =>
      (await sqs.send(new ReceiveMessageCommand({ QueueUrl, ...more }))).Messages ?? [],
  };
}

function describeMessages(open: Open, test: Check): void {
  test("a long poll wakes when a message is sent", async () => {
    const { makeQueue, receive, send } = await open();
    const url = await makeQueue();
    const begun = Date.now();
    const poll = receive(url, { WaitTimeSeconds: 20 });
    await sleep(300);
    await send(url, "wake");
    expect((await poll).map(({ Body }) => Body)).toEqual(["wake"]);
    // Not at its end; how much sooner is no matter.
    expect(Date.now() - begun).toBeLessThan(15_000);
  });

  test("a received message is not seen until its visibility ends, and then with its count", async () => {
    const { makeQueue, receive, send } = await open();
    const url = await makeQueue();
    await send(url, "x");
    const MessageSystemAttributeNames = ["ApproximateReceiveCount" as const];
    expect(await receive(url, { VisibilityTimeout: 1 })).toHaveLength(1);
    expect(await receive(url)).toEqual([]);
    const [again] = await receive(url, { WaitTimeSeconds: 10, MessageSystemAttributeNames });
    expect(again?.Attributes?.ApproximateReceiveCount).toBe("2");
  });

  test("a visibility of 0 gives a message back at once", async () => {
    const { sqs, makeQueue, receive, send } = await open();
    const QueueUrl = await makeQueue();
    await send(QueueUrl, "x");
    const [{ ReceiptHandle } = {}] = await receive(QueueUrl);
    const back = { QueueUrl, ReceiptHandle, VisibilityTimeout: 0 };
    await sqs.send(new ChangeMessageVisibilityCommand(back));
    expect(await receive(QueueUrl)).toHaveLength(1);
  });

  test("a delayed message is seen later", async () => {
    const { makeQueue, receive, send } = await open();
    const url = await makeQueue();
    await send(url, "x", { DelaySeconds: 1 });
    expect(await receive(url)).toEqual([]);
    expect(await receive(url, { WaitTimeSeconds: 10 })).toHaveLength(1);
  });

  test("a message that was received too often goes to the dead letters", async () => {
    const { makeQueue, arnOf, receive, send } = await open();
    const dead = await makeQueue();
    const deadLetterTargetArn = await arnOf(dead);
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn, maxReceiveCount: 2 });
    const url = await makeQueue({ RedrivePolicy, VisibilityTimeout: "0" });
    await send(url, "x");
    expect(await receive(url)).toHaveLength(1);
    expect(await receive(url)).toHaveLength(1);
    expect(await receive(url)).toEqual([]);
    expect((await receive(dead)).map(({ Body }) => Body)).toEqual(["x"]);
  });

  test("message attributes come back to whoever asks for them, with AWS's MD5", async () => {
    const { makeQueue, receive, send } = await open();
    const url = await makeQueue();
    const MessageAttributes = {
      "trace.id": { DataType: "String", StringValue: "ä-1" },
      raw: { DataType: "Binary", BinaryValue: Uint8Array.from([0, 255, 7]) },
    };
    const sent = await send(url, "x", { MessageAttributes });
    const [message] = await receive(url, { MessageAttributeNames: ["trace.*", "raw"] });
    expect(message?.MessageAttributes).toEqual(MessageAttributes);
    expect(message?.MD5OfMessageAttributes).toBe(sent.MD5OfMessageAttributes);
  });
}

function describeBatches(open: Open, test: Check): void {
  test("a batch succeeds or fails entry by entry", async () => {
    const { sqs, makeQueue, receive } = await open();
    const QueueUrl = await makeQueue();
    const Entries = ["a", "b"].map((Id) => ({ Id, MessageBody: Id }));
    await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
    const messages = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
    const handles = [...messages.map(({ ReceiptHandle = "" }) => ReceiptHandle), "nonsense"];
    const removal = handles.map((ReceiptHandle, index) => ({ Id: `${index}`, ReceiptHandle }));
    const command = new DeleteMessageBatchCommand({ QueueUrl, Entries: removal });
    const { Successful, Failed } = await sqs.send(command);
    expect(Successful?.map(({ Id }) => Id)).toEqual(["0", "1"]);
    expect(Failed?.map(({ Code }) => Code)).toEqual(["ReceiptHandleIsInvalid"]);
  });

  test("a batch of none, of more than ten, or with one Id twice is refused", async () => {
    const { sqs, makeQueue } = await open();
    const QueueUrl = await makeQueue();
    const send = (ids: readonly string[]) => {
      const Entries = ids.map((Id) => ({ Id, MessageBody: "x" }));
      return errorOf(sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries })));
    };
    expect(await send([])).toBe("400 EmptyBatchRequest");
    expect(await send("abcdefghijk".split(""))).toBe("400 TooManyEntriesInBatchRequest");
    expect(await send(["a", "a"])).toBe("400 BatchEntryIdsNotDistinct");
  });
}

function describeQueues(open: Open, test: Check): void {
  test("a queue of that name with other attributes is QueueNameExists", async () => {
    const { sqs } = await open();
    const QueueName = randomUUID();
    const create = (VisibilityTimeout: string) =>
      sqs.send(new CreateQueueCommand({ QueueName, Attributes: { VisibilityTimeout } }));
    const { QueueUrl } = await create("7");
    expect((await create("7")).QueueUrl).toBe(QueueUrl);
    expect(await errorOf(create("8"))).toMatch(/^400 (QueueNameExists|QueueAlreadyExists)$/);
  });

  test("PurgeQueue empties a queue, and DeleteQueue leaves none", async () => {
    const { sqs, makeQueue, receive, send } = await open();
    const QueueUrl = await makeQueue();
    await send(QueueUrl, "x");
    await sqs.send(new PurgeQueueCommand({ QueueUrl }));
    expect(await receive(QueueUrl)).toEqual([]);
    await sqs.send(new DeleteQueueCommand({ QueueUrl }));
    expect(await errorOf(receive(QueueUrl))).toBe("400 QueueDoesNotExist");
  });

  test("a visibility of more than twelve hours is refused", async () => {
    const { makeQueue } = await open();
    expect(await errorOf(makeQueue({ VisibilityTimeout: "43201" }))).toBe(
      "400 InvalidAttributeValue",
    );
  });
}

type EventRecord = {
  readonly eventName: string;
  readonly s3: { readonly object: { readonly key: string; readonly sequencer?: string } };
};

/** What Errand does without. */
function describeRest(open: Open, test: Check): void {
  test("a FIFO queue keeps the order of a group", async () => {
    const { sqs, send, receive } = await open();
    const QueueName = `${randomUUID()}.fifo`;
    const Attributes = { FifoQueue: "true", ContentBasedDeduplication: "true" };
    const { QueueUrl = "" } = await sqs.send(new CreateQueueCommand({ QueueName, Attributes }));
    for (const body of ["a", "b"]) await send(QueueUrl, body, { MessageGroupId: "g" });
    const messages = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
    expect(messages.map(({ Body }) => Body)).toEqual(["a", "b"]);
  });

  test("a queue takes tags and gives them back", async () => {
    const { sqs, makeQueue } = await open();
    const QueueUrl = await makeQueue();
    await sqs.send(new TagQueueCommand({ QueueUrl, Tags: { a: "b" } }));
    expect((await sqs.send(new ListQueueTagsCommand({ QueueUrl }))).Tags).toEqual({ a: "b" });
  });
}

function describeNotifications(open: Open, test: Check): void {
  /** A queue that hears of a prefix and a suffix, and what it has heard, messages deleted. */
  async function listen(
    world: World,
    { prefix, suffix = "" }: { prefix: string; suffix?: string },
  ) {
    const { s3, sqs, Bucket, receive } = world;
    const QueueUrl = await world.makeQueue();
    const rules = [
      { Name: "prefix" as const, Value: prefix },
      { Name: "suffix" as const, Value: suffix },
    ].filter(({ Value }) => Value !== "");
    const rule = {
      QueueArn: await world.arnOf(QueueUrl),
      Events: ["s3:ObjectCreated:*" as const, "s3:ObjectRemoved:*" as const],
      Filter: { Key: { FilterRules: rules } },
    };
    const NotificationConfiguration = { QueueConfigurations: [rule] };
    await s3.send(
      new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }),
    );
    const drain = async () => {
      const bodies: { Event?: string; Records?: EventRecord[] }[] = [];
      for (;;) {
        const messages = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
        if (messages.length === 0) return bodies;
        for (const { Body = "{}", ReceiptHandle } of messages) {
          bodies.push(JSON.parse(Body));
          await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
        }
      }
    };
    const records = async () => (await drain()).flatMap(({ Records = [] }) => Records);
    return { drain, records };
  }

  test("setting notifications sends a test event", async () => {
    const { drain } = await listen(await open(), { prefix: "told/" });
    expect((await drain()).map(({ Event }) => Event)).toEqual(["s3:TestEvent"]);
  });

  test("only keys of the prefix and the suffix are told", async () => {
    const world = await open();
    const { s3, Bucket } = world;
    const { records } = await listen(world, { prefix: "told/", suffix: ".json" });
    for (const Key of ["told/a.txt", "other/a.json", "told/a.json"]) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
    }
    const told = (await records()).map(({ s3: { object } }) => decodeURIComponent(object.key));
    expect(told).toEqual(["told/a.json"]);
  });

  test("a key comes with its slashes plain, a space as + and the rest percent-encoded", async () => {
    const world = await open();
    const { records } = await listen(world, { prefix: "told/" });
    const Key = "told/a b+ü.txt";
    await world.s3.send(new PutObjectCommand({ Bucket: world.Bucket, Key, Body: "x" }));
    const [record] = await records();
    expect(record?.s3.object.key).toBe("told/a+b%2B%C3%BC.txt");
  });

  test("an upload in parts is told once, when it is complete", async () => {
    const world = await open();
    const { s3, Bucket } = world;
    const { records } = await listen(world, { prefix: "told/" });
    const at = { Bucket, Key: "told/parts" };
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(at));
    const part = { ...at, UploadId, PartNumber: 1 };
    const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body: "part" }));
    const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] };
    await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }));
    const names = (await records()).map(({ eventName }) => eventName);
    expect(names).toEqual(["ObjectCreated:CompleteMultipartUpload"]);
  });

  test("a removal is told, and sequencers order the events of a key", async () => {
    const world = await open();
    const { s3, Bucket } = world;
    const { records } = await listen(world, { prefix: "told/" });
    const at = { Bucket, Key: "told/removed" };
    await s3.send(new PutObjectCommand({ ...at, Body: "x" }));
    await s3.send(new DeleteObjectCommand(at));
    const told = await records();
    expect(told.map(({ eventName }) => eventName)).toEqual([
      "ObjectCreated:Put",
      "ObjectRemoved:Delete",
    ]);
    const sequencers = told.map(({ s3: { object } }) => object.sequencer);
    expect(sequencers.every((each) => /^[0-9A-F]{16,}$/.test(each ?? ""))).toBe(true);
    expect(sequencers).toEqual(sequencers.toSorted());
  });

  test("a queue that does not exist is refused as a target", async () => {
    const { s3, Bucket } = await open();
    const QueueArn = "arn:aws:sqs:us-east-1:000000000000:there-is-none";
    const rule = { QueueArn, Events: ["s3:ObjectCreated:*" as const] };
    const NotificationConfiguration = { QueueConfigurations: [rule] };
    const put = s3.send(
      new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }),
    );
    expect(await errorOf(put)).toBe("400 InvalidArgument");
  });
}
