/** The attributes a queue may be given, their limits and defaults. */
import { ApiError, notImplemented } from "./http.ts";
import { type QueueAttributes, readRedrivePolicy } from "./sqs-queues.ts";

type Range = { readonly min: number; readonly max: number; readonly usual: number };

const NUMBERS: Readonly<Record<string, Range>> = {
  VisibilityTimeout: { min: 0, max: 43_200, usual: 30 },
  DelaySeconds: { min: 0, max: 900, usual: 0 },
  ReceiveMessageWaitTimeSeconds: { min: 0, max: 20, usual: 0 },
  MessageRetentionPeriod: { min: 60, max: 1_209_600, usual: 345_600 },
};

/** A queue need not have these. A policy is not judged: only the owner reaches the queues anyway. */
export const TEXT_ATTRIBUTES: readonly string[] = ["RedrivePolicy", "Policy"];

/** `given` over `before`, or over the defaults. Throws ApiError; an attribute that is not implemented is named. */
export function readAttributes(
  given: Readonly<Record<string, string>>,
  before: QueueAttributes = defaults(),
): QueueAttributes {
  const next: Record<string, string> = { ...before };
  for (const [name, value] of Object.entries(given)) {
    const range = Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : undefined;
    if (range) checkNumber(name, value, range);
    else if (!TEXT_ATTRIBUTES.includes(name)) throw notImplemented(`the queue attribute ${name}`);
    if (value === "") delete next[name];
    else next[name] = value;
  }
  if (next.RedrivePolicy !== undefined && !readRedrivePolicy(next)) {
    throw invalidAttribute(
      "RedrivePolicy",
      "needs deadLetterTargetArn and maxReceiveCount from 1 to 1000",
    );
  }
  return next;
}

const defaults = (): QueueAttributes =>
  Object.fromEntries(Object.entries(NUMBERS).map(([name, { usual }]) => [name, String(usual)]));

function checkNumber(name: string, value: string, { min, max }: Range): void {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < min || number > max) {
    throw invalidAttribute(name, `must be a whole number from ${min} to ${max}, not "${value}"`);
  }
}

const invalidAttribute = (name: string, why: string): ApiError =>
  new ApiError(400, "InvalidAttributeValue", `${name} ${why}`);
