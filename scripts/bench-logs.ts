/**
 * `npm run bench:logs`: logs as they are written, on the local cloud. LINES, MEGABYTES, STEADY_SECONDS and FOLLOWERS set the sizes; BENCH names one
 * of `latency`, `throughput`, `followers`. Each figure stands beside its aim, and beside its limit where there is one.
 */
import { cpus } from "node:os";
import path from "node:path";
import { DescribeImagesCommand } from "@aws-sdk/client-ec2";
import { type Clients, createClients } from "../src/aws/clients.ts";
import { createGenerateDataKey } from "../src/aws/session/data-key.ts";
import { createLogs } from "../src/aws/session/logs.ts";
import { createStore } from "../src/aws/store.ts";
import { systemClock } from "../src/cli/system-clock.ts";
import type { Logs } from "../src/ports.ts";
import { benchFollowers } from "./bench/log-followers.ts";
import { benchLatency, streamOf } from "./bench/log-latency.ts";
import { benchThroughput } from "./bench/log-throughput.ts";
import { type BenchCloud, startCloud, startDaemon } from "./bench/processes.ts";

// The SDK's word on Node 20 is not what is measured here.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const only = process.env.BENCH;

async function main(): Promise<void> {
  console.log(`node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim()}\n`);
  if (only !== "followers") await withDaemon();
  if (only === undefined || only === "followers") await withoutDaemon();
}

async function withDaemon(): Promise<void> {
  const cloud = await startCloud();
  const daemon = await startDaemon(cloud.note);
  const { clients, direct, close } = connect(cloud);
  try {
    const { bucket } = cloud.note;
    const store = createStore(clients.s3, bucket);
    // The stream's note is in the daemon's home.
    process.env.HOME = daemon.home;
    if (only !== "throughput") await benchLatency(store, { bucket, daemon });
    if (only !== "latency") {
      const logs = streamOf(bucket);
      const pids = { daemonPid: daemon.pid, cloudPid: cloud.pid };
      await benchThroughput(store, { logs, direct, ...pids });
    }
  } finally {
    close();
    await daemon.stop();
    await cloud.stop();
  }
}

async function withoutDaemon(): Promise<void> {
  const cloud = await startCloud(["--sandbox", "none"]);
  const { clients, direct, close } = connect(cloud);
  try {
    const { Images = [] } = await clients.ec2.send(new DescribeImagesCommand({}));
    const directory = path.resolve(cloud.directory);
    const imageId = Images[0]?.ImageId ?? "";
    await benchFollowers(clients, { logs: direct, directory, imageId });
  } finally {
    close();
    await cloud.stop();
  }
}

function connect({ note }: BenchCloud): { clients: Clients; direct: Logs; close: () => void } {
  const { region, endpoint, accessKeyId, secretAccessKey } = note;
  const where = { region, endpoint, credentials: { accessKeyId, secretAccessKey } };
  const clients = createClients(where);
  const generateDataKey = createGenerateDataKey(where);
  const direct = createLogs({ ssm: clients.ssm, generateDataKey, clock: systemClock });
  return { clients, direct, close: clients.close };
}

await main();
