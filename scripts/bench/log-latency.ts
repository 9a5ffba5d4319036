/** From `write` in the job to whoever follows: the loopback stream, `errand logs --follow`, and a reader of the bucket alone. */
import { createInterface } from "node:readline";
import { followRun } from "../../src/cli/follow.ts";
import { createStreamLogs } from "../../src/cli/stream-logs.ts";
import { findStream } from "../../src/cli/stream-note.ts";
import { systemClock } from "../../src/cli/system-clock.ts";
import type { Logs, Store } from "../../src/ports.ts";
import { type RunningJob, submitScript } from "./jobs.ts";
import { type BenchDaemon, startCommand } from "./processes.ts";

const LINES = Number(process.env.LINES ?? 600);
const SCRIPT = `import time
for n in range(${LINES}):
    time.sleep(0.03)
    print("at", time.time() * 1000, flush=True)
print("end", flush=True)
time.sleep(1)
`;
const SETTLED_MS = 3_000;

/** `stamp` is that of the process that received it. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

export const streamOf = (bucket: string): Logs =>
  createStreamLogs(() => findStream({ directory: undefined, bucket }));

export async function benchLatency(
  store: Store,
  { bucket, daemon }: { bucket: string; daemon: BenchDaemon },
): Promise<void> {
  const job = await submitScript(store, SCRIPT);
  const [stream, command, chunks] = await Promise.all([
    timeStream(job, streamOf(bucket)),
    timeCommand(job, daemon),
    timeChunks(job, store),
  ]);
  print("write -> the daemon's loopback stream", stream, "aim p50 50 ms, p99 250 ms");
  print("write -> `errand logs --follow` near the daemon", command, "aim 200 ms");
  print("write -> a command with nothing but S3", chunks, "aim 6,000 ms; limit 2,000 + 1,000 ms");
}

async function timeStream(job: RunningJob, logs: Logs): Promise<number[]> {
  const times: number[] = [];
  const signal = AbortSignal.timeout(120_000);
  const begin = Date.now();
  for await (const event of logs.follow(job.instanceId, 1, signal)) {
    // What was written before the session was there says nothing of it.
    if (event.type !== "lines" || Date.now() - begin < SETTLED_MS) continue;
    take(
      times,
      event.lines.map(({ text }) => text),
    );
    if (event.lines.at(-1)?.text === "end") break;
  }
  return times;
}

async function timeCommand(job: RunningJob, daemon: BenchDaemon): Promise<number[]> {
  const times: number[] = [];
  const child = startCommand(["logs", job.run, "bench", "--follow"], daemon.environment);
  const begin = Date.now();
  for await (const line of createInterface({ input: child.stdout })) {
    if (Date.now() - begin > SETTLED_MS) take(times, [line]);
  }
  return times;
}

async function timeChunks(job: RunningJob, store: Store): Promise<number[]> {
  const times: number[] = [];
  await followRun(
    { store, clock: systemClock, run: job.run, pollMs: 1_000 },
    {
      onView: () => {},
      onCaughtUp: () => {},
      onWaiting: () => {},
      onLines: (_, lines) =>
        take(
          times,
          lines.map(({ text }) => text),
        ),
    },
    AbortSignal.timeout(120_000),
  );
  return times;
}

function take(times: number[], lines: readonly string[]): void {
  const now = nowMs();
  for (const line of lines) {
    const [, at] = /^at ([\d.]+)$/.exec(line) ?? [];
    if (at !== undefined) times.push(now - Number(at));
  }
}

export function print(what: string, timesMs: readonly number[], aim: string): void {
  const times = timesMs.toSorted((a, b) => a - b);
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  console.log(
    `${what}: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, most ${at(1).toFixed(1)} ms (${times.length} lines; ${aim})`,
  );
}
