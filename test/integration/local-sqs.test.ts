import {
  GetBucketNotificationConfigurationCommand,
  PutBucketNotificationConfigurationCommand,
} from "@aws-sdk/client-s3";
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  type Message,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
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

const { put } = makeBucketCalls(() => test.s3);
let queues = 0;

/** A queue of its own for each test. */
async function makeQueue(Attributes: Record<string, string> = {}): Promise<string> {
  queues += 1;
  const command = new CreateQueueCommand({ QueueName: `queue-${queues}`, Attributes });
  return (await test.sqs.send(command)).QueueUrl ?? "";
}
const arnOf = (url: string): string =>
  `arn:aws:sqs:us-east-1:000000000000:${url.split("/").at(-1)}`;
const send = (QueueUrl: string, MessageBody: string, DelaySeconds?: number) =>
  test.sqs.send(
    new SendMessageCommand({ QueueUrl, MessageBody, ...(DelaySeconds && { DelaySeconds }) }),
  );
const receive = async (
  QueueUrl: string,
  more: Partial<ReceiveMessageCommandInput> = {},
  abortSignal?: AbortSignal,
): Promise<readonly Message[]> => {
  const command = new ReceiveMessageCommand({ QueueUrl, ...more });
  return (await test.sqs.send(command, { ...(abortSignal && { abortSignal }) })).Messages ?? [];
};
const attributesOf = async (QueueUrl: string): Promise<Record<string, string>> =>
  (await test.sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] })))
    .Attributes ?? {};

describe("messages", () => {
  it("are received once while they are invisible, and again after", async () => {
    const url = await makeQueue();
    await send(url, "héllo");
    const [first] = await receive(url, { VisibilityTimeout: 1, AttributeNames: ["All"] });
    expect(first?.Body).toBe("héllo");
    expect(first?.Attributes?.ApproximateReceiveCount).toBe("1");
    expect(await receive(url)).toEqual([]);
    const [again] = await receive(url, {
      WaitTimeSeconds: 5,
      MessageSystemAttributeNames: ["ApproximateReceiveCount"],
    });
    expect(again?.MessageId).toBe(first?.MessageId);
    expect(again?.Attributes).toEqual({ ApproximateReceiveCount: "2" });
  });

  it("wake a long poll at once", async () => {
    const url = await makeQueue();
    const waiting = receive(url, { WaitTimeSeconds: 20 });
    await send(url, "now");
    expect((await waiting).map(({ Body }) => Body)).toEqual(["now"]);
  });

  it("stay in the queue when the caller of a long poll has hung up", async () => {
    const url = await makeQueue();
    const gone = new AbortController();
    const waiting = receive(url, { WaitTimeSeconds: 20 }, gone.signal);
    const outcome = refusalOf(waiting);
    // The one that hangs up has begun to wait when a later one is answered.
    expect(await receive(url)).toEqual([]);
    gone.abort();
    expect(await outcome).toBe("AbortError");
    expect(await receive(url, { WaitTimeSeconds: 1 })).toEqual([]);
    await send(url, "kept");
    expect((await receive(url)).map(({ Body }) => Body)).toEqual(["kept"]);
  });

  it("are deleted by the handle of their last receive alone", async () => {
    const url = await makeQueue();
    await send(url, "x");
    const [first] = await receive(url, { VisibilityTimeout: 0 });
    const [second] = await receive(url, { VisibilityTimeout: 0 });
    const remove = (ReceiptHandle: string | undefined) =>
      test.sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle }));
    await remove(first?.ReceiptHandle);
    expect(await receive(url, { VisibilityTimeout: 30 })).toHaveLength(1);
    await remove(second?.ReceiptHandle);
    expect((await attributesOf(url)).ApproximateNumberOfMessagesNotVisible).toBe("1");
    expect(await refusalOf(remove("nonsense"))).toBe("ReceiptHandleIsInvalid");
  });

  it("come back at once when their visibility is set to zero", async () => {
    const url = await makeQueue();
    await send(url, "x");
    const [message] = await receive(url);
    const change = (VisibilityTimeout: number) =>
      test.sqs.send(
        new ChangeMessageVisibilityCommand({
          QueueUrl: url,
          ReceiptHandle: message?.ReceiptHandle,
          VisibilityTimeout,
        }),
      );
    await change(0);
    expect(await receive(url)).toHaveLength(1);
    expect(await refusalOf(change(10))).toBe("MessageNotInflight");
  });

  it("that are delayed are seen later", async () => {
    const url = await makeQueue();
    await send(url, "later", 1);
    expect(await receive(url)).toEqual([]);
    expect((await attributesOf(url)).ApproximateNumberOfMessagesDelayed).toBe("1");
    expect(await receive(url, { WaitTimeSeconds: 5 })).toHaveLength(1);
  });

  it("go to the dead-letter queue after maxReceiveCount receives", async () => {
    const dead = await makeQueue();
    const url = await makeQueue({
      VisibilityTimeout: "0",
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arnOf(dead), maxReceiveCount: 2 }),
    });
    await send(url, "poison");
    expect(await receive(url)).toHaveLength(1);
    expect(await receive(url)).toHaveLength(1);
    expect(await receive(url)).toHaveLength(0);
    expect((await receive(dead)).map(({ Body }) => Body)).toEqual(["poison"]);
    expect((await attributesOf(url)).ApproximateNumberOfMessages).toBe("0");
  });

  it("come in batches, each entry with its own fate", async () => {
    const url = await makeQueue();
    const sent = await test.sqs.send(
      new SendMessageBatchCommand({
        QueueUrl: url,
        Entries: ["a", "b", "c"].map((Id) => ({ Id, MessageBody: `body ${Id}` })),
      }),
    );
    expect(sent.Successful?.map(({ Id }) => Id)).toEqual(["a", "b", "c"]);
    const messages = await receive(url, { MaxNumberOfMessages: 10 });
    expect(messages.map(({ Body }) => Body)).toEqual(["body a", "body b", "body c"]);
    const removed = await test.sqs.send(
      new DeleteMessageBatchCommand({
        QueueUrl: url,
        Entries: [
          { Id: "good", ReceiptHandle: messages[0]?.ReceiptHandle },
          { Id: "bad", ReceiptHandle: "nonsense" },
        ],
      }),
    );
    expect(removed.Successful?.map(({ Id }) => Id)).toEqual(["good"]);
    expect(removed.Failed?.map(({ Id, Code }) => [Id, Code])).toEqual([
      ["bad", "ReceiptHandleIsInvalid"],
    ]);
    const empty = test.sqs.send(new SendMessageBatchCommand({ QueueUrl: url, Entries: [] }));
    expect(await refusalOf(empty)).toBe("EmptyBatchRequest");
  });

  it("are gone after a purge", async () => {
    const url = await makeQueue();
    await send(url, "x");
    await test.sqs.send(new PurgeQueueCommand({ QueueUrl: url }));
    expect(await receive(url)).toEqual([]);
  });
});

describe("queues", () => {
  it("are found by name, listed, and told from others of other attributes", async () => {
    const url = await makeQueue({ VisibilityTimeout: "7" });
    const name = url.split("/").at(-1) ?? "";
    const find = (QueueName: string) => test.sqs.send(new GetQueueUrlCommand({ QueueName }));
    expect((await find(name)).QueueUrl).toBe(url);
    expect(await refusalOf(find("none"))).toBe("QueueDoesNotExist");
    const { QueueUrls } = await test.sqs.send(new ListQueuesCommand({ QueueNamePrefix: name }));
    expect(QueueUrls).toEqual([url]);
    const create = (VisibilityTimeout: string) =>
      test.sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: { VisibilityTimeout } }));
    expect((await create("7")).QueueUrl).toBe(url);
    expect(await refusalOf(create("8"))).toBe("QueueNameExists");
  });

  it("take new attributes within their limits", async () => {
    const QueueUrl = await makeQueue();
    const set = (Attributes: Record<string, string>) =>
      test.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
    await set({ VisibilityTimeout: "12" });
    const attributes = await attributesOf(QueueUrl);
    expect(attributes.VisibilityTimeout).toBe("12");
    expect(attributes.QueueArn).toBe(arnOf(QueueUrl));
    expect(await refusalOf(set({ VisibilityTimeout: "43201" }))).toBe("InvalidAttributeValue");
    expect(await refusalOf(set({ FifoQueue: "true" }))).toBe("NotImplemented");
  });

  it("refuse what is not implemented, and what is too large", async () => {
    const QueueUrl = await makeQueue();
    const ofGroup = { QueueUrl, MessageBody: "x", MessageGroupId: "a" };
    expect(await refusalOf(test.sqs.send(new SendMessageCommand(ofGroup)))).toBe("NotImplemented");
    expect(await refusalOf(send(QueueUrl, "x".repeat((1 << 20) + 1)))).toBe(
      "InvalidParameterValue",
    );
    expect(await receive(QueueUrl)).toEqual([]);
  });
});

describe("bucket notifications", () => {
  it("tell the queue of the cloud about drops and nothing else", async () => {
    await put("runs/not-told", "x");
    const { ETag } = await put("drops/train/a b+ü.tar.gz", "12345");
    const [message] = await receive(test.cloud.queueUrl, { WaitTimeSeconds: 5 });
    const { Records } = JSON.parse(message?.Body ?? "{}");
    expect(Records).toHaveLength(1);
    expect(Records[0]).toMatchObject({
      eventVersion: "2.1",
      eventSource: "aws:s3",
      eventName: "ObjectCreated:Put",
      s3: {
        bucket: { name: BUCKET },
        object: {
          key: "drops/train/a+b%2B%C3%BC.tar.gz",
          size: 5,
          eTag: ETag?.replaceAll('"', ""),
          sequencer: expect.stringMatching(/^[0-9A-F]{16}$/),
        },
      },
    });
    expect(await receive(test.cloud.queueUrl)).toEqual([]);
  });

  it("are set by prefix and suffix, with a test event, and read back", async () => {
    const url = await makeQueue();
    const before = await test.s3.send(
      new GetBucketNotificationConfigurationCommand({ Bucket: BUCKET }),
    );
    const set = (QueueArn: string, prefix: string) =>
      test.s3.send(
        new PutBucketNotificationConfigurationCommand({
          Bucket: BUCKET,
          NotificationConfiguration: {
            QueueConfigurations: [
              ...(before.QueueConfigurations ?? []),
              {
                Id: "extra",
                QueueArn,
                Events: ["s3:ObjectCreated:*"],
                Filter: {
                  Key: {
                    FilterRules: [
                      { Name: "prefix", Value: prefix },
                      { Name: "suffix", Value: ".json" },
                    ],
                  },
                },
              },
            ],
          },
        }),
      );
    expect(await refusalOf(set(arnOf("x/none"), "extra/"))).toBe("InvalidArgument");
    expect(await refusalOf(set(arnOf(url), "drops/train/"))).toBe("InvalidArgument");

    await set(arnOf(url), "extra/");

    const [testEvent] = await receive(url);
    expect(JSON.parse(testEvent?.Body ?? "{}")).toMatchObject({
      Event: "s3:TestEvent",
      Bucket: BUCKET,
    });
    await put("extra/a.txt", "x");
    await put("extra/a.json", "x");
    const [told] = await receive(url);
    expect(JSON.parse(told?.Body ?? "{}").Records[0].s3.object.key).toBe("extra/a.json");
    const after = await test.s3.send(
      new GetBucketNotificationConfigurationCommand({ Bucket: BUCKET }),
    );
    expect(after.QueueConfigurations?.map(({ Id }) => Id)).toEqual(["drops", "inbox", "extra"]);
  });
});
