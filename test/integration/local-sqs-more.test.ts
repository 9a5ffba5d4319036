/** SQS beyond what the daemon needs: attributes of messages, batches of visibility, the deletion of queues. */
import {
  ChangeMessageVisibilityBatchCommand,
  CreateQueueCommand,
  DeleteQueueCommand,
  ListQueuesCommand,
  type MessageAttributeValue,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SendMessageBatchCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusalOf, startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let test: TestCloud;
beforeAll(async () => {
  test = await startTestCloud();
});
afterAll(() => test.dispose());

let queues = 0;

async function makeQueue(): Promise<string> {
  queues += 1;
  const command = new CreateQueueCommand({ QueueName: `more-${queues}` });
  return (await test.sqs.send(command)).QueueUrl ?? "";
}
const receive = async (QueueUrl: string, more: Partial<ReceiveMessageCommandInput> = {}) =>
  (await test.sqs.send(new ReceiveMessageCommand({ QueueUrl, ...more }))).Messages ?? [];

describe("message attributes", () => {
  const ATTRIBUTES: Record<string, MessageAttributeValue> = {
    "trace.id": { DataType: "String", StringValue: "ä-1" },
    "trace.depth": { DataType: "Number.int", StringValue: "3" },
    raw: { DataType: "Binary", BinaryValue: Uint8Array.from([0, 255, 7]) },
  };
  const send = (QueueUrl: string, MessageAttributes: Record<string, MessageAttributeValue>) =>
    test.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "x", MessageAttributes }));

  it("come back as they were sent, those that were asked for", async () => {
    const url = await makeQueue();
    const sent = await send(url, ATTRIBUTES);
    // Computed by hand, in another language, from AWS's description.
    expect(sent.MD5OfMessageAttributes).toBe("9f941ac00a48c221af8673bdb1bbfec5");
    const look = { VisibilityTimeout: 0 };
    const [plain] = await receive(url, look);
    expect(plain?.MessageAttributes).toBeUndefined();
    const [all] = await receive(url, { ...look, MessageAttributeNames: ["All"] });
    expect(all?.MessageAttributes).toEqual(ATTRIBUTES);
    expect(all?.MD5OfMessageAttributes).toBe(sent.MD5OfMessageAttributes);
    const [traced] = await receive(url, { ...look, MessageAttributeNames: ["trace.*"] });
    expect(Object.keys(traced?.MessageAttributes ?? {})).toEqual(["trace.id", "trace.depth"]);
    const [raw] = await receive(url, { ...look, MessageAttributeNames: ["raw", "none"] });
    expect(Object.keys(raw?.MessageAttributes ?? {})).toEqual(["raw"]);
  });

  it.each<[string, Record<string, MessageAttributeValue>]>([
    ["an empty value", { a: { DataType: "String", StringValue: "" } }],
    ["a value of another type", { a: { DataType: "Binary", StringValue: "x" } }],
    ["a type that there is not", { a: { DataType: "Boolean", StringValue: "x" } }],
    ["a number that is none", { a: { DataType: "Number", StringValue: "x" } }],
    ["a name of AWS's own", { "AWS.a": { DataType: "String", StringValue: "x" } }],
    ["a name that ends with a dot", { "a.": { DataType: "String", StringValue: "x" } }],
    [
      "eleven of them",
      Object.fromEntries(
        Array.from({ length: 11 }, (_, index) => [
          `a${index}`,
          { DataType: "String", StringValue: "x" },
        ]),
      ),
    ],
  ])("are refused with %s, and nothing is sent", async (_, attributes) => {
    const url = await makeQueue();
    expect(await refusalOf(send(url, attributes))).toBe("InvalidParameterValue");
    expect(await receive(url)).toEqual([]);
  });

  it("count towards the size of a message", async () => {
    const QueueUrl = await makeQueue();
    const entry = {
      MessageBody: "x".repeat((1 << 20) - 8),
      MessageAttributes: { a: { DataType: "String", StringValue: "12" } },
    };
    const send = new SendMessageCommand({ QueueUrl, ...entry });
    expect(await refusalOf(test.sqs.send(send))).toBe("InvalidParameterValue");
    const batch = new SendMessageBatchCommand({ QueueUrl, Entries: [{ Id: "a", ...entry }] });
    expect(await refusalOf(test.sqs.send(batch))).toBe("BatchRequestTooLong");
    const fitting = { ...entry, MessageBody: "x".repeat((1 << 20) - 9) };
    await test.sqs.send(new SendMessageCommand({ QueueUrl, ...fitting }));
  });
});

describe("a batch of visibilities", () => {
  it("changes each message by itself", async () => {
    const QueueUrl = await makeQueue();
    for (const MessageBody of ["a", "b"]) {
      await test.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody }));
    }
    const messages = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
    const [first, second] = messages.map(({ ReceiptHandle = "" }) => ReceiptHandle);
    const answer = await test.sqs.send(
      new ChangeMessageVisibilityBatchCommand({
        QueueUrl,
        Entries: [
          { Id: "one", ReceiptHandle: first, VisibilityTimeout: 0 },
          { Id: "two", ReceiptHandle: second, VisibilityTimeout: 60 },
          { Id: "bad", ReceiptHandle: "nonsense", VisibilityTimeout: 0 },
        ],
      }),
    );
    expect(answer.Successful?.map(({ Id }) => Id)).toEqual(["one", "two"]);
    expect(answer.Failed?.map(({ Id, Code }) => [Id, Code])).toEqual([
      ["bad", "ReceiptHandleIsInvalid"],
    ]);
    const again = await receive(QueueUrl, { MaxNumberOfMessages: 10 });
    expect(again.map(({ Body }) => Body)).toEqual(["a"]);
  });
});

describe("a queue that is deleted", () => {
  it("is gone with its messages, and a long poll on it ends", async () => {
    const QueueUrl = await makeQueue();
    const poll = receive(QueueUrl, { WaitTimeSeconds: 20 });
    // The poll has been taken up when a call that came after it is answered.
    await test.sqs.send(new ListQueuesCommand({}));
    await test.sqs.send(new DeleteQueueCommand({ QueueUrl }));
    expect(await poll).toEqual([]);
    expect(await refusalOf(receive(QueueUrl))).toBe("QueueDoesNotExist");
    const again = new DeleteQueueCommand({ QueueUrl });
    expect(await refusalOf(test.sqs.send(again))).toBe("QueueDoesNotExist");
  });

  it("can be created again, and is empty", async () => {
    const QueueUrl = await makeQueue();
    await test.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "old" }));
    await test.sqs.send(new DeleteQueueCommand({ QueueUrl }));
    const QueueName = QueueUrl.split("/").at(-1) ?? "";
    await test.sqs.send(new CreateQueueCommand({ QueueName }));
    expect(await receive(QueueUrl)).toEqual([]);
  });
});

describe("a list of queues", () => {
  it("comes in pages to whoever asks for them", async () => {
    for (const QueueName of ["page-b", "page-a", "page-c"]) {
      await test.sqs.send(new CreateQueueCommand({ QueueName }));
    }
    const list = (more: { MaxResults?: number; NextToken?: string } = {}) =>
      test.sqs.send(new ListQueuesCommand({ QueueNamePrefix: "page-", ...more }));
    const namesOf = (urls: readonly string[] = []) => urls.map((url) => url.split("/").at(-1));
    const first = await list({ MaxResults: 2 });
    expect(namesOf(first.QueueUrls)).toEqual(["page-a", "page-b"]);
    const second = await list({ MaxResults: 2, NextToken: first.NextToken ?? "" });
    expect(namesOf(second.QueueUrls)).toEqual(["page-c"]);
    expect(second.NextToken).toBeUndefined();
    expect(namesOf((await list()).QueueUrls)).toEqual(["page-a", "page-b", "page-c"]);
  });
});
