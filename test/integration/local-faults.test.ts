/** Faults of calls, launches and events, planted by control calls and met through the AWS SDK over the wire. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  DescribeInstancesCommand,
  EC2Client,
  type RunInstancesCommandInput,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import {
  DeleteMessageCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { callLocalCloud } from "../../src/cli/local-control.ts";
import { makeCredentials } from "../../src/local/credentials.ts";
import { type FaultCalls, makeFaultCalls } from "../support/faults.ts";
import { TEST_TYPES } from "../support/local-ec2.ts";
import { launch, WAIT, waitForState } from "../support/machine.ts";
import {
  makeBucketCalls,
  refusalOf,
  startTestCloud,
  type TestCloud,
} from "../support/test-cloud.ts";

let world: TestCloud;
let ec2: EC2Client;
let ssm: SSMClient;
const faults: FaultCalls = makeFaultCalls(() => world.cloud);
const { put, read } = makeBucketCalls(() => world.s3);

beforeAll(async () => {
  world = await startTestCloud({ instanceTypes: TEST_TYPES, bootMs: 10 });
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  const credentials = { accessKeyId, secretAccessKey };
  ec2 = new EC2Client({ endpoint, region, credentials, maxAttempts: 1 });
  ssm = new SSMClient({ endpoint, region, credentials, maxAttempts: 1 });
});

afterEach(async () => {
  await faults.clear();
  const Filters = [{ Name: "instance-state-name", Values: ["pending", "running"] }];
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters }));
  const InstanceIds = Reservations.flatMap(({ Instances = [] }) =>
    Instances.map(({ InstanceId = "" }) => InstanceId),
  );
  if (InstanceIds.length > 0) await ec2.send(new TerminateInstancesCommand({ InstanceIds }));
  for (const id of InstanceIds) await waitForState(ec2, id, "terminated");
});

afterAll(async () => {
  ec2.destroy();
  ssm.destroy();
  await world.dispose();
});

const run = (more: Partial<RunInstancesCommandInput> = {}) => launch(ec2, "#!/bin/sh\n", more);
const only = async (rule: object): Promise<string> => (await faults.add(rule))[0] ?? "";
const parameter = () => ssm.send(new GetParameterCommand({ Name: "/none" }));

describe("calls", () => {
  it.each([
    ["PreconditionFailed", 412],
    ["ConditionalRequestConflict", 409],
    ["SlowDown", 503],
    ["InternalError", 500],
  ])("S3 answers %s with %i where a rule says so, and writes nothing", async (code, status) => {
    const key = `planted/${code}`;
    const id = await only({ fault: "error", operation: "s3:PutObject", match: { key }, code });
    await put("planted/other", "x");
    await expect(put(key, "x")).rejects.toMatchObject({
      name: code,
      $metadata: { httpStatusCode: status },
    });
    expect(await refusalOf(read(key))).toBe("NoSuchKey");
    expect(await faults.fired(id)).toBe(1);
  });

  it("an upload's completion fails in the body of a 200, and may be tried again", async () => {
    const target = { Bucket: world.cloud.bucket, Key: "planted/late" };
    const { UploadId } = await world.s3.send(new CreateMultipartUploadCommand(target));
    const part = { ...target, UploadId, PartNumber: 1 };
    const { ETag } = await world.s3.send(new UploadPartCommand({ ...part, Body: "x" }));
    const complete = new CompleteMultipartUploadCommand({
      ...target,
      UploadId,
      MultipartUpload: { Parts: [{ ETag, PartNumber: 1 }] },
    });
    const code = "InternalError";
    const operation = "s3:CompleteMultipartUpload";
    await faults.add({ fault: "error", operation, code, status: 200, times: 2 });
    const unsignableHeaders = new Set(["content-length"]);
    const link = await getSignedUrl(world.s3, complete, { unsignableHeaders });
    const answer = await fetch(link, { method: "POST" });
    expect([answer.status, await answer.text()]).toEqual([
      200,
      expect.stringContaining("<Error><Code>InternalError</Code>"),
    ]);
    expect(await refusalOf(world.s3.send(complete))).toBe(code);
    expect(await refusalOf(read(target.Key))).toBe("NoSuchKey");
    await world.s3.send(complete);
    expect((await read(target.Key)).toString()).toBe("x");
  });

  it("each service says in its own words that it is called too often", async () => {
    await faults.add({ fault: "throttle", operation: "ec2:*" });
    await faults.add(
      { fault: "throttle", operation: "s3:*" },
      { fault: "throttle", operation: "sqs:*" },
    );
    await faults.add({ fault: "throttle", operation: "ssm:GetParameter*" });
    const { queueUrl: QueueUrl } = world.cloud;
    expect(await refusalOf(ec2.send(new DescribeInstancesCommand({})))).toBe(
      "RequestLimitExceeded",
    );
    expect(await refusalOf(put("x", "x"))).toBe("SlowDown");
    expect(await refusalOf(parameter())).toBe("ThrottlingException");
    const send = new SendMessageCommand({ QueueUrl, MessageBody: "x" });
    expect(await refusalOf(world.sqs.send(send))).toMatch(/Throttled/);
    expect((await faults.list()).map(({ fired }) => fired)).toEqual([1, 1, 1, 1]);
  });

  it("a lost reply: the write is done, and the caller hears nothing", async () => {
    const id = await only({ fault: "lost-reply", operation: "s3:PutObject", times: 1 });
    await expect(put("lost/reply", "kept")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect((await read("lost/reply")).toString()).toBe("kept");
    expect(await faults.fired(id)).toBe(1);
  });

  it("a launch whose reply is lost has launched, and its token gives the same instances", async () => {
    await only({ fault: "lost-reply", operation: "ec2:RunInstances", times: 1 });
    await expect(run({ ClientToken: "lost" })).rejects.toMatchObject({ code: "ECONNRESET" });
    const Filters = [{ Name: "client-token", Values: ["lost"] }];
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters }));
    const ids = Reservations.flatMap(({ Instances = [] }) =>
      Instances.map(({ InstanceId }) => InstanceId),
    );
    expect(ids).toHaveLength(1);
    expect(await run({ ClientToken: "lost" })).toEqual(ids);
  });

  it("a lost request: nothing is done, and the caller hears nothing", async () => {
    const id = await only({ fault: "lost-request", operation: "s3:PutObject", times: 1 });
    await expect(put("lost/request", "x")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await refusalOf(read("lost/request"))).toBe("NoSuchKey");
    expect(await faults.fired(id)).toBe(1);
  });

  it("a delay: the answer is right and comes no earlier", async () => {
    await put("late", "answer");
    const id = await only({ fault: "delay", operation: "s3:GetObject", ms: 300 });
    const startedAt = performance.now();
    expect((await read("late")).toString()).toBe("answer");
    expect(performance.now() - startedAt).toBeGreaterThan(290);
    expect(await faults.fired(id)).toBe(1);
  });

  it("by a parameter of EC2, and by who calls", async () => {
    const id = await only({
      fault: "error",
      operation: "ec2:RunInstances",
      match: { InstanceType: "m5.*", caller: "owner" },
      code: "Unavailable",
    });
    await run({ InstanceType: "t3.micro" });
    expect(await refusalOf(run())).toBe("Unavailable");
    await only({ fault: "throttle", operation: "ec2:*", match: { caller: "i-*" } });
    await ec2.send(new DescribeInstancesCommand({}));
    expect(await faults.fired(id)).toBe(1);
  });

  it("have the same faults for the same seed and sequence of requests", async () => {
    const play = async (seed: number): Promise<string> => {
      await faults.clear();
      await faults.add({ fault: "throttle", operation: "ssm:*", probability: 0.4, seed });
      const answers: string[] = [];
      for (let call = 0; call < 30; call += 1) answers.push(await refusalOf(parameter()));
      expect(answers).toContain("ThrottlingException");
      expect(answers).toContain("ParameterNotFound");
      return answers.join(" ");
    };
    const first = await play(11);
    expect(await play(11)).toBe(first);
    expect(await play(12)).not.toBe(first);
  });
});

describe("launches", () => {
  it("find no capacity for a type in a zone, and some elsewhere", async () => {
    const id = await only({ fault: "no-capacity", type: "m5.*", zone: "us-east-1a" });
    const inZone = (SubnetId: string, InstanceType: "m5.large" | "t3.micro" = "m5.large") =>
      run({ SubnetId, InstanceType });
    await expect(inZone("subnet-0e44a2d000000000a")).rejects.toMatchObject({
      name: "InsufficientInstanceCapacity",
      message: expect.stringContaining("us-east-1a"),
    });
    expect(await inZone("subnet-0e44a2d000000000b")).toHaveLength(1);
    expect(await inZone("subnet-0e44a2d000000000a", "t3.micro")).toHaveLength(1);
    expect(await faults.fired(id)).toBe(1);
  });

  it("find room for some: all or none of a fixed number, and as many as there are of a range", async () => {
    await only({ fault: "no-capacity", room: 3 });
    expect(await refusalOf(run({ MinCount: 4, MaxCount: 4 }))).toBe("InsufficientInstanceCapacity");
    expect(await run({ MinCount: 1, MaxCount: 2 })).toHaveLength(2);
    expect(await run({ MinCount: 1, MaxCount: 5 })).toHaveLength(1);
    expect(await refusalOf(run())).toBe("InsufficientInstanceCapacity");
  });

  it("that were answered before are answered again although there is no capacity now", async () => {
    const ids = await run({ ClientToken: "before" });
    await only({ fault: "no-capacity" });
    expect(await run({ ClientToken: "before" })).toEqual(ids);
  });

  it("are held to a quota of vCPUs by family", async () => {
    const id = await only({ fault: "quota", family: "standard", vcpus: 4 });
    const [first = ""] = await run({ MinCount: 2, MaxCount: 2 });
    expect(await refusalOf(run())).toBe("VcpuLimitExceeded");
    expect(await run({ InstanceType: "g5.xlarge" })).toHaveLength(1);
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [first] }));
    await waitForState(ec2, first, "terminated");
    expect(await run()).toHaveLength(1);
    expect(await faults.fired(id)).toBe(1);
  });

  it("find a quota still used for a while after an instance is gone", async () => {
    await only({ fault: "quota", family: "other", vcpus: 8, releaseMs: 1_500 });
    const big = () => run({ InstanceType: "f1.2xlarge" });
    const [first = ""] = await big();
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [first] }));
    await waitForState(ec2, first, "terminated");
    expect(await refusalOf(big())).toBe("VcpuLimitExceeded");
    expect(await vi.waitFor(big, WAIT)).toHaveLength(1);
  });
});

describe("events", () => {
  const QueueUrl = () => world.cloud.queueUrl;

  async function drain(): Promise<string[]> {
    const input = { QueueUrl: QueueUrl(), MaxNumberOfMessages: 10 };
    const { Messages = [] } = await world.sqs.send(new ReceiveMessageCommand(input));
    const keys: string[] = [];
    for (const { Body = "", ReceiptHandle } of Messages) {
      await world.sqs.send(new DeleteMessageCommand({ QueueUrl: QueueUrl(), ReceiptHandle }));
      keys.push(
        ...((JSON.parse(Body).Records ?? []) as [{ s3: { object: { key: string } } }]).map(
          ({ s3 }) => s3.object.key,
        ),
      );
    }
    return keys;
  }

  /** Keys in the order of their events, once there are so many. */
  const heard = async (count: number): Promise<string[]> => {
    const keys: string[] = [];
    await vi.waitFor(async () => {
      keys.push(...(await drain()));
      expect(keys.length).toBeGreaterThanOrEqual(count);
    }, WAIT);
    return keys;
  };

  it("are lost", async () => {
    const id = await only({ fault: "event-lost", match: { key: "drops/lost" } });
    await put("drops/lost", "x");
    await put("drops/heard", "x");
    expect(await heard(1)).toEqual(["drops/heard"]);
    expect(await drain()).toEqual([]);
    expect(await faults.fired(id)).toBe(1);
  });

  it("come twice", async () => {
    const id = await only({ fault: "event-twice", source: "s3", times: 1 });
    await put("drops/twice", "x");
    expect(await heard(2)).toEqual(["drops/twice", "drops/twice"]);
    expect(await faults.fired(id)).toBe(1);
  });

  it("come late", async () => {
    const id = await only({ fault: "event-late", times: 1, ms: 700 });
    const startedAt = performance.now();
    await put("drops/late", "x");
    expect(await drain()).toEqual([]);
    expect(await heard(1)).toEqual(["drops/late"]);
    expect(performance.now() - startedAt).toBeGreaterThan(690);
    expect(await faults.fired(id)).toBe(1);
  });

  it("are overtaken by the next one", async () => {
    const id = await only({ fault: "event-out-of-order", times: 1 });
    await put("drops/first", "x");
    await put("drops/second", "x");
    expect(await heard(2)).toEqual(["drops/second", "drops/first"]);
    expect(await faults.fired(id)).toBe(1);
  });

  it("that nothing overtakes come by themselves in the end", async () => {
    await only({ fault: "event-out-of-order", times: 1, ms: 300 });
    await put("drops/alone", "x");
    expect(await heard(1)).toEqual(["drops/alone"]);
  });

  it("of EC2 are lost by the state that they tell of", async () => {
    await world.sqs.send(new PurgeQueueCommand({ QueueUrl: QueueUrl() }));
    const id = await only({ fault: "event-lost", source: "ec2", match: { state: "running" } });
    const [instance = ""] = await run();
    await waitForState(ec2, instance, "running");
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [instance] }));
    await waitForState(ec2, instance, "terminated");
    const states: string[] = [];
    await vi.waitFor(async () => {
      const input = { QueueUrl: QueueUrl(), MaxNumberOfMessages: 10 };
      const { Messages = [] } = await world.sqs.send(new ReceiveMessageCommand(input));
      states.push(...Messages.map(({ Body = "{}" }) => JSON.parse(Body).detail?.state));
      expect(states).toContain("terminated");
    }, WAIT);
    expect(states).not.toContain("running");
    expect(await faults.fired(id)).toBe(1);
  });
});

describe("the control calls", () => {
  it("are refused without a signature, with a wrong one, and with an instance's", async () => {
    expect((await fetch(`${world.cloud.endpoint}/_local/faults`)).status).toBe(403);
    const call = (keys: object) =>
      callLocalCloud(
        { ...world.cloud, pid: process.pid, ...keys },
        { method: "DELETE", path: "/_local/faults" },
      );
    await expect(call({ secretAccessKey: "guessed" })).rejects.toThrow("AuthFailure");
    const secret = Buffer.from(await readFile(join(world.directory, "secret"), "utf8"), "hex");
    const keys = makeCredentials(secret).issueForInstance("i-0123456789abcdef0", Date.now());
    await expect(call(keys)).rejects.toThrow("only the owner's keys may ask this");
    expect(await faults.list()).toEqual([]);
  });

  it("say which rule is wrong and add none of a bad list", async () => {
    const bad = faults.add({ fault: "throttle", operation: "s3:*" }, { fault: "throttle" });
    await expect(bad).rejects.toThrow("rule 2 (throttle): operation: is missing");
    expect(await faults.list()).toEqual([]);
  });

  it("remove one rule and say when there is none of that id", async () => {
    const [one = "", other = ""] = await faults.add(
      { fault: "throttle", operation: "s3:*" },
      { fault: "throttle", operation: "ec2:*" },
    );
    await faults.remove(one);
    expect((await faults.list()).map(({ id }) => id)).toEqual([other]);
    await expect(faults.remove(one)).rejects.toThrow(`there is no rule ${one}`);
  });
});
