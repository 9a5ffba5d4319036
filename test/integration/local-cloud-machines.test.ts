/** The parts of the local cloud as a machine of it meets them: its role in S3 and EC2, and what the queue hears of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type LocalCloud, startLocalCloud } from "../../src/local/local-cloud.ts";
import { TEST_TYPES } from "../support/local-ec2.ts";
import {
  describeInstance,
  isAlive,
  launch,
  waitForFile,
  waitForState,
} from "../support/machine.ts";

let directory: string;
let cloud: LocalCloud;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "errand-cloud-"));
  cloud = await start();
});

afterEach(async () => {
  await cloud.stop();
  await rm(directory, { recursive: true, force: true });
});

const start = (): Promise<LocalCloud> =>
  startLocalCloud({
    // As from the command line, where `.errand` is the default.
    directory: relative(process.cwd(), directory),
    port: 0,
    instanceTypes: TEST_TYPES,
    environment: { PATH: process.env.PATH ?? "" },
    bootMs: 10,
    // Its machines write where the test looks.
    sandbox: "none",
    log: () => {},
  });

type Keys = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };

const clientOptions = (keys: Keys) => ({
  region: cloud.region,
  endpoint: cloud.endpoint,
  credentials: keys,
  maxAttempts: 1,
});

const ownerEc2 = () => new EC2Client(clientOptions(cloud));

const out = (name: string): string => join(directory, name);

/** Prints what IMDS has at a path under `latest/`, as one line. */
const readMetadata = (path: string): string => `#!/usr/bin/env node
  const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT + "/latest/";
  const ttl = { "x-aws-ec2-metadata-token-ttl-seconds": "60" };
  fetch(base + "api/token", { method: "PUT", headers: ttl })
    .then((answer) => answer.text())
    .then((token) => fetch(base + ${JSON.stringify(path)}, {
      headers: { "x-aws-ec2-metadata-token": token } }))
    .then((answer) => answer.text())
    .then((text) => require("node:fs").writeFileSync(${JSON.stringify(out("metadata"))}, text + "\\n"));
`;

it("a machine's role from IMDS may write to S3 and may not ask EC2", async () => {
  const path = "meta-data/iam/security-credentials/errand-instance";
  await launch(ownerEc2(), readMetadata(path), {
    IamInstanceProfile: { Name: cloud.instanceProfile },
  });
  const credentials = JSON.parse(await waitForFile(out("metadata")));
  const options = clientOptions({
    accessKeyId: credentials.AccessKeyId,
    secretAccessKey: credentials.SecretAccessKey,
    sessionToken: credentials.Token,
  });
  const s3 = new S3Client({ ...options, forcePathStyle: true });
  const put = await s3.send(
    new PutObjectCommand({ Bucket: cloud.bucket, Key: "inbox/reports/x.json", Body: "{}" }),
  );
  expect(put.$metadata.httpStatusCode).toBe(200);
  const ec2 = new EC2Client(options);
  await expect(ec2.send(new DescribeInstancesCommand({}))).rejects.toMatchObject({
    name: "UnauthorizedOperation",
  });
});

it("the queue hears of every state of an instance", async () => {
  const [id = ""] = await launch(ownerEc2(), "#!/bin/sh\npoweroff\n");
  const sqs = new SQSClient(clientOptions(cloud));
  const states = new Set<string>();
  await vi.waitFor(
    async () => {
      const QueueUrl = cloud.queueUrl;
      const { Messages = [] } = await sqs.send(
        new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 }),
      );
      for (const { Body = "{}", ReceiptHandle } of Messages) {
        const { detail } = JSON.parse(Body);
        if (detail?.["instance-id"] === id) states.add(detail.state);
        await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
      }
      expect([...states].toSorted()).toEqual(["pending", "running", "shutting-down", "terminated"]);
    },
    { timeout: 15_000, interval: 50 },
  );
});

it("stopped, it takes its machines along; started again, it has the same port and tells what became of them", async () => {
  const script = `#!/bin/bash\necho $$ >'${out("pid")}'\nsleep 300\n`;
  const [id = ""] = await launch(ownerEc2(), script);
  const pid = Number(await waitForFile(out("pid")));
  const { port } = cloud;
  await waitForState(ownerEc2(), id, "running");
  await cloud.stop();
  expect(isAlive(pid)).toBe(false);
  cloud = await start();
  expect(cloud.port).toBe(port);
  expect((await describeInstance(ownerEc2(), id))?.State?.Name).toBe("terminated");
});
