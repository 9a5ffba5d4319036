/** The ports on moto, through the adapters and the AWS SDK: what holds there as well was not made to measure. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe } from "vitest";
import { createCloud } from "../../src/aws/cloud.ts";
import { createEvents } from "../../src/aws/events.ts";
import { createStore } from "../../src/aws/store.ts";
import { cloudConformance, INSTALLATION } from "../conformance/cloud.suite.ts";
import { ec2Conformance } from "../conformance/ec2.suite.ts";
import { eventsConformance } from "../conformance/events.suite.ts";
import { MOTO_GAPS } from "../conformance/gaps.ts";
import { s3Conformance } from "../conformance/s3.suite.ts";
import { sqsConformance } from "../conformance/sqs.suite.ts";
import { storeConformance } from "../conformance/store.suite.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { installTool } from "../support/tools.ts";

const tool = installTool("moto");
const suite = "bin" in tool ? describe : describe.skip;

let moto: Moto;

beforeAll(async () => {
  if (!("bin" in tool)) return;
  moto = await startMoto(tool.bin);
  const Attributes = { VisibilityTimeout: "1" };
  const QueueUrl = moto.queueUrl;
  await moto.clients.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
});
afterAll(() => moto?.stop());

/** The smallest parts that S3 takes, so that the suite's copies go both ways. */
const COPY_SIZES = { wholeBytesMax: 5 * 2 ** 20, partBytes: 5 * 2 ** 20 };
const makeStore = async () => createStore(moto.clients.s3, moto.bucket, COPY_SIZES);

/** Its notifications may be changed. */
async function makeBucket(): Promise<string> {
  const Bucket = `bucket-${randomUUID()}`;
  await moto.clients.s3.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

suite("moto", () => {
  storeConformance({ name: "moto", gaps: MOTO_GAPS.store }, makeStore);

  eventsConformance({ name: "moto", gaps: MOTO_GAPS.events }, async () => ({
    events: createEvents(moto.clients.sqs, moto.queueUrl),
    store: await makeStore(),
  }));

  s3Conformance({ name: "moto", gaps: MOTO_GAPS.S3 }, async () => ({
    s3: moto.clients.s3,
    bucket: moto.bucket,
    endpoint: moto.endpoint,
  }));

  sqsConformance({ name: "moto", gaps: MOTO_GAPS.SQS }, async () => ({
    ...moto.clients,
    bucket: await makeBucket(),
  }));

  ec2Conformance({ name: "moto", gaps: MOTO_GAPS.EC2 }, async () => ({
    ...moto.clients,
    pass: (ms) => sleep(ms),
  }));

  cloudConformance({ name: "moto", gaps: MOTO_GAPS.cloud }, async () => ({
    cloud: createCloud(moto.clients, {
      region: moto.region,
      subnets: [],
      images: {},
      installation: INSTALLATION,
      readScript: async () => "true\n:RUNNER\n",
    }),
    pass: (ms) => sleep(ms),
  }));
});
