/**
 * `npm run bench`: how long Errand itself takes, on the local cloud, with a daemon as a real process.
 * Prints what it measured, each figure beside a limit measured in the same run where there is one.
 * RUNS sets the number of runs, 50 by default.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { createClients } from "../src/aws/clients.ts";
import { listPrices } from "../src/aws/prices.ts";
import { readSnapshot } from "../src/aws/snapshot.ts";
import { createStore } from "../src/aws/store.ts";
import { key, runId } from "../src/core/layout.ts";
import { chooseOffers } from "../src/core/offers.ts";
import type { RunView } from "../src/core/view.ts";
import type { Store } from "../src/ports.ts";
import { benchS3 } from "./bench/s3.ts";

// The SDK's word on Node 20 is not what is measured here.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const RUNS = Number(process.env.RUNS ?? 50);
const WORKFLOWS = `
workflows:
  - {name: first, provider: python, python_script: first.py}
  - {name: second, provider: python, python_script: first.py, depends-on: [first]}
`;
/** Its first line is the moment it is written. */
const SCRIPT = "import time\nprint(time.time(), flush=True)\n";

type Line = { readonly message: string; readonly at: number } & Record<string, unknown>;

const daemonLines: Line[] = [];

async function main(): Promise<void> {
  console.log(
    `node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim()}, ${RUNS} runs\n`,
  );
  await benchChoice();
  const directory = mkdtempSync(join(tmpdir(), "errand-bench-"));
  const daemon = spawn(
    process.execPath,
    ["dist/src/cli/main.js", "daemon", "--local", "--data", directory, "--port", "0"],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ERRAND_LOG_FORMAT: "json" } },
  );
  try {
    await benchRuns(daemon, directory);
  } finally {
    daemon.kill("SIGTERM");
    await new Promise((resolve) => daemon.once("exit", resolve));
    rmSync(directory, { recursive: true, force: true });
  }
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

async function benchRuns(daemon: ChildProcess, directory: string): Promise<void> {
  const ready = await listen(daemon);
  const note = JSON.parse(readFileSync(join(directory, "local.json"), "utf8")) as {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
  };
  const clients = createClients({
    region: "us-east-1",
    endpoint: ready.endpoint,
    credentials: note,
  });
  const store = createStore(clients.s3, ready.bucket);
  await benchStore(store);

  const bundle = await packBundle();
  const measured: Measured[] = [];
  const cpuBefore = cpuSeconds(daemon.pid);
  const begin = Date.now();
  for (let count = 0; count < RUNS; count += 1)
    measured.push(await measureRun(store, bundle, count));
  const wallSeconds = (Date.now() - begin) / 1000;
  const cpu = cpuSeconds(daemon.pid) - cpuBefore;
  clients.close();

  print(
    "drop -> RunInstances sent",
    measured.map((each) => each.dropToLaunch),
    100,
  );
  print(
    "report -> next job's RunInstances sent",
    measured.map((each) => each.reportToLaunch),
    100,
  );
  print(
    "report -> TerminateInstances sent",
    measured.map((each) => each.reportToTerminate),
    100,
  );
  print(
    "bootstrap start -> script's first line",
    measured.map((each) => each.bootToLine),
    1000,
  );
  console.log(`\n${RUNS} runs of two jobs, one after the other, in ${wallSeconds.toFixed(1)} s`);
  console.log(
    `daemon with the local cloud in its process: ${((cpu / wallSeconds) * 100).toFixed(0)} % of a core, ${memoryMib(daemon.pid)} MiB at most`,
  );
}

/** The limit of this machine: what one write and one read of the bucket take. */
async function benchStore(store: Store): Promise<void> {
  const times: number[] = [];
  for (let count = 0; count < 200; count += 1) {
    const begin = performance.now();
    await store.put("bench/object", `{"count": ${count}}`);
    await store.find("bench/object");
    times.push(performance.now() - begin);
  }
  print("limit: one put and one get through the SDK", times);
}

async function listen(daemon: ChildProcess): Promise<{ endpoint: string; bucket: string }> {
  const { stdout, stderr } = daemon;
  if (!stdout || !stderr) throw new Error("the daemon has no output");
  createInterface({ input: stderr }).on("line", (text) => {
    if (!text.startsWith("{")) return;
    const line = JSON.parse(text) as Record<string, unknown>;
    daemonLines.push({
      ...line,
      message: String(line.message),
      at: Date.parse(String(line.timestamp)),
    });
  });
  for await (const text of createInterface({ input: stdout })) {
    if (text.startsWith("ready ")) return JSON.parse(text.slice("ready ".length));
  }
  throw new Error("the daemon ended before it was ready");
}

type Measured = {
  readonly dropToLaunch: number;
  readonly reportToLaunch: number;
  readonly reportToTerminate: number;
  readonly bootToLine: number;
};

async function measureRun(store: Store, bundle: Uint8Array, count: number): Promise<Measured> {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const suffix = `bench${letters[count % 26]}`;
  const id = runId(new Date(Date.UTC(2026, 0, 1) + count * 1000).toISOString(), suffix);
  const first = daemonLines.length;
  await store.put(`drops/${id}.tar.gz`, bundle);
  const droppedAt = Date.now();
  const view = await waitForRun(store, id);
  await waitForLines(first);
  const lines = daemonLines.slice(first);
  const launches = lines.filter((line) => line.message === "instances launched");
  const finished = lines.filter(
    (line) => line.message === "report absorbed" && line.stage === "finished",
  );
  const terminated = lines.find(
    (line) =>
      line.message === "instance terminated" &&
      line.instanceId === view.jobs[1]?.attempts[0]?.instanceId,
  );
  const reportedAt = finished.map((line) => Number(line.reportedAt));
  return {
    dropToLaunch: Number(launches[0]?.sentAt) - droppedAt,
    reportToLaunch: Number(launches[1]?.sentAt) - (reportedAt[0] ?? Number.NaN),
    reportToTerminate: Number(terminated?.sentAt) - (reportedAt[1] ?? Number.NaN),
    bootToLine: await readBootToLine(store, id, lines, view),
  };
}

/** From the first act of the user-data, which the runner tells, to what the script wrote as its first line. */
async function readBootToLine(
  store: Store,
  id: string,
  lines: readonly Line[],
  view: RunView,
): Promise<number> {
  const chunks = await store.list(key.log(id, "first", 1));
  const bodies = await Promise.all(chunks.map((chunk) => store.find(chunk.key)));
  const text = bodies.map((object) => new TextDecoder().decode(object?.body)).join("");
  const writtenAt = Number(text.split("\n").find((line) => /^\d+\.\d+$/.test(line))) * 1000;
  const started = lines.find(
    (line) =>
      line.message === "report absorbed" && line.stage === "started" && line.job === "first",
  );
  const bootMs = view.jobs[0]?.attempts[0]?.phases.boot ?? Number.NaN;
  return writtenAt - (Number(started?.reportedAt) - bootMs);
}

async function waitForRun(store: Store, id: string): Promise<RunView> {
  for (let count = 0; count < 3_000; count += 1) {
    const object = await store.find(key.status(id));
    const view = object && (JSON.parse(new TextDecoder().decode(object.body)) as RunView);
    if (view && view.finishedAt !== null) {
      if (view.state !== "succeeded") throw new Error(`run ${id}: ${JSON.stringify(view)}`);
      return view;
    }
    await sleep(20);
  }
  throw new Error(`run ${id} has not ended within a minute`);
}

/** The log comes by a pipe, a moment after the status. */
async function waitForLines(first: number): Promise<void> {
  for (let count = 0; count < 100; count += 1) {
    if (daemonLines.slice(first).some((line) => line.message === "run finished")) return;
    await sleep(10);
  }
}

async function packBundle(): Promise<Uint8Array> {
  const archive = pack();
  archive.entry({ name: ".dstack/workflows.yaml" }, WORKFLOWS);
  archive.entry({ name: "first.py" }, SCRIPT);
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  return gzipSync(Buffer.concat(parts));
}

function print(what: string, timesMs: readonly number[], aimMs?: number): void {
  const times = timesMs.filter((time) => !Number.isNaN(time)).toSorted((a, b) => a - b);
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  const digits = at(0.5) < 10 ? 2 : 0;
  const aim = aimMs === undefined ? "" : `, aim ${aimMs} ms`;
  const lost = timesMs.length - times.length;
  const missing = lost > 0 ? `, ${lost} not measured` : "";
  console.log(
    `${what}: median ${at(0.5).toFixed(digits)} ms, p99 ${at(0.99).toFixed(digits)} ms (${times.length}${aim}${missing})`,
  );
}

/** Of a process, from /proc; NaN where there is none. */
function cpuSeconds(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

function memoryMib(pid: number | undefined): string {
  try {
    const kib = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return String(Math.round(Number(kib) / 1024));
  } catch {
    return "unknown";
  }
}

await main();
