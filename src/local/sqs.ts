/** SQS in its JSON protocol, as the SDKs and the AWS CLI since 1.29 speak it. */
import {
  ApiError,
  type LocalRequest,
  type LocalResponse,
  notImplemented,
  readBody,
  type Service,
} from "./http.ts";
import { readAttributes } from "./sqs-attributes.ts";
import { MESSAGE_OPERATIONS } from "./sqs-message-operations.ts";
import { type Operation, type Place, queueUrl } from "./sqs-operation.ts";
import { QUEUE_OPERATIONS } from "./sqs-queue-operations.ts";
import { openQueues } from "./sqs-queues.ts";

export type Sqs = Service & {
  /** Creates the queue when it does not exist; leaves an existing one as it is. */
  ensureQueue(name: string, attributes: Readonly<Record<string, string>>): void;
  /** Durable when it returns. Throws Error when there is no such queue. */
  sendMessage(queueName: string, body: string): void;
  hasQueue(name: string): boolean;
  queueUrl(name: string): string;
  close(): void;
};

export type SqsOptions = Place & {
  /** The journal's path. */
  readonly path: string;
  readonly rewriteLinesMin?: number | undefined;
};

const REQUEST_BYTES_MAX = 4 << 20;
const OPERATIONS: Readonly<Record<string, Operation>> = {
  ...QUEUE_OPERATIONS,
  ...MESSAGE_OPERATIONS,
};

/** Throws Error when the journal is damaged. */
export function openSqs(options: SqsOptions): Sqs {
  const queues = openQueues(options.path, { rewriteLinesMin: options.rewriteLinesMin });
  return {
    async handle(request) {
      const operation = findOperation(request);
      const bytes = await readBody(request, REQUEST_BYTES_MAX);
      const output = await operation(parseJson(bytes), {
        queues,
        place: options,
        signal: request.signal,
      });
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
