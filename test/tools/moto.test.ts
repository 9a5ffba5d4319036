/** The ports on moto, through the adapters and the AWS SDK: what holds there as well was not made to measure. */
import { setTimeout as sleep } from "node:timers/promises";
import { SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe } from "vitest";
import { createCloud } from "../../src/aws/cloud.ts";
import { createEvents } from "../../src/aws/events.ts";
import { createStore } from "../../src/aws/store.ts";
import { cloudConformance, INSTALLATION } from "../conformance/cloud.suite.ts";
import { eventsConformance } from "../conformance/events.suite.ts";
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

suite("moto", () => {
  storeConformance("moto", makeStore);

  eventsConformance("moto", async () => ({
    events: createEvents(moto.clients.sqs, moto.queueUrl),
    store: await makeStore(),
  }));

  cloudConformance("moto", async () => ({
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
