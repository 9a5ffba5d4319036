/** Runs of two jobs, one after the other, by a daemon as a real process on the local cloud. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { createClients } from "../../src/aws/clients.ts";
import { createStore } from "../../src/aws/store.ts";
import { key, runId } from "../../src/core/layout.ts";
import type { RunView } from "../../src/core/view.ts";
import type { Store } from "../../src/ports.ts";
import { median, print } from "./print.ts";

const WORKFLOWS = `
workflows:
  - {name: first, provider: python, python_script: first.py}
  - {name: second, provider: python, python_script: first.py, depends-on: [first]}
`;
/** Its first line is the moment it is written. */
const SCRIPT = "import time\nprint(time.time(), flush=True)\n";
/** From the runner's first instruction to the job's first line, where nothing has to be installed. */
const FIRST_LINE_MS = 500;
const SANDBOX_MS = 50;
const SANDBOX_RUNS = 10;

type Line = { readonly message: string; readonly at: number } & Record<string, unknown>;

type Host = {
  readonly daemon: ChildProcess;
  readonly store: Store;
  /** Of the daemon's log, up to now. */
  readonly lines: readonly Line[];
  /** What isolates its machines. */
  readonly sandbox: string;
};

export async function benchRuns(runs: number): Promise<void> {
  await withDaemon("auto", async (host) => {
    await benchStore(host.store);
    const cpuBefore = cpuSeconds(host.daemon.pid);
    const begin = Date.now();
    const measured = await measureRuns(host, runs);
    const wallSeconds = (Date.now() - begin) / 1000;
    const cpu = cpuSeconds(host.daemon.pid) - cpuBefore;
    const of = (what: keyof Measured) => measured.map((each) => each[what]);
    print("drop -> RunInstances sent", of("dropToLaunch"), 100);
    print("report -> next job's RunInstances sent", of("reportToLaunch"), 100);
    print("report -> TerminateInstances sent", of("reportToTerminate"), 100);
    const name = `runner's first instruction -> script's first line, sandbox ${host.sandbox}`;
    print(name, of("bootToLine"), FIRST_LINE_MS);
    console.log(`\n${runs} runs of two jobs, one after the other, in ${wallSeconds.toFixed(1)} s`);
    console.log(
      `daemon with the local cloud in its process: ${((cpu / wallSeconds) * 100).toFixed(0)} % of a core, ${memoryMib(host.daemon.pid)} MiB at most`,
    );
  });
}

/** What isolation adds on the way from RunInstances to the script's first line; half of that is the pending instance. */
export async function benchSandbox(): Promise<void> {
  const measure = (sandbox: "auto" | "none") =>
    withDaemon(sandbox, async (host) => {
      const measured = await measureRuns(host, SANDBOX_RUNS);
      const times = measured.map(({ launchToLine }) => launchToLine);
      print(`RunInstances sent -> script's first line, sandbox ${host.sandbox}`, times);
      return median(times);
    });
  console.log("");
  const open = await measure("none");
  const added = (await measure("auto")) - open;
  console.log(`a sandbox adds ${added.toFixed(0)} ms (aim ${SANDBOX_MS} ms)`);
}

async function withDaemon<Result>(
  sandbox: "auto" | "none",
  work: (host: Host) => Promise<Result>,
): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), "errand-bench-"));
  writeFileSync(join(directory, "settings.yaml"), `sandbox: ${sandbox}\n`);
  const daemon = spawn(
    process.execPath,
    ["dist/src/cli/main.js", "daemon", "--local", "--data", directory, "--port", "0"],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ERRAND_LOG_FORMAT: "json" } },
  );
  const lines: Line[] = [];
  try {
    const ready = await listen(daemon, lines);
    const credentials = JSON.parse(readFileSync(join(directory, "local.json"), "utf8"));
    const clients = createClients({ region: "us-east-1", endpoint: ready.endpoint, credentials });
    const health = (await (await fetch(`${ready.endpoint}/_local/health`)).json()) as {
      readonly sandbox: string;
    };
    const store = createStore(clients.s3, ready.bucket);
    const result = await work({ daemon, store, lines, sandbox: health.sandbox });
    clients.close();
    return result;
  } finally {
    daemon.kill("SIGTERM");
    await new Promise((resolve) => daemon.once("exit", resolve));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measureRuns(host: Host, runs: number): Promise<readonly Measured[]> {
  const bundle = await packBundle();
  const measured: Measured[] = [];
  for (let count = 0; count < runs; count += 1)
    measured.push(await measureRun(host, bundle, count));
  return measured;
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

async function listen(
  daemon: ChildProcess,
  lines: Line[],
): Promise<{ endpoint: string; bucket: string }> {
  const { stdout, stderr } = daemon;
  if (!stdout || !stderr) throw new Error("the daemon has no output");
  createInterface({ input: stderr }).on("line", (text) => {
    if (!text.startsWith("{")) return;
    const line = JSON.parse(text) as Record<string, unknown>;
    lines.push({
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
  readonly launchToLine: number;
  readonly bootToLine: number;
};

async function measureRun(host: Host, bundle: Uint8Array, count: number): Promise<Measured> {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const suffix = `bench${letters[count % 26]}`;
  const id = runId(new Date(Date.UTC(2026, 0, 1) + count * 1000).toISOString(), suffix);
  const { store } = host;
  const first = host.lines.length;
  await store.put(`drops/${id}.tar.gz`, bundle);
  const droppedAt = Date.now();
  const view = await waitForRun(store, id);
  await waitForLines(host, first);
  const lines = host.lines.slice(first);
  const launches = lines.filter((line) => line.message === "instances launched");
  const finished = lines.filter(
    (line) => line.message === "report absorbed" && line.stage === "finished",
  );
  const terminated = lines.find(
    (line) =>
      line.message === "instance terminated" &&
      line.instanceId === view.jobs[1]?.attempts[0]?.instanceId,
  );
  const writtenAt = await readFirstLine(store, id);
  const reportedAt = finished.map((line) => Number(line.reportedAt));
  return {
    dropToLaunch: Number(launches[0]?.sentAt) - droppedAt,
    reportToLaunch: Number(launches[1]?.sentAt) - (reportedAt[0] ?? Number.NaN),
    reportToTerminate: Number(terminated?.sentAt) - (reportedAt[1] ?? Number.NaN),
    launchToLine: writtenAt - Number(launches[0]?.sentAt),
    bootToLine: writtenAt - firstActAt(lines, view),
  };
}

/** When the script wrote its first line, which says so. */
async function readFirstLine(store: Store, id: string): Promise<number> {
  const chunks = await store.list(key.log(id, "first", 1));
  const bodies = await Promise.all(chunks.map((chunk) => store.find(chunk.key)));
  const text = bodies.map((object) => new TextDecoder().decode(object?.body)).join("");
  return Number(text.split("\n").find((line) => /^\d+\.\d+$/.test(line))) * 1000;
}

/** Of the user-data, as the runner tells it. */
function firstActAt(lines: readonly Line[], view: RunView): number {
  const started = lines.find(
    (line) =>
      line.message === "report absorbed" && line.stage === "started" && line.job === "first",
  );
  const bootMs = view.jobs[0]?.attempts[0]?.phases.boot ?? Number.NaN;
  return Number(started?.reportedAt) - bootMs;
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
async function waitForLines({ lines }: Host, first: number): Promise<void> {
  for (let count = 0; count < 100; count += 1) {
    if (lines.slice(first).some((line) => line.message === "run finished")) return;
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
