/** A job that writes as fast as it may, followed live: bytes a second, and the daemon's memory meanwhile. */
import { key } from "../../src/core/layout.ts";
import type { Logs, Store } from "../../src/ports.ts";
import { submitScript } from "./jobs.ts";
import { nowMs } from "./log-latency.ts";
import { cpuMs, memoryMib } from "./processes.ts";

const MEGABYTES = Number(process.env.MEGABYTES ?? 150);
const LINE_BYTES = 100;
const LINES = (MEGABYTES * 1e6) / LINE_BYTES;
/** Blocks of a thousand lines, each with its number. */
const SCRIPT = `import sys, time
print("begin", flush=True)
for block in range(${LINES / 1000}):
    sys.stdout.write("".join("%099d\\n" % n for n in range(block * 1000, block * 1000 + 1000)))
sys.stdout.flush()
time.sleep(600)
`;

type Followed = { readonly mbPerSecond: number; readonly skipped: number; readonly lines: number };

type Followers = {
  /** By way of the daemon, and without it. */
  readonly logs: Logs;
  readonly direct: Logs;
  readonly daemonPid: number | undefined;
  readonly cloudPid: number | undefined;
};

export async function benchThroughput(
  store: Store,
  { logs, direct, daemonPid, cloudPid }: Followers,
): Promise<void> {
  const limit = await follow(store, direct);
  const memory: number[] = [];
  const watching = setInterval(() => memory.push(memoryMib(daemonPid)), 250);
  const cpuBefore = [cpuMs(daemonPid), cpuMs(cloudPid)] as const;
  const ours = await follow(store, logs);
  const cpu = (cpuMs(daemonPid) - cpuBefore[0]) / MEGABYTES;
  const cloudCpu = (cpuMs(cloudPid) - cpuBefore[1]) / MEGABYTES;
  clearInterval(watching);
  const half = memory.slice(memory.length / 2);
  console.log(
    `a log of ${MEGABYTES} MB in lines of ${LINE_BYTES} B through the daemon: ${ours.mbPerSecond.toFixed(1)} MB/s, ${ours.lines} lines, ${ours.skipped} skipped (aim 10 MB/s; limit, the same log by a session without the daemon: ${limit.mbPerSecond.toFixed(1)} MB/s)`,
  );
  console.log(
    `by time on the processor a MB takes the daemon ${cpu.toFixed(0)} ms and the local cloud, which sends it and stores it, ${cloudCpu.toFixed(0)} ms: with a core each ${(1e3 / Math.max(cpu, cloudCpu)).toFixed(1)} MB/s`,
  );
  console.log(
    `the daemon's memory meanwhile: ${memory[0]?.toFixed(0)} MiB at the beginning, ${Math.max(...memory).toFixed(0)} at most, ${Math.max(...half).toFixed(0)} at most in the second half`,
  );
}

async function follow(store: Store, logs: Logs): Promise<Followed> {
  const { run, instanceId } = await submitScript(store, SCRIPT);
  let [lines, skipped, bytes, begin] = [0, 0, 0, 0];
  for await (const event of logs.follow(instanceId, 1, AbortSignal.timeout(240_000))) {
    if (event.type === "skipped") skipped += event.lastLine - event.firstLine + 1;
    if (event.type !== "lines") continue;
    if (begin === 0) begin = nowMs();
    lines += event.lines.length;
    for (const { text } of event.lines) bytes += text.length + 1;
    if (event.lines.at(-1)?.text.endsWith(String(LINES - 1))) break;
  }
  // Its machine must be there until the last line was read.
  await store.put(key.cancel(run), JSON.stringify({ now: true, at: Date.now() }));
  return { mbPerSecond: bytes / 1e3 / (nowMs() - begin), skipped, lines };
}
