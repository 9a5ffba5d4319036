/** What a sender says of a message beside its body. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html */
import { createHash } from "node:crypto";
import { z } from "zod";
import { invalid } from "./sqs-operation.ts";

const attributeSchema = z.strictObject({
  DataType: z.string(),
  StringValue: z.string().optional(),
  /** Base64. */
  BinaryValue: z.string().optional(),
});

type MessageAttribute = z.infer<typeof attributeSchema>;
export type MessageAttributes = Readonly<Record<string, MessageAttribute>>;

/** The field of SendMessage; `checkMessageAttributes` judges what it holds. */
export const messageAttributesField = z.record(z.string(), attributeSchema).optional();

const ATTRIBUTES_MAX = 10;

/** Throws ApiError for a name, a type or a value that AWS refuses. */
export function checkMessageAttributes(attributes: MessageAttributes): void {
  const entries = Object.entries(attributes);
  if (entries.length > ATTRIBUTES_MAX) {
    throw invalid(`a message has at most ${ATTRIBUTES_MAX} attributes, not ${entries.length}`);
  }
  for (const [name, attribute] of entries) {
    checkName(name);
    checkValue(name, attribute);
  }
}

function checkValue(name: string, attribute: MessageAttribute): void {
  const [type = ""] = attribute.DataType.split(".", 1);
  if (!["String", "Number", "Binary"].includes(type)) {
    throw invalid(
      `The message attribute '${name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.`,
    );
  }
  const { StringValue: text, BinaryValue: binary } = attribute;
  const [value, other] = type === "Binary" ? [binary, text] : [text, binary];
  if (!value || other !== undefined) {
    throw invalid(`The message attribute '${name}' must have a value of the type ${type}.`);
  }
  if (type === "Number" && Number.isNaN(Number(value))) {
    throw invalid(`Can't cast the value of message attribute '${name}' to a number.`);
  }
}

function checkName(name: string): void {
  const isGood =
    /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,255}$/.test(name) &&
    !name.endsWith(".") &&
    !name.includes("..") &&
    !/^(aws|amazon)\./i.test(name);
  if (!isGood) throw invalid(`'${name}' is no name for a message attribute`);
}

/** Names, types and values count towards the size of a message. */
export const countAttributeBytes = (attributes: MessageAttributes): number =>
  Object.entries(attributes).reduce(
    (sum, [name, { DataType, ...attribute }]) =>
      sum + Buffer.byteLength(name) + Buffer.byteLength(DataType) + bytesOf(attribute).length,
    0,
  );

/** Those that a receiver asks for: `All` or `.*`, `prefix.*`, or a name. */
export function pickMessageAttributes(
  attributes: MessageAttributes,
  wanted: readonly string[],
): MessageAttributes {
  const isWanted = (name: string): boolean =>
    wanted.some((pattern) =>
      pattern === "All" || pattern === ".*"
        ? true
        : pattern.endsWith(".*")
          ? name.startsWith(pattern.slice(0, -2))
          : name === pattern,
    );
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => isWanted(name)));
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : 1;

/** Hex, by AWS's own rule: name, type and value, each with its length before it, in the order of the names. */
export function hashAttributes(attributes: MessageAttributes): string {
  const md5 = createHash("md5");
  const update = (bytes: Uint8Array): void => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    md5.update(length).update(bytes);
  };
  for (const [name, attribute] of Object.entries(attributes).sort(byName)) {
    update(Buffer.from(name));
    update(Buffer.from(attribute.DataType));
    md5.update(Buffer.from([attribute.BinaryValue === undefined ? 1 : 2]));
    update(bytesOf(attribute));
  }
  return md5.digest("hex");
}

const bytesOf = ({ BinaryValue, StringValue = "" }: Omit<MessageAttribute, "DataType">): Buffer =>
  BinaryValue === undefined ? Buffer.from(StringValue) : Buffer.from(BinaryValue, "base64");
