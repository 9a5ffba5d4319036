/**
 * `npm run bench`: how long Errand itself takes, on the local cloud, with a daemon as a real process.
 * Prints what it measured, each figure beside a limit measured in the same run where there is one.
 * RUNS sets the number of runs, 50 by default.
 */
import { cpus, loadavg } from "node:os";
import { listPrices } from "../src/aws/prices.ts";
import { readSnapshot } from "../src/aws/snapshot.ts";
import { chooseOffers } from "../src/core/offers.ts";
import { print } from "./bench/print.ts";
import { benchRuns, benchSandbox } from "./bench/runs.ts";
import { benchS3 } from "./bench/s3.ts";

// The SDK's word on Node 20 is not what is measured here.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const RUNS = Number(process.env.RUNS ?? 50);

async function main(): Promise<void> {
  console.log(
    `node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim()}, ${RUNS} runs, load ${loadavg()[0]?.toFixed(1)}\n`,
  );
  await benchChoice();
  await benchRuns(RUNS);
  await benchSandbox();
  await benchS3();
}

/** Choosing among all types of a region. A catalog is read once an hour and asked for every job. */
async function benchChoice(): Promise<void> {
  const snapshot = await readSnapshot();
  const types = snapshot.types.map((type) => ({
    ...type,
    hourlyUsd: listPrices.hourlyUsd(type, "us-east-1"),
  }));
  const resources = {
    cpu: 4,
    memoryBytes: 32e9,
    gpu: { count: 1 },
    diskBytes: 100e9,
    maxDurationMs: 1,
    burstable: false,
    arch: "x86_64",
    retry: { lost: 2, failed: 0 },
  } as const;
  const places = ["a", "b", "c"].map((zone) => ({ zone: `us-east-1${zone}`, subnetId: zone }));
  const catalog = {
    region: "us-east-1",
    types,
    places,
    images: [],
    isEstimate: false,
    pricedOn: "",
  };
  const times: number[] = [];
  const coldTimes: number[] = [];
  for (let count = 0; count < 500; count += 1) {
    // Another question each time, as jobs ask; one machine with a GPU in four.
    const asked = { ...resources, cpu: 1 + (count % 16), ...(count % 4 > 0 && { gpu: undefined }) };
    const { gpu, ...plain } = asked;
    const wanted = gpu ? { ...plain, gpu } : plain;
    times.push(timeOf(() => chooseOffers(wanted, catalog, { offerBandPercent: 2 })));
    const fresh = { ...catalog, types: [...types] };
    coldTimes.push(timeOf(() => chooseOffers(wanted, fresh, { offerBandPercent: 2 })));
  }
  print(`choosing among ${types.length} types`, times, 1);
  print("choosing for the first time after the catalog was read", coldTimes);
}

function timeOf(work: () => unknown): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

await main();
