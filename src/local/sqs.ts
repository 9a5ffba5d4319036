/** SQS in its JSON protocol, as the SDKs and the AWS CLI since 1.29 speak it. */
import { z } from "zod";
import {
  ApiError,
  type LocalRequest,
  type LocalResponse,
  notImplemented,
  readBody,
  type Service,
} from "./http.ts";
import { readAttributes, TEXT_ATTRIBUTES } from "./sqs-attributes.ts";
import { type Message, openQueues, type Queue, type Queues } from "./sqs-queues.ts";

export type Sqs = Service & {
  /** Creates the queue when it does not exist; leaves an existing one as it is. */
  ensureQueue(name: string, attributes: Readonly<Record<string, string>>): void;
  /** Durable when it returns. Throws Error when there is no such queue. */
  sendMessage(queueName: string, body: string): void;
  hasQueue(name: string): boolean;
  queueUrl(name: string): string;
  close(): void;
};

export type SqsOptions = {
  /** The journal's path. */
  readonly path: string;
  readonly accountId: string;
  readonly region: string;
  /** Such as `http://127.0.0.1:4577`; what queue URLs begin with. */
  readonly endpoint: string;
};

/** AWS's own limits. */
const BODY_BYTES_MAX = 1 << 20;
const REQUEST_BYTES_MAX = 4 << 20;
const BATCH_MAX = 10;
const VISIBILITY_SECONDS_MAX = 43_200;

type Context = {
  readonly queues: Queues;
  readonly options: SqsOptions;
  readonly signal: AbortSignal;
};
type Operation = (input: unknown, context: Context) => unknown | Promise<unknown>;

/** Throws Error when the journal is damaged. */
export function openSqs(options: SqsOptions): Sqs {
  const queues = openQueues(options.path);
  return {
    async handle(request) {
      const operation = findOperation(request);
      const bytes = await readBody(request, REQUEST_BYTES_MAX);
      const output = await operation(parseJson(bytes), { queues, options, signal: request.signal });
      return jsonResponse(output);
    },
    ensureQueue(name, attributes) {
      if (!queues.find(name)) queues.put(name, readAttributes(attributes));
    },
    sendMessage(name, body) {
      queues.send(name, body);
    },
    hasQueue: (name) => queues.find(name) !== undefined,
    queueUrl: (name) => queueUrl(options, name),
    close: () => queues.close(),
  };
}

function findOperation(request: LocalRequest): Operation {
  const target = request.headers["x-amz-target"];
  const [prefix, name = ""] = String(target ?? "").split(".");
  if (request.method !== "POST" || prefix !== "AmazonSQS") {
    throw notImplemented("the query protocol of SQS: use a client that speaks its JSON protocol");
  }
  if (request.caller.type !== "owner") {
    throw new ApiError(403, "AccessDenied", "the role of instances has no access to SQS");
  }
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (!operation) throw notImplemented(`SQS ${name}`);
  return operation;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8") || "{}");
  } catch (cause) {
    throw new ApiError(400, "SerializationException", "the body is no JSON", {}, { cause });
  }
}

const jsonResponse = (output: unknown): LocalResponse => ({
  status: 200,
  headers: { "content-type": "application/x-amz-json-1.0" },
  body: JSON.stringify(output ?? {}),
});

/** A field that the schema does not name is refused by name: it would have changed what the operation does. */
function operation<Shape extends z.ZodRawShape>(
  shape: Shape,
  run: (input: z.infer<z.ZodObject<Shape>>, context: Context) => unknown | Promise<unknown>,
): Operation {
  const schema = z.strictObject(shape);
  return (input, context) => {
    const parsed = schema.safeParse(input);
    if (parsed.success) return run(parsed.data as z.infer<z.ZodObject<Shape>>, context);
    const issue = parsed.error.issues[0];
    if (issue?.code === "unrecognized_keys") throw notImplemented(`the field ${issue.keys[0]}`);
    throw invalid(`${issue?.path.join(".")}: ${issue?.message}`);
  };
}

const queueName = z
  .string()
  .regex(
    /^[A-Za-z0-9_-]{1,80}$/,
    "1 to 80 letters, digits, - and _; FIFO queues are not implemented",
  );
const attributes = z.record(z.string(), z.string()).optional();
const names = z.array(z.string()).optional();
const delaySeconds = z.int().min(0).max(900).optional();
const visibilitySeconds = z.int().min(0).max(VISIBILITY_SECONDS_MAX);
const messageBody = z
  .string()
  .min(1)
  .refine((body) => Buffer.byteLength(body) <= BODY_BYTES_MAX, "a message holds at most 1 MiB");
const batchId = z.string().regex(/^[A-Za-z0-9_-]{1,80}$/);
const QueueUrl = z.string();

const OPERATIONS: Readonly<Record<string, Operation>> = {
  CreateQueue: operation({ QueueName: queueName, Attributes: attributes }, (input, context) => {
    const name = input.QueueName;
    const wanted = readAttributes(input.Attributes ?? {});
    const before = context.queues.find(name);
    if (before && !hasAttributes(before, input.Attributes ?? {})) {
      throw new ApiError(400, "QueueNameExists", `${name} exists with other attributes`);
    }
    if (!before) context.queues.put(name, wanted);
    return { QueueUrl: queueUrl(context.options, name) };
  }),

  GetQueueUrl: operation({ QueueName: z.string() }, (input, context) => {
    const { name } = findQueue(context, input.QueueName);
    return { QueueUrl: queueUrl(context.options, name) };
  }),

  ListQueues: operation(
    { QueueNamePrefix: z.string().optional(), MaxResults: z.int().min(1).max(1000).optional() },
    (input, { queues, options }) => {
      const found = queues
        .list()
        .filter(({ name }) => name.startsWith(input.QueueNamePrefix ?? ""));
      if (found.length > (input.MaxResults ?? 1000)) throw notImplemented("pages of ListQueues");
      return { QueueUrls: found.map(({ name }) => queueUrl(options, name)) };
    },
  ),

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

  SendMessage: operation(
    { QueueUrl, MessageBody: messageBody, DelaySeconds: delaySeconds },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      return send(context, queue, input);
    },
  ),

  SendMessageBatch: operation(
    {
      QueueUrl,
      Entries: z.array(
        z.strictObject({ Id: batchId, MessageBody: messageBody, DelaySeconds: delaySeconds }),
      ),
    },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      const bytes = input.Entries.reduce(
        (sum, { MessageBody }) => sum + Buffer.byteLength(MessageBody),
        0,
      );
      if (bytes > BODY_BYTES_MAX) {
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
      MaxNumberOfMessages: z.int().min(1).max(BATCH_MAX).optional(),
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
      const wanted = [
        ...(input.AttributeNames ?? []),
        ...(input.MessageSystemAttributeNames ?? []),
      ];
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

  ChangeMessageVisibility: operation(
    { QueueUrl, ReceiptHandle: z.string(), VisibilityTimeout: visibilitySeconds },
    (input, context) => {
      const queue = findQueue(context, input.QueueUrl);
      const message = findReceived(context, queue, input.ReceiptHandle);
      const now = Date.now();
      if (!message || message.visibleAt <= now) {
        throw new ApiError(400, "MessageNotInflight", "the message is not with a receiver");
      }
      context.queues.setVisibleAt(queue.name, message.id, now + input.VisibilityTimeout * 1000);
    },
  ),
};

/** By name or URL. The host of a URL does not matter: the port may have changed since it was written down. */
function findQueue({ queues }: Context, nameOrUrl: string): Queue {
  const queue = queues.find(nameOrUrl.split("/").at(-1) ?? "");
  if (!queue) {
    throw new ApiError(400, "QueueDoesNotExist", "The specified queue does not exist.");
  }
  return queue;
}

const queueUrl = (options: SqsOptions, name: string): string =>
  `${options.endpoint}/${options.accountId}/${name}`;

const hasAttributes = (queue: Queue, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([name, value]) => queue.attributes[name] === value);

function describeQueue(queue: Queue, { queues, options }: Context): Record<string, string> {
  const counts = queues.count(queue.name);
  return {
    ...queue.attributes,
    QueueArn: `arn:aws:sqs:${options.region}:${options.accountId}:${queue.name}`,
    CreatedTimestamp: String(Math.floor(queue.createdAt / 1000)),
    LastModifiedTimestamp: String(Math.floor(queue.modifiedAt / 1000)),
    ApproximateNumberOfMessages: String(counts.visible),
    ApproximateNumberOfMessagesNotVisible: String(counts.inFlight),
    ApproximateNumberOfMessagesDelayed: String(counts.delayed),
  };
}

const pick = (
  all: Readonly<Record<string, string>>,
  wanted: readonly string[],
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(all).filter(([name]) => wanted.includes("All") || wanted.includes(name)),
  );

function send(
  { queues }: Context,
  queue: Queue,
  input: { readonly MessageBody: string; readonly DelaySeconds?: number | undefined },
): Record<string, string> {
  const delayMs = input.DelaySeconds === undefined ? undefined : input.DelaySeconds * 1000;
  const message = queues.send(queue.name, input.MessageBody, delayMs);
  return { MessageId: message.id, MD5OfMessageBody: message.md5 };
}

/** Each entry succeeds or fails by itself. */
function runBatch<Entry extends { readonly Id: string }>(
  entries: readonly Entry[],
  run: (entry: Entry) => Record<string, string>,
): Record<string, unknown> {
  if (entries.length === 0) throw new ApiError(400, "EmptyBatchRequest", "the batch has no entry");
  if (entries.length > BATCH_MAX) {
    throw new ApiError(
      400,
      "TooManyEntriesInBatchRequest",
      `a batch has at most ${BATCH_MAX} entries`,
    );
  }
  if (new Set(entries.map(({ Id }) => Id)).size < entries.length) {
    throw new ApiError(400, "BatchEntryIdsNotDistinct", "two entries have the same Id");
  }
  const Successful: unknown[] = [];
  const Failed: unknown[] = [];
  for (const entry of entries) {
    try {
      Successful.push({ Id: entry.Id, ...run(entry) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      Failed.push({ Id: entry.Id, Code: error.code, Message: error.message, SenderFault: true });
    }
  }
  return { Successful, Failed };
}

const secondsOr = (queue: Queue, seconds: number | undefined, attribute: string): number =>
  (seconds ?? Number(queue.attributes[attribute])) * 1000;

function describeMessage(
  message: Message,
  wanted: readonly string[],
  { options }: Context,
): Record<string, unknown> {
  const all = {
    SenderId: options.accountId,
    SentTimestamp: String(message.sentAt),
    ApproximateReceiveCount: String(message.receiveCount),
    ApproximateFirstReceiveTimestamp: String(message.firstReceivedAt),
  };
  const picked = pick(all, wanted);
  return {
    MessageId: message.id,
    ReceiptHandle: Buffer.from(`${message.id} ${message.receipt}`).toString("base64"),
    MD5OfBody: message.md5,
    Body: message.body,
    ...(Object.keys(picked).length > 0 && { Attributes: picked }),
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

const invalid = (message: string): ApiError => new ApiError(400, "InvalidParameterValue", message);
