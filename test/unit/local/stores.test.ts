/** What the stores of S3 and SQS write down can be read again, also when they were asked for what they cannot do. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openS3Store } from "../../../src/local/s3-store.ts";
import { openQueues } from "../../../src/local/sqs-queues.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-stores-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

it("a change to messages of a queue that is gone is refused, and its journal still opens", () => {
  const path = join(folder, "journal");
  const queues = openQueues(path);
  queues.put("gone", {});
  queues.put("kept", {});
  const { id } = queues.send("gone", "x");
  queues.removeQueue("gone");
  expect(() => queues.setVisibleAt("gone", id, 0)).toThrow("there is no queue gone");
  expect(() => queues.purge("gone")).toThrow("there is no queue gone");
  queues.send("kept", "y");
  queues.close();
  const again = openQueues(path);
  expect(again.list().map(({ name }) => name)).toEqual(["kept"]);
  expect(again.count("kept").visible).toBe(1);
  again.close();
});

it("an object for a bucket that is gone is refused, and the journal still opens", () => {
  const store = openS3Store(folder);
  store.putBucket({ name: "gone", createdAt: 1, notifications: [] });
  store.removeBucket("gone");
  const object = { key: "k", etag: "e", bytes: 0, modifiedAt: 1, segments: [], headers: {} };
  expect(() => store.put("gone", object)).toThrow("there is no bucket gone");
  expect(() => store.remove("gone", "k")).toThrow("there is no bucket gone");
  store.close();
  const again = openS3Store(folder);
  expect(again.listBuckets()).toEqual([]);
  again.close();
});
