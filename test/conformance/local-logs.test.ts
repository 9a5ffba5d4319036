/** The Logs port over the data channel of the local cloud. */
import { SSMClient } from "@aws-sdk/client-ssm";
import { afterAll, beforeAll } from "vitest";
import { createLogs } from "../../src/aws/session/logs.ts";
import {
  type SessionWorld,
  startSessionWorld,
  testClock,
  timeOf,
} from "../support/local-session.ts";
import { logsConformance } from "./logs.suite.ts";

let world: SessionWorld;
let stranger: SSMClient;

beforeAll(async () => {
  world = await startSessionWorld();
  const { endpoint, region } = world.world.cloud;
  const credentials = { accessKeyId: "AKIASTRANGER", secretAccessKey: "wrong" };
  stranger = new SSMClient({ endpoint, region, credentials });
});

afterAll(async () => {
  stranger.destroy();
  await world.dispose();
});

const noKeys = async () => {
  throw new Error("no key was asked for");
};

logsConformance("local cloud", async () => ({
  logs: world.logs,
  ...(await world.launch()),
  timeOf,
  refused: createLogs({ ssm: stranger, generateDataKey: noKeys, clock: testClock }),
}));
