/** One SQS queue as the Events of ports.ts. S3 and EventBridge put messages into it. */
import {
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { z } from "zod";
import { CloudError } from "../errors.ts";
import type { Events, Message, Wake } from "../ports.ts";
import { callAws } from "./error-codes.ts";

/** SQS's own limits. */
const WAIT_S = 20;
const BATCH_SIZE = 10;

export function createEvents(sqs: SQSClient, queueUrl: string): Events {
  return {
    receive: async (signal) => {
      if (signal.aborted) return [];
      try {
        return await callAws("receiving events", async () => {
          const { Messages = [] } = await sqs.send(
            new ReceiveMessageCommand({
              QueueUrl: queueUrl,
              WaitTimeSeconds: WAIT_S,
              MaxNumberOfMessages: BATCH_SIZE,
            }),
            { abortSignal: signal },
          );
          return Messages.flatMap(({ Body = "", ReceiptHandle: receipt = "" }) => {
            const wakes = readWakes(Body);
            return wakes ? [{ receipt, wakes }] : [];
          });
        });
      } catch (error) {
        if (signal.aborted) return [];
        throw error;
      }
    },

    acknowledge: async (messages) => {
      for (let start = 0; start < messages.length; start += BATCH_SIZE) {
        await deleteMessages(sqs, queueUrl, messages.slice(start, start + BATCH_SIZE));
      }
    },
  };
}

async function deleteMessages(
  sqs: SQSClient,
  queueUrl: string,
  messages: readonly Message[],
): Promise<void> {
  const doing = "acknowledging events";
  const Entries = messages.map(({ receipt }, index) => ({
    Id: String(index),
    ReceiptHandle: receipt,
  }));
  const { Failed = [] } = await callAws(doing, () =>
    sqs.send(new DeleteMessageBatchCommand({ QueueUrl: queueUrl, Entries })),
  );
  // A receipt that has run out: the message comes again, and with it a new receipt.
  const failure = Failed.find(({ Code }) => Code !== "ReceiptHandleIsInvalid");
  if (failure) {
    const { Code: code = "", Message: words = "" } = failure;
    throw new CloudError("unavailable", `${doing}: ${words} (${code})`, { code });
  }
}

/** S3 says hello when notifications are set up. */
const testEventSchema = z.object({ Event: z.literal("s3:TestEvent") });

const objectEventSchema = z.object({
  Records: z.array(
    z.object({
      eventSource: z.string(),
      eventName: z.string(),
      s3: z.object({ object: z.object({ key: z.string() }) }),
    }),
  ),
});

const instanceEventSchema = z.object({
  source: z.literal("aws.ec2"),
  "detail-type": z.literal("EC2 Instance State-change Notification"),
  detail: z.object({ "instance-id": z.string() }),
});

/**
 * Where a message says to look; empty for one that says nothing. Undefined for one that cannot be read: it is never
 * acknowledged, so that the queue moves it to its dead letters.
 */
export function readWakes(body: string): readonly Wake[] | undefined {
  const message = parseJson(body);
  if (testEventSchema.safeParse(message).success) return [];
  const instance = instanceEventSchema.safeParse(message);
  if (instance.success) {
    return [{ type: "instance", instanceId: instance.data.detail["instance-id"] }];
  }
  const objects = objectEventSchema.safeParse(message);
  if (!objects.success) return undefined;
  const created = objects.data.Records.filter(({ eventName }) => /ObjectCreated/.test(eventName));
  const keys = created.map((record) => decodeKey(record.s3.object.key));
  return keys.some((key) => key === undefined)
    ? undefined
    : keys.flatMap((key) => (key === undefined ? [] : [{ type: "object", key }]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Keys come form-encoded: `+` for a space, `%2B` for a plus. Undefined for a broken escape. */
function decodeKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}
