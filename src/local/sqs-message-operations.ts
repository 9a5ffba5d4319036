/** The operations of SQS on messages. */
import { z } from "zod";
import { ApiError } from "./http.ts";
import type { SQS_MESSAGE_OPERATIONS } from "./operations.ts";
import {
  checkMessageAttributes,
  countAttributeBytes,
  hashAttributes,
  type MessageAttributes,
  messageAttributesField,
  pickMessageAttributes,
} from "./sqs-message-attributes.ts";
import {
  type Context,
  findQueue,
  invalid,
  type Operation,
  operation,
  pick,
  queueUrlField as QueueUrl,
  runBatch,
  secondsOr,
} from "./sqs-operation.ts";
import type { Message, Queue } from "./sqs-queues.ts";

/** AWS's own limits. */
const MESSAGE_BYTES_MAX = 1 << 20;
const MESSAGES_MAX = 10;
const VISIBILITY_SECONDS_MAX = 43_200;

const names = z.array(z.string()).optional();
const delaySeconds = z.int().min(0).max(900).optional();
const visibilitySeconds = z.int().min(0).max(VISIBILITY_SECONDS_MAX);
/** What SendMessage says of a message, and each entry of its batch. */
const messageFields = {
  MessageBody: z.string().min(1),
  DelaySeconds: delaySeconds,
  MessageAttributes: messageAttributesField,
} as const;
const visibilityFields = { ReceiptHandle: z.string(), VisibilityTimeout: visibilitySeconds };
const batchId = z.string().regex(/^[A-Za-z0-9_-]{1,80}$/);

type MessageOperation = (typeof SQS_MESSAGE_OPERATIONS)[number];

export const MESSAGE_OPERATIONS: Readonly<Record<MessageOperation, Operation>> = {
  SendMessage: operation({ QueueUrl, ...messageFields }, (input, context) =>
    send(context, findQueue(context, input.QueueUrl), input),
  ),

  SendMessageBatch: operation(
    { QueueUrl, Entries: z.array(z.strictObject({ Id: batchId, ...messageFields })) },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      const bytes = input.Entries.reduce((sum, entry) => sum + countBytes(entry), 0);
      if (bytes > MESSAGE_BYTES_MAX) {
        throw new ApiError(
          400,
          "BatchRequestTooLong",
          "the messages of a batch hold at most 1 MiB",
        );
      }
      return runBatch(input.Entries, (entry) => send(context, queue, entry));
    },
  ),

  ReceiveMessage: operation(
    {
      QueueUrl,
      AttributeNames: names,
      MessageSystemAttributeNames: names,
      MessageAttributeNames: names,
      MaxNumberOfMessages: z.int().min(1).max(MESSAGES_MAX).optional(),
      VisibilityTimeout: visibilitySeconds.optional(),
      WaitTimeSeconds: z.int().min(0).max(20).optional(),
    },
    async (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      const messages = await context.queues.receive({
        queue: queue.name,
        messagesMax: input.MaxNumberOfMessages ?? 1,
        visibilityMs: secondsOr(queue, input.VisibilityTimeout, "VisibilityTimeout"),
        waitMs: secondsOr(queue, input.WaitTimeSeconds, "ReceiveMessageWaitTimeSeconds"),
        signal: context.signal,
      });
      const wanted = {
        system: [...(input.AttributeNames ?? []), ...(input.MessageSystemAttributeNames ?? [])],
        own: input.MessageAttributeNames ?? [],
      };
      if (messages.length === 0) return {};
      return { Messages: messages.map((message) => describeMessage(message, wanted, context)) };
    },
  ),

  DeleteMessage: operation({ QueueUrl, ReceiptHandle: z.string() }, (input, context) => {
    remove(context, findQueue(context, input.QueueUrl), input.ReceiptHandle);
  }),

  DeleteMessageBatch: operation(
    { QueueUrl, Entries: z.array(z.strictObject({ Id: batchId, ReceiptHandle: z.string() })) },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      return runBatch(input.Entries, (entry) => {
        remove(context, queue, entry.ReceiptHandle);
        return {};
      });
    },
  ),

  ChangeMessageVisibility: operation({ QueueUrl, ...visibilityFields }, (input, context) => {
    changeVisibility(context, findQueue(context, input.QueueUrl), input);
  }),

  ChangeMessageVisibilityBatch: operation(
    { QueueUrl, Entries: z.array(z.strictObject({ Id: batchId, ...visibilityFields })) },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      return runBatch(input.Entries, (entry) => {
        changeVisibility(context, queue, entry);
        return {};
      });
    },
  ),
};

type MessageInput = {
  readonly MessageBody: string;
  readonly DelaySeconds?: number | undefined;
  readonly MessageAttributes?: MessageAttributes | undefined;
};

const countBytes = ({ MessageBody, MessageAttributes = {} }: MessageInput): number =>
  Buffer.byteLength(MessageBody) + countAttributeBytes(MessageAttributes);

function send({ queues }: Context, queue: Queue, input: MessageInput): Record<string, string> {
  const attributes = input.MessageAttributes ?? {};
  checkMessageAttributes(attributes);
  if (countBytes(input) > MESSAGE_BYTES_MAX) throw invalid("a message holds at most 1 MiB");
  const delayMs = input.DelaySeconds === undefined ? undefined : input.DelaySeconds * 1000;
  const hasAttributes = Object.keys(attributes).length > 0;
  const message = queues.send(queue.name, input.MessageBody, {
    delayMs,
    ...(hasAttributes && { attributes }),
  });
  return {
    MessageId: message.id,
    MD5OfMessageBody: message.md5,
    ...(hasAttributes && { MD5OfMessageAttributes: hashAttributes(attributes) }),
  };
}

function changeVisibility(
  context: Context,
  queue: Queue,
  input: { readonly ReceiptHandle: string; readonly VisibilityTimeout: number },
): void {
  const message = findReceived(context, queue, input.ReceiptHandle);
  const now = Date.now();
  if (!message || message.visibleAt <= now) {
    throw new ApiError(400, "MessageNotInflight", "the message is not with a receiver");
  }
  context.queues.setVisibleAt(queue.name, message.id, now + input.VisibilityTimeout * 1000);
}

function describeMessage(
  message: Message,
  wanted: { readonly system: readonly string[]; readonly own: readonly string[] },
  { place }: Context,
): Record<string, unknown> {
  const system = pick(
    {
      SenderId: place.accountId,
      SentTimestamp: String(message.sentAt),
      ApproximateReceiveCount: String(message.receiveCount),
      ApproximateFirstReceiveTimestamp: String(message.firstReceivedAt),
    },
    wanted.system,
  );
  const own = pickMessageAttributes(message.attributes ?? {}, wanted.own);
  return {
    MessageId: message.id,
    ReceiptHandle: Buffer.from(`${message.id} ${message.receipt}`).toString("base64"),
    MD5OfBody: message.md5,
    Body: message.body,
    ...(Object.keys(system).length > 0 && { Attributes: system }),
    ...(Object.keys(own).length > 0 && {
      MessageAttributes: own,
      MD5OfMessageAttributes: hashAttributes(own),
    }),
  };
}

/** A handle of an earlier receive deletes nothing, and that is no error, as on AWS. */
function remove(context: Context, queue: Queue, handle: string): void {
  const message = findReceived(context, queue, handle);
  if (message) context.queues.remove(queue.name, message.id);
}

function findReceived({ queues }: Context, queue: Queue, handle: string): Message | undefined {
  const [id = "", receipt] = Buffer.from(handle, "base64").toString().split(" ");
  if (receipt === undefined || id.length !== 36) {
    throw new ApiError(404, "ReceiptHandleIsInvalid", "The receipt handle is not one of this SQS.");
  }
  const message = queues.findMessage(queue.name, id);
  return message?.receipt === receipt ? message : undefined;
}
