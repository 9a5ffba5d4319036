/** What is counted of the daemon's calls, against answers of the local cloud. */
import { DescribeInstancesCommand } from "@aws-sdk/client-ec2";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { GetParameterCommand } from "@aws-sdk/client-ssm";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import type { AwsCall } from "../../src/aws/watch-calls.ts";
import { type FaultCalls, makeFaultCalls } from "../support/faults.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let world: TestCloud;
let clients: Clients;
const calls: AwsCall[] = [];
const faults: FaultCalls = makeFaultCalls(() => world.cloud);

beforeAll(async () => {
  world = await startTestCloud();
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  const credentials = { accessKeyId, secretAccessKey };
  clients = createClients({ endpoint, region, credentials, onCall: (call) => calls.push(call) });
});
afterEach(async () => {
  await faults.clear();
  calls.length = 0;
});
afterAll(async () => {
  clients.close();
  await world.dispose();
});

const told = () =>
  calls.map(({ service, operation, outcome }) => `${service} ${operation} ${outcome}`);

test("a call is told of by service, operation and answer", async () => {
  const Bucket = world.cloud.bucket;
  await clients.s3.send(new PutObjectCommand({ Bucket, Key: "a", Body: "b" }));
  await clients.s3.send(new GetObjectCommand({ Bucket, Key: "none" })).catch(() => {});
  await clients.ssm.send(new GetParameterCommand({ Name: "/none" })).catch(() => {});
  expect(told()).toEqual([
    "S3 PutObject ok",
    "S3 GetObject not-found",
    "SSM GetParameter not-found",
  ]);
  expect(calls.every(({ tookMs }) => tookMs > 0 && tookMs < 60_000)).toBe(true);
});

test("each try counts, so that throttling is seen though the SDK tries again", async () => {
  await faults.add({ fault: "throttle", operation: "ec2:DescribeInstances", times: 2 });
  await clients.ec2.send(new DescribeInstancesCommand({}));
  expect(told()).toEqual([
    "EC2 DescribeInstances throttled",
    "EC2 DescribeInstances throttled",
    "EC2 DescribeInstances ok",
  ]);
});

test("an object that is unchanged is an answer like another", async () => {
  const at = { Bucket: world.cloud.bucket, Key: "same" };
  const { ETag } = await clients.s3.send(new PutObjectCommand({ ...at, Body: "b" }));
  await clients.s3.send(new GetObjectCommand({ ...at, IfNoneMatch: ETag })).catch(() => {});
  expect(told()).toEqual(["S3 PutObject ok", "S3 GetObject ok"]);
});

test("a cloud that cannot be reached is unavailable", async () => {
  const { region } = world.cloud;
  const credentials = { accessKeyId: "none", secretAccessKey: "none" };
  const onCall = (call: AwsCall) => calls.push(call);
  // Nothing listens on port 1.
  const lost = createClients({ endpoint: "http://127.0.0.1:1", region, credentials, onCall });
  await lost.launchEc2.send(new DescribeInstancesCommand({})).catch(() => {});
  lost.close();
  expect(told()).toEqual(["EC2 DescribeInstances unavailable"]);
});
