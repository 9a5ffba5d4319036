import { expect, test } from "vitest";
import { readWakes } from "../../../src/aws/events.ts";

const s3Event = (...keys: readonly string[]) =>
  JSON.stringify({
    Records: keys.map((key) => ({
      eventVersion: "2.1",
      eventSource: "aws:s3",
      eventName: "ObjectCreated:Put",
      s3: { bucket: { name: "errand" }, object: { key, size: 3, sequencer: "0055AED6DCD90281E5" } },
    })),
  });

test.each([
  ["drops/train.tar.gz", "drops/train.tar.gz"],
  ["drops/a+b.zip", "drops/a b.zip"],
  ["drops/a%2Bb.zip", "drops/a+b.zip"],
  ["drops%2Ftrain.tar.gz", "drops/train.tar.gz"],
  ["drops/%E2%98%83.tgz", "drops/☃.tgz"],
  ["drops/100%2525.tgz", "drops/100%25.tgz"],
])("S3 means %j as %j", (sent, key) => {
  expect(readWakes(s3Event(sent))).toEqual([{ type: "object", key }]);
});

test("one message may tell of several objects", () => {
  expect(readWakes(s3Event("a", "b"))).toEqual([
    { type: "object", key: "a" },
    { type: "object", key: "b" },
  ]);
});

test("an instance's change of state wakes with its id", () => {
  const body = JSON.stringify({
    version: "0",
    source: "aws.ec2",
    "detail-type": "EC2 Instance State-change Notification",
    detail: { "instance-id": "i-0abcd1234", state: "terminated" },
  });
  expect(readWakes(body)).toEqual([{ type: "instance", instanceId: "i-0abcd1234" }]);
});

test.each([
  [
    "S3's test event",
    { Service: "Amazon S3", Event: "s3:TestEvent", Bucket: "errand", RequestId: "x" },
  ],
  ["an empty list of records", { Records: [] }],
  [
    "an object that was removed",
    {
      Records: [
        { eventSource: "aws:s3", eventName: "ObjectRemoved:Delete", s3: { object: { key: "a" } } },
      ],
    },
  ],
])("%s says nothing and may be acknowledged", (_, message) => {
  expect(readWakes(JSON.stringify(message))).toEqual([]);
});

test.each([
  ["no JSON", "hello"],
  ["JSON of another kind", '{"Type": "Notification"}'],
  ["another event of EC2", '{"source": "aws.ec2", "detail-type": "EBS", "detail": {}}'],
  [
    "a record without a key",
    '{"Records": [{"eventSource": "aws:s3", "eventName": "x", "s3": {}}]}',
  ],
  ["a key with a broken escape", s3Event("drops/%E2%98")],
  ["null", "null"],
])("%s is left for the dead letters", (_, body) => {
  expect(readWakes(body)).toBeUndefined();
});
