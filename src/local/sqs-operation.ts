/** What the operations of SQS have in common: how their input is read, and how a queue is found. */
import { z } from "zod";
import { ApiError, notImplemented } from "./http.ts";
import { describeProblems } from "./problems.ts";
import type { Queue, Queues } from "./sqs-queues.ts";

/** AWS's own limits. */
const BATCH_MAX = 10;

export type Context = {
  readonly queues: Queues;
  readonly place: Place;
  readonly signal: AbortSignal;
};
export type Place = {
  readonly accountId: string;
  readonly region: string;
  /** Such as `http://127.0.0.1:4577`; what queue URLs begin with. */
  readonly endpoint: string;
};
export type Operation = (input: unknown, context: Context) => unknown | Promise<unknown>;

/** A field that the schema does not name is refused by name: it would have changed what the operation does. */
export function operation<Shape extends z.ZodRawShape>(
  shape: Shape,
  run: (input: z.infer<z.ZodObject<Shape>>, context: Context) => unknown | Promise<unknown>,
): Operation {
  const schema = z.strictObject(shape);
  return (input, context) => {
    const parsed = schema.safeParse(input);
    if (parsed.success) return run(parsed.data as z.infer<z.ZodObject<Shape>>, context);
    const issue = parsed.error.issues[0];
    if (issue?.code === "unrecognized_keys") throw notImplemented(`the field ${issue.keys[0]}`);
    throw invalid(describeProblems(parsed.error).join("; "));
  };
}

export const queueUrlField = z.string();

/** By name or URL. The host of a URL does not matter: the port may have changed since it was written down. */
export function findQueue({ queues }: Context, nameOrUrl: string): Queue {
  const queue = queues.find(nameOrUrl.split("/").at(-1) ?? "");
  if (!queue) {
    throw new ApiError(400, "QueueDoesNotExist", "The specified queue does not exist.");
  }
  return queue;
}

export const queueUrl = (place: Place, name: string): string =>
  `${place.endpoint}/${place.accountId}/${name}`;

export const pick = (
  all: Readonly<Record<string, string>>,
  wanted: readonly string[],
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(all).filter(([name]) => wanted.includes("All") || wanted.includes(name)),
  );

/** Each entry succeeds or fails by itself. */
export function runBatch<Entry extends { readonly Id: string }>(
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

export const secondsOr = (queue: Queue, seconds: number | undefined, attribute: string): number =>
  (seconds ?? Number(queue.attributes[attribute])) * 1000;

export const invalid = (message: string): ApiError =>
  new ApiError(400, "InvalidParameterValue", message);
