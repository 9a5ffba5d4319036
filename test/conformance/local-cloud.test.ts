/** The ports on the local cloud, through the adapters and the AWS SDK, over the wire. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll } from "vitest";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import { createCloud } from "../../src/aws/cloud.ts";
import { createEvents } from "../../src/aws/events.ts";
import { createStore } from "../../src/aws/store.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";
import { cloudConformance, INSTALLATION } from "./cloud.suite.ts";
import { ec2Conformance } from "./ec2.suite.ts";
import { eventsConformance } from "./events.suite.ts";
import { LOCAL_GAPS } from "./gaps.ts";
import { s3Conformance } from "./s3.suite.ts";
import { sqsConformance } from "./sqs.suite.ts";
import { storeConformance } from "./store.suite.ts";

let world: TestCloud;
let clients: Clients;

beforeAll(async () => {
  world = await startTestCloud({ instanceTypes: [M5_LARGE], throttling: false });
  const { endpoint, region, accessKeyId, secretAccessKey, queueUrl } = world.cloud;
  clients = createClients({ region, endpoint, credentials: { accessKeyId, secretAccessKey } });
  const Attributes = { VisibilityTimeout: "1" };
  await clients.sqs.send(new SetQueueAttributesCommand({ QueueUrl: queueUrl, Attributes }));
});

afterAll(async () => {
  clients.close();
  await world.dispose();
});

const M5_LARGE = {
  name: "m5.large",
  vcpus: 2,
  memoryMib: 8192,
  architectures: ["x86_64"],
  hypervisor: "nitro",
  isBareMetal: false,
  isBurstable: false,
} as const;

/** The smallest parts that S3 takes, so that the suite's copies go both ways. */
const COPY_SIZES = { wholeBytesMax: 5 * 2 ** 20, partBytes: 5 * 2 ** 20 };

const makeStore = async () => createStore(clients.s3, world.cloud.bucket, COPY_SIZES);

/** Its notifications may be changed. */
async function makeBucket(): Promise<string> {
  const Bucket = `bucket-${randomUUID()}`;
  await clients.s3.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

/** Such an instance does nothing until it is terminated. */
const IDLE_SCRIPT = "sleep 600\n:RUNNER\n";

storeConformance({ name: "local cloud", gaps: LOCAL_GAPS.store }, makeStore);

eventsConformance({ name: "local cloud", gaps: LOCAL_GAPS.events }, async () => ({
  events: createEvents(clients.sqs, world.cloud.queueUrl),
  store: await makeStore(),
}));

s3Conformance({ name: "local cloud", gaps: LOCAL_GAPS.S3 }, async () => ({
  s3: clients.s3,
  bucket: world.cloud.bucket,
  endpoint: world.cloud.endpoint,
}));

sqsConformance({ name: "local cloud", gaps: LOCAL_GAPS.SQS }, async () => ({
  ...clients,
  bucket: await makeBucket(),
}));

ec2Conformance({ name: "local cloud", gaps: LOCAL_GAPS.EC2 }, async () => ({
  ...clients,
  pass: (ms) => sleep(ms),
}));

cloudConformance({ name: "local cloud", gaps: LOCAL_GAPS.cloud }, async () => ({
  cloud: createCloud(clients, {
    region: world.cloud.region,
    subnets: [],
    images: {},
    installation: INSTALLATION,
    readScript: async () => IDLE_SCRIPT,
  }),
  pass: (ms) => sleep(ms),
}));
