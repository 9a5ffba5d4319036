/** The ports on the local cloud, through the adapters and the AWS SDK, over the wire. */
import { setTimeout as sleep } from "node:timers/promises";
import { SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll } from "vitest";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import { createCloud } from "../../src/aws/cloud.ts";
import { createEvents } from "../../src/aws/events.ts";
import { createStore } from "../../src/aws/store.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";
import { cloudConformance, INSTALLATION } from "./cloud.suite.ts";
import { eventsConformance } from "./events.suite.ts";
import { storeConformance } from "./store.suite.ts";

let world: TestCloud;
let clients: Clients;

beforeAll(async () => {
  world = await startTestCloud({ instanceTypes: [M5_LARGE] });
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

/** Such an instance does nothing until it is terminated. */
const IDLE_SCRIPT = "sleep 600\n:RUNNER\n";

storeConformance({ name: "local cloud" }, makeStore);

eventsConformance({ name: "local cloud" }, async () => ({
  events: createEvents(clients.sqs, world.cloud.queueUrl),
  store: await makeStore(),
}));

cloudConformance({ name: "local cloud" }, async () => ({
  cloud: createCloud(clients, {
    region: world.cloud.region,
    subnets: [],
    images: {},
    installation: INSTALLATION,
    readScript: async () => IDLE_SCRIPT,
  }),
  pass: (ms) => sleep(ms),
}));
