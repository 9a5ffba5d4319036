/**
 * What anybody may put into the bucket, as often as time allows. FUZZ_CASES is how many cases there are; FUZZ_CASE=1234 is one again.
 * The process is the daemon's stand-in: a rejection that nobody handles fails the test, as it would end the daemon.
 */
import { expect, test } from "vitest";
import { type Kind, runCase, type Verdict } from "./fuzz.ts";

const CASES = Number(process.env.FUZZ_CASES ?? 200_000);
const ONE = process.env.FUZZ_CASE === undefined ? undefined : Number(process.env.FUZZ_CASE);
const AT_ONCE = 8;
const HEAP_BYTES_MAX = 1_500e6;

test(`fuzz: each of ${ONE === undefined ? CASES : `case ${ONE}`} ends as jobs or with a reason`, {
  timeout: 1_800_000,
}, async () => {
  const counts = new Map<string, number>();
  let next = ONE ?? 1;
  const end = ONE ?? CASES;
  const beganAt = performance.now();
  const work = async () => {
    while (next <= end) {
      const seed = next;
      next += 1;
      const { kind, verdict } = await runCase(seed).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
      });
      count(counts, kind, verdict);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const tookS = (performance.now() - beganAt) / 1_000;
  const { rss } = process.memoryUsage();
  const told = [...counts].sort().map(([name, times]) => `${name} ${times}`);
  const cpuS = (process.cpuUsage().user + process.cpuUsage().system) / 1e6;
  const cost = `${tookS.toFixed(0)} s, ${cpuS.toFixed(0)} s of processor, ${(rss / 1e6).toFixed(0)} MB`;
  process.stdout.write(`fuzz: ${told.join(", ")}; ${cost}\n`);
  if (ONE !== undefined) return;
  for (const kind of ["tar", "zip", "yaml", "drop"]) {
    // A generator that makes nothing but rubbish tests only the first check.
    expect(counts.get(`${kind} taken`)).toBeGreaterThan(CASES / 400);
    expect(counts.get(`${kind} refused`)).toBeGreaterThan(CASES / 400);
  }
  expect(rss).toBeLessThan(HEAP_BYTES_MAX);
});

function count(counts: Map<string, number>, kind: Kind, verdict: Verdict): void {
  const name = `${kind} ${verdict}`;
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
