/**
 * What the local cloud and moto are known not to do as AWS does, by the suite and the title of the test that shows it.
 * docs/local-cloud.md says the same in a table; a unit test holds the two together.
 */
import type { Gaps } from "./backend.ts";

export type Suite = "store" | "events" | "cloud" | "S3" | "SQS" | "EC2";
type AllGaps = Readonly<Record<Suite, Gaps>>;

const NOT_IMPLEMENTED = /NotImplemented/;

export const LOCAL_GAPS: AllGaps = {
  store: {},
  events: {},
  cloud: {},
  S3: {
    "an object takes tags and gives them back": {
      why: "no tags",
      says: NOT_IMPLEMENTED,
    },
    "an object takes an ACL": { why: "no ACLs", says: NOT_IMPLEMENTED },
    "an object says that it is encrypted when that was asked for": {
      why: "no encryption",
      says: NOT_IMPLEMENTED,
    },
    "an object that was sent without a checksum has CRC64NVME": {
      why: "a checksum that was not sent is not made up",
      says: /expected undefined to be/,
    },
    "GetObjectAttributes tells size and ETag": {
      why: "no GetObjectAttributes",
      says: NOT_IMPLEMENTED,
    },
    "a part of an object is read by its number": {
      why: "no reading by part number",
      says: NOT_IMPLEMENTED,
    },
    "a bucket keeps versions when it is told to": {
      why: "no versions",
      says: NOT_IMPLEMENTED,
    },
  },
  SQS: {
    "a FIFO queue keeps the order of a group": {
      why: "no FIFO queues",
      says: /FIFO queues are not implemented/,
    },
    "a queue takes tags and gives them back": { why: "no tags", says: NOT_IMPLEMENTED },
  },
  EC2: {},
};

/** How an assertion says that a refusal did not come. */
const notRefused = (code: string): RegExp => new RegExp(`expected 'done' to be '${code}'`);
const NO_TOKENS = "client tokens mean nothing";
const NO_DIGEST = "bodies are not held against what was said of them";

export const MOTO_GAPS: AllGaps = {
  store: {
    'a key with "line\\nbreak" in it is put, found, listed and removed': {
      why: "a line break in a key is an internal error",
      says: /mismatched tags <html>/,
    },
    'a copy of "line\\nbreak" is the same object': {
      why: "a line break in a key is an internal error",
      says: /mismatched tags <html>/,
    },
  },
  events: {},
  cloud: {
    "the same launch again gives the same instances, however often and at once": {
      why: NO_TOKENS,
      says: /expected 4 to be 1/,
    },
    "instances are found by the token of their launch, and by no other": {
      why: "the filter client-token is an internal error",
      says: /mismatched tags <html>/,
    },
    "the token of another launch is already-launched": {
      why: NO_TOKENS,
      says: notRefused("already-launched"),
    },
    "the token of instances that are terminated is already-launched, and launches nothing": {
      why: NO_TOKENS,
      says: notRefused("already-launched"),
    },
    "an image that does not exist is refused": {
      why: "images are not looked up",
      says: notRefused("refused"),
    },
  },
  S3: {
    "metadata of more than 2 KB is MetadataTooLarge": {
      why: "metadata may be larger",
      says: notRefused("400 MetadataTooLarge"),
    },
    "a key of more than 1,024 bytes is KeyTooLongError": {
      why: "keys may be longer",
      says: notRefused("400 KeyTooLongError"),
    },
    "parts that are not named in their order are InvalidPartOrder": {
      why: "parts may be named in any order",
      says: notRefused("400 InvalidPartOrder"),
    },
    "an object that was sent without a checksum has CRC64NVME": {
      why: "a checksum that was not sent is not made up",
      says: /expected undefined to be/,
    },
    "a part of an object is read by its number": {
      why: "the whole object comes instead",
      says: /to deeply equal/,
    },
    "PutObject refuses a body with a wrong ChecksumCRC32, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "PutObject refuses a body with a wrong ChecksumCRC32C, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "PutObject refuses a body with a wrong ChecksumCRC64NVME, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "PutObject refuses a body with a wrong ChecksumSHA1, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "PutObject refuses a body with a wrong ChecksumSHA256, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "PutObject refuses a body with a wrong ContentMD5, and keeps nothing of it": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "UploadPart refuses a part with a wrong checksum": {
      why: NO_DIGEST,
      says: notRefused("400 BadDigest"),
    },
    "the ETag and the checksum of an upload in parts are composed of the parts'": {
      why: "the number of parts is not in the checksum",
      says: /to match object/,
    },
    "CopyObject with If-None-Match spares what is there": {
      why: "copies heed no condition on their target",
      says: notRefused("412 PreconditionFailed"),
    },
    "a presigned link is good until it expires": {
      why: "nothing expires",
      says: /expected 200 to be 403/,
    },
    "a wrong secret is SignatureDoesNotMatch": {
      why: "signatures are not verified",
      says: /expected '404 NoSuchKey' to be '403 SignatureDoesNotMatch'/,
    },
  },
  SQS: {
    "a visibility of more than twelve hours is refused": {
      why: "attributes have no limits",
      says: notRefused("400 InvalidAttributeValue"),
    },
    "a key comes with its slashes plain, a space as + and the rest percent-encoded": {
      why: "slashes come as %2F",
      says: /told%2Fa/,
    },
    "an upload in parts is told once, when it is complete": {
      why: "each part is told, too",
      says: /to deeply equal/,
    },
    "a removal is told, and sequencers order the events of a key": {
      why: "no sequencer",
      says: /expected false to be true/,
    },
    "a queue that does not exist is refused as a target": {
      why: "the target of notifications is not looked up",
      says: /to be '400 InvalidArgument'/,
    },
  },
  EC2: {
    "RunInstances refuses an image that there is not": {
      why: "images are not looked up",
      says: notRefused("400 InvalidAMIID.NotFound"),
    },
    "RunInstances refuses a type that there is not": {
      why: "types are not looked up",
      says: /to be '400 InvalidParameterValue'/,
    },
    "RunInstances refuses an instance profile that there is not": {
      why: "it answers in IAM's words",
      says: /404 NoSuchEntity/,
    },
    "RunInstances refuses user-data of more than 16 KB": {
      why: "user-data has no limit",
      says: notRefused("400 InvalidParameterValue"),
    },
    "a client token is IdempotentParameterMismatch with other parameters": {
      why: NO_TOKENS,
      says: notRefused("400 IdempotentParameterMismatch"),
    },
    "a client token of instances that are terminated is IdempotentInstanceTerminated": {
      why: NO_TOKENS,
      says: notRefused("400 IdempotentInstanceTerminated"),
    },
    "the answer to RunInstances is still pending when it is listed at once": {
      why: "pending becomes running at once",
      says: /expected 'running' to be 'pending'/,
    },
    "DescribeInstances comes in pages of MaxResults": {
      why: "MaxResults is passed over",
      says: /expected 8 to be less than 8/,
    },
  },
};
