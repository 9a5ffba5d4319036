/** Bucket notifications to queues: their configuration, and the events as S3 words them. */
import { ApiError, notImplemented } from "./http.ts";
import type { StoredObject } from "./s3-store.ts";
import { parseRequest } from "./s3-xml.ts";
import { type XmlNode, xmlChildren, xmlDocument, xmlText } from "./xml.ts";

export type NotificationRule = {
  readonly id: string;
  readonly queueArn: string;
  /** Such as `s3:ObjectCreated:*`. */
  readonly events: readonly string[];
  readonly prefix: string;
  readonly suffix: string;
};

export type EventName =
  | "ObjectCreated:Put"
  | "ObjectCreated:Copy"
  | "ObjectCreated:CompleteMultipartUpload"
  | "ObjectRemoved:Delete";

export type S3Event = {
  readonly name: EventName;
  readonly bucket: string;
  readonly key: string;
  /** Undefined for a removal. */
  readonly object: StoredObject | undefined;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly requestId: string;
};

const KNOWN_EVENTS: readonly string[] = [
  "s3:ObjectCreated:*",
  "s3:ObjectCreated:Put",
  // It may be asked for and never comes: a form in a browser cannot reach the local cloud.
  "s3:ObjectCreated:Post",
  "s3:ObjectCreated:Copy",
  "s3:ObjectCreated:CompleteMultipartUpload",
  "s3:ObjectRemoved:*",
  "s3:ObjectRemoved:Delete",
];

/** Throws ApiError for what is not implemented and for what AWS refuses, but does not look whether the queues exist. */
export function parseNotifications(xml: Uint8Array): readonly NotificationRule[] {
  const root = parseRequest(xml, "NotificationConfiguration");
  const other = root.children.find(({ name }) => name !== "QueueConfiguration");
  if (other) throw notImplemented(`${other.name} in bucket notifications`);
  const rules = xmlChildren(root, "QueueConfiguration").map(parseRule);
  rules.forEach((rule, index) => {
    for (const before of rules.slice(0, index)) checkOverlap(before, rule);
  });
  return rules;
}

/** AWS refuses rules of which one object could fire two. */
function checkOverlap(one: NotificationRule, other: NotificationRule): void {
  const haveSameEvent = one.events.some((a) =>
    other.events.some((b) => isEvent(a, b) || isEvent(b, a)),
  );
  const havePrefix = one.prefix.startsWith(other.prefix) || other.prefix.startsWith(one.prefix);
  const haveSuffix = one.suffix.endsWith(other.suffix) || other.suffix.endsWith(one.suffix);
  if (haveSameEvent && havePrefix && haveSuffix) {
    throw invalid(
      "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
    );
  }
}

const isEvent = (pattern: string, name: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

function parseRule(node: XmlNode, index: number): NotificationRule {
  const events = xmlChildren(node, "Event").map(({ text }) => text);
  const unknown = events.find((event) => !KNOWN_EVENTS.includes(event));
  if (unknown !== undefined) throw notImplemented(`the event ${unknown}`);
  const queueArn = xmlText(node, "Queue");
  if (queueArn === undefined || events.length === 0) {
    throw new ApiError(400, "MalformedXML", "a QueueConfiguration needs a Queue and an Event");
  }
  const filters = xmlChildren(node, "Filter")
    .flatMap((filter) => xmlChildren(filter, "S3Key"))
    .flatMap((key) => xmlChildren(key, "FilterRule"))
    .map((rule) => [xmlText(rule, "Name")?.toLowerCase(), xmlText(rule, "Value") ?? ""] as const);
  const wrong = filters.find(([name]) => name !== "prefix" && name !== "suffix");
  if (wrong) throw invalid("filter rule name must be either prefix or suffix");
  return {
    id: xmlText(node, "Id") ?? `rule-${index + 1}`,
    queueArn,
    events,
    prefix: filters.find(([name]) => name === "prefix")?.[1] ?? "",
    suffix: filters.find(([name]) => name === "suffix")?.[1] ?? "",
  };
}

export const renderNotifications = (
  rules: readonly NotificationRule[],
  namespace: string,
): string =>
  xmlDocument(
    "NotificationConfiguration",
    {
      QueueConfiguration: rules.map((rule) => ({
        Id: rule.id,
        Queue: rule.queueArn,
        Event: rule.events,
        Filter: renderFilter(rule),
      })),
    },
    namespace,
  );

function renderFilter({ prefix, suffix }: NotificationRule) {
  const FilterRule = [
    { Name: "Prefix", Value: prefix },
    { Name: "Suffix", Value: suffix },
  ].filter(({ Value }) => Value !== "");
  return FilterRule.length === 0 ? undefined : { S3Key: { FilterRule } };
}

/** The queue's name, from `arn:aws:sqs:<region>:<account>:<name>`. */
export const queueOf = (arn: string): string => arn.split(":")[5] ?? "";

export const listMatchingRules = (
  rules: readonly NotificationRule[],
  event: Pick<S3Event, "name" | "key">,
): readonly NotificationRule[] =>
  rules.filter(
    ({ events, prefix, suffix }) =>
      events.some((pattern) => isEvent(pattern, `s3:${event.name}`)) &&
      event.key.startsWith(prefix) &&
      event.key.endsWith(suffix),
  );

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html */
export function renderEvent(
  event: S3Event,
  rule: NotificationRule,
  place: { readonly region: string; readonly accountId: string },
): string {
  const record = {
    eventVersion: "2.1",
    eventSource: "aws:s3",
    awsRegion: place.region,
    eventTime: new Date(event.at).toISOString(),
    eventName: event.name,
    userIdentity: { principalId: place.accountId },
    requestParameters: { sourceIPAddress: "127.0.0.1" },
    responseElements: { "x-amz-request-id": event.requestId, "x-amz-id-2": "local" },
    s3: {
      s3SchemaVersion: "1.0",
      configurationId: rule.id,
      bucket: {
        name: event.bucket,
        ownerIdentity: { principalId: place.accountId },
        arn: `arn:aws:s3:::${event.bucket}`,
      },
      object: {
        key: encodeKey(event.key),
        ...(event.object && { size: event.object.bytes, eTag: event.object.etag }),
        sequencer: nextSequencer(event.at),
      },
    },
  };
  return JSON.stringify({ Records: [record] });
}

/** The message that S3 sends when notifications are set up. */
export const renderTestEvent = (bucket: string, at: number, requestId: string): string =>
  JSON.stringify({
    Service: "Amazon S3",
    Event: "s3:TestEvent",
    Time: new Date(at).toISOString(),
    Bucket: bucket,
    RequestId: requestId,
    HostId: "local",
  });

/** As Java's URLEncoder, which S3 uses in events and listings, but with slashes kept. */
export const encodeKey = (key: string): string =>
  encodeURIComponent(key)
    .replace(/%20/g, "+")
    .replace(/%2F/g, "/")
    .replace(/[!'()~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

let lastSequence = 0n;

/** Of two events of one key the later has the greater one, in hex of one length. */
function nextSequencer(at: number): string {
  const next = BigInt(at) << 16n;
  lastSequence = next > lastSequence ? next : lastSequence + 1n;
  return lastSequence.toString(16).toUpperCase().padStart(16, "0");
}

const invalid = (message: string): ApiError => new ApiError(400, "InvalidArgument", message);
