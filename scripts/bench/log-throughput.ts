/** Jobs that write as fast as they may, and 10 MB a second, followed live: bytes a second, and the daemon's memory meanwhile. */
import { key } from "../../src/core/layout.ts";
import type { Logs, Store } from "../../src/ports.ts";
import { submitScript } from "./jobs.ts";
import { nowMs } from "./log-latency.ts";
import { cpuMs, memoryMib } from "./processes.ts";

const MEGABYTES = Number(process.env.MEGABYTES ?? 150);
/** What is followed live of one job is 256 MiB; then chunks go on alone. */
const STEADY_SECONDS = Number(process.env.STEADY_SECONDS ?? 20);
const STEADY_MB = 10;
const LINE_BYTES = 100;

/** Blocks of a thousand lines, each with its number, `perSecond` of them at the most. */
const script = (lines: number, perSecond = Number.POSITIVE_INFINITY): string => `import sys, time
print("begin", flush=True)
begin = time.monotonic()
for block in range(${lines / 1000}):
    sys.stdout.write("".join("%099d\\n" % n for n in range(block * 1000, block * 1000 + 1000)))
    ahead = block / ${Number.isFinite(perSecond) ? perSecond : 1e9} - (time.monotonic() - begin)
    if ahead > 0: time.sleep(ahead)
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

export async function benchThroughput(store: Store, followers: Followers): Promise<void> {
  const { logs, direct, daemonPid, cloudPid } = followers;
  const lines = (MEGABYTES * 1e6) / LINE_BYTES;
  const limit = await follow(store, direct, { lines, text: script(lines) });
  const cpuBefore = [cpuMs(daemonPid), cpuMs(cloudPid)] as const;
  const ours = await follow(store, logs, { lines, text: script(lines) });
  const cpu = (cpuMs(daemonPid) - cpuBefore[0]) / MEGABYTES;
  const cloudCpu = (cpuMs(cloudPid) - cpuBefore[1]) / MEGABYTES;
  console.log(
    `a log of ${MEGABYTES} MB in lines of ${LINE_BYTES} B through the daemon: ${ours.mbPerSecond.toFixed(1)} MB/s, ${ours.lines} lines, ${ours.skipped} skipped (aim ${STEADY_MB} MB/s; limit, the same log by a session without the daemon: ${limit.mbPerSecond.toFixed(1)} MB/s)`,
  );
  console.log(
    `by time on the processor a MB takes the daemon ${cpu.toFixed(0)} ms and the local cloud, which sends it and stores it, ${cloudCpu.toFixed(0)} ms: with a core each ${(1e3 / Math.max(cpu, cloudCpu)).toFixed(1)} MB/s`,
  );
  await benchSteady(store, followers);
}

/** Memory is flat when the last quarter needs no more than the second. */
async function benchSteady(store: Store, { logs, daemonPid }: Followers): Promise<void> {
  const memory: number[] = [];
  const watching = setInterval(() => memory.push(memoryMib(daemonPid)), 250);
  const lines = (STEADY_SECONDS * STEADY_MB * 1e6) / LINE_BYTES;
  const text = script(lines, (STEADY_MB * 1e6) / LINE_BYTES / 1000);
  const steady = await follow(store, logs, { lines, text });
  clearInterval(watching);
  const quarters = [0, 1, 2, 3].map((each) => {
    const part = memory.slice((each * memory.length) / 4, ((each + 1) * memory.length) / 4);
    return Math.max(...part).toFixed(0);
  });
  console.log(
    `a log that grows by ${STEADY_MB} MB/s for ${STEADY_SECONDS} s: ${steady.mbPerSecond.toFixed(1)} MB/s, ${steady.lines} lines, ${steady.skipped} skipped; the daemon's memory at most in each quarter: ${quarters.join(", ")} MiB`,
  );
}

async function follow(
  store: Store,
  logs: Logs,
  job: { lines: number; text: string },
): Promise<Followed> {
  const { run, instanceId } = await submitScript(store, job.text);
  let [lines, skipped, bytes, begin] = [0, 0, 0, 0];
  for await (const event of logs.follow(instanceId, 1, AbortSignal.timeout(240_000))) {
    if (event.type === "skipped") skipped += event.lastLine - event.firstLine + 1;
    if (event.type !== "lines") continue;
    if (begin === 0) begin = nowMs();
    lines += event.lines.length;
    for (const { text } of event.lines) bytes += text.length + 1;
    if (event.lines.at(-1)?.text.endsWith(String(job.lines - 1))) break;
  }
  // Its machine must be there until the last line was read.
  await store.put(key.cancel(run), JSON.stringify({ now: true, at: Date.now() }));
  return { mbPerSecond: bytes / 1e3 / (nowMs() - begin), skipped, lines };
}
