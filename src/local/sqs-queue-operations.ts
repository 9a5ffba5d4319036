/** The operations of SQS on queues. */
import { z } from "zod";
import { ApiError } from "./http.ts";
import type { SQS_QUEUE_OPERATIONS } from "./operations.ts";
import { readAttributes, TEXT_ATTRIBUTES } from "./sqs-attributes.ts";
import {
  type Context,
  findQueue,
  type Operation,
  operation,
  pick,
  queueUrlField as QueueUrl,
  queueUrl,
} from "./sqs-operation.ts";
import type { Queue } from "./sqs-queues.ts";

const queueName = z
  .string()
  .regex(
    /^[A-Za-z0-9_-]{1,80}$/,
    "1 to 80 letters, digits, - and _; FIFO queues are not implemented",
  );
const QUEUES_MAX = 1000;
const names = z.array(z.string()).optional();

type QueueOperation = (typeof SQS_QUEUE_OPERATIONS)[number];

export const QUEUE_OPERATIONS: Readonly<Record<QueueOperation, Operation>> = {
  CreateQueue: operation(
    { QueueName: queueName, Attributes: z.record(z.string(), z.string()).optional() },
    (input, context) => {
      const name = input.QueueName;
      const wanted = readAttributes(input.Attributes ?? {});
      const before = context.queues.find(name);
      if (before && !hasAttributes(before, input.Attributes ?? {})) {
        throw new ApiError(400, "QueueNameExists", `${name} exists with other attributes`);
      }
      if (!before) context.queues.put(name, wanted);
      return { QueueUrl: queueUrl(context.place, name) };
    },
  ),

  GetQueueUrl: operation({ QueueName: z.string() }, (input, context) => {
    const { name } = findQueue(context, input.QueueName);
    return { QueueUrl: queueUrl(context.place, name) };
  }),

  ListQueues: operation(
    {
      QueueNamePrefix: z.string().optional(),
      MaxResults: z.int().min(1).max(QUEUES_MAX).optional(),
      NextToken: z.string().optional(),
    },
    (input, { queues, place }) => {
      const found = queues
        .list()
        .map(({ name }) => name)
        .filter((name) => name.startsWith(input.QueueNamePrefix ?? "") && name > after(input))
        .sort();
      const page = found.slice(0, input.MaxResults ?? QUEUES_MAX);
      const isWhole = page.length === found.length;
      return {
        QueueUrls: page.map((name) => queueUrl(place, name)),
        // AWS gives a token only to those who asked for pages.
        ...(!isWhole && input.MaxResults && { NextToken: encodeToken(page.at(-1) ?? "") }),
      };
    },
  ),

  DeleteQueue: operation({ QueueUrl }, (input, context) => {
    context.queues.removeQueue(findQueue(context, input.QueueUrl).name);
  }),

  GetQueueAttributes: operation({ QueueUrl, AttributeNames: names }, (input, context) => {
    const queue = findQueue(context, input.QueueUrl);
    const all = describeQueue(queue, context);
    const wanted = input.AttributeNames ?? [];
    const unknown = wanted.find(
      (name) => name !== "All" && !(name in all) && !TEXT_ATTRIBUTES.includes(name),
    );
    if (unknown !== undefined)
      throw new ApiError(400, "InvalidAttributeName", `no attribute ${unknown}`);
    return { Attributes: pick(all, wanted) };
  }),

  SetQueueAttributes: operation(
    { QueueUrl, Attributes: z.record(z.string(), z.string()) },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      context.queues.put(queue.name, readAttributes(input.Attributes, queue.attributes));
    },
  ),

  PurgeQueue: operation({ QueueUrl }, (input, context) => {
    context.queues.purge(findQueue(context, input.QueueUrl).name);
  }),
};

const encodeToken = (name: string): string => Buffer.from(name).toString("base64url");

/** The last name of the page before. */
const after = ({ NextToken }: { readonly NextToken?: string | undefined }): string =>
  Buffer.from(NextToken ?? "", "base64url").toString();

const hasAttributes = (queue: Queue, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([name, value]) => queue.attributes[name] === value);

function describeQueue(queue: Queue, { queues, place }: Context): Record<string, string> {
  const counts = queues.count(queue.name);
  return {
    ...queue.attributes,
    QueueArn: `arn:aws:sqs:${place.region}:${place.accountId}:${queue.name}`,
    CreatedTimestamp: String(Math.floor(queue.createdAt / 1000)),
    LastModifiedTimestamp: String(Math.floor(queue.modifiedAt / 1000)),
    ApproximateNumberOfMessages: String(counts.visible),
    ApproximateNumberOfMessagesNotVisible: String(counts.inFlight),
    ApproximateNumberOfMessagesDelayed: String(counts.delayed),
  };
}
