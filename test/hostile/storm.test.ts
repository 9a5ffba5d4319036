/**
 * Real processes in a storm: daemons killed at random moments, two at once, on a cloud whose events come twice or never, which refuses
 * nine calls of EC2 of ten for a while, and whose S3 is gone for a minute. STORM_KILLS, STORM_RUNS, STORM_DOWN_S and SEED change it.
 */
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createClients } from "../../src/aws/clients.ts";
import { createStore } from "../../src/aws/store.ts";
import { findView } from "../../src/cli/read-runs.ts";
import { key, runId } from "../../src/core/layout.ts";
import type { Store } from "../../src/ports.ts";
import { Random } from "../simulation/random.ts";
import { makeTarGz } from "../support/archives.ts";
import { type FaultCalls, makeFaultCalls } from "../support/faults.ts";
import { gather } from "./storm-evidence.ts";
import {
  type Daemon,
  openFullDisk,
  startDaemon,
  startStormCloud,
  startWorkCounter,
  waitUntil,
} from "./storm-processes.ts";

const KILLS = Number(process.env.STORM_KILLS ?? 200);
const RUNS = Number(process.env.STORM_RUNS ?? 50);
const DOWN_MS = Number(process.env.STORM_DOWN_S ?? 60) * 1_000;
const SEED = Number(process.env.SEED ?? 1);
/** A daemon lives at most that many times as long as one alone takes to start: two share the machine, and one of them stands by. */
const LIFE_STARTS = 3.5;
/** One end in so many is a gentle one. */
const GENTLE_EACH = 10;
const LINES = Array.from({ length: 40 }, (_, index) => `line ${index + 1}`);
const FILES = ["1", "20", "40"];
const END_MS = 600_000;

test(`${KILLS} kills over ${RUNS} runs, and more, lose nothing and leave nothing (seed ${SEED})`, {
  timeout: 1_800_000,
}, async () => {
  const random = new Random(SEED);
  const { counts: work, port } = await startWorkCounter();
  const { data, note } = await startStormCloud(port);
  const clients = createClients({ ...note, credentials: note });
  const store = createStore(clients.s3, note.bucket);
  const faults = makeFaultCalls(() => note);
  const log = openSync(path.join(data, "daemon.log"), "a");
  const told: string[] = [];

  await faults.add(
    { id: "twice", fault: "event-twice", ms: 500 },
    { id: "never", fault: "event-lost", probability: 0.1, seed: SEED },
  );
  const dropped = await dropRuns(store, port, RUNS);
  const lifeMsMax = LIFE_STARTS * (await measureStart(data, log));
  const ends = await killDaemons({ data, log, random, faults, lifeMsMax });
  told.push(
    `${ends.kills} kills (${ends.ready} of daemons that took drops), ${ends.gentle} SIGTERM`,
  );
  expect(ends.badCodes).toEqual([]);
  expect(ends.ready).toBeGreaterThan(KILLS / 40);

  const disk = await openFullDisk(data);
  const cramped = startDaemon(data, disk.log);
  await waitUntil("a daemon that takes drops", cramped.isReady, 120_000);
  const spare = openSync(path.join(data, "spare.log"), "a");
  const pair = [cramped, startDaemon(data, spare)];
  const hasBegun = async () =>
    (await readFile(path.join(data, "spare.log"), "utf8")).includes("standing by");
  await waitUntil("a second daemon that stands by", hasBegun, 120_000);
  dropped.push(...(await dropRuns(store, port, 4)));
  await waitUntil("a machine", async () => (await store.list("open/")).length > 0, 60_000);
  await faults.add({ id: "down", fault: "error", operation: "s3:*", code: "ServiceUnavailable" });
  await sleep(DOWN_MS);
  told.push(`S3 gone for ${DOWN_MS / 1_000} s: ${await faults.fired("down")} calls refused`);
  await faults.remove("down");

  await waitUntil("the end of all runs", () => areFinished(store, dropped), END_MS);
  expect(pair.map((each) => each.isAlive())).toEqual([true, true]);
  told.push(`${disk.name} for a log: ${disk.freeBytes()} bytes free`);
  expect(disk.freeBytes()).toBe(0);
  await waitUntil("an empty inbox", async () => (await store.list("inbox/")).length === 0, 60_000);
  for (const id of ["twice", "never"]) told.push(`events ${id}: ${await faults.fired(id)}`);

  const evidence = await gather(
    { store, ec2: clients.ec2, work, lines: LINES, fileNames: FILES },
    dropped,
  );
  expect(await store.list("drops/")).toEqual([]);
  expect(await store.list("open/")).toEqual([]);
  expect(await Promise.all(pair.map((each) => each.end("SIGTERM")))).toEqual([0, 0]);
  for (const file of [log, spare]) closeSync(file);
  clients.close();
  tell([...told, ...ends.told], evidence);
});

async function measureStart(data: string, log: number): Promise<number> {
  const beganAt = performance.now();
  const daemon = startDaemon(data, log);
  await waitUntil("a daemon that takes drops", daemon.isReady, 120_000);
  const tookMs = performance.now() - beganAt;
  await daemon.end("SIGKILL");
  return tookMs;
}

type Ends = {
  kills: number;
  ready: number;
  gentle: number;
  badCodes: (number | null)[];
  told: string[];
};

/** Two at once, each killed and started again at once; EC2 is throttled to a tenth for the middle third. */
async function killDaemons({
  data,
  log,
  random,
  faults,
  lifeMsMax,
}: {
  data: string;
  log: number;
  random: Random;
  faults: FaultCalls;
  lifeMsMax: number;
}): Promise<Ends> {
  const ends: Ends = { kills: 0, ready: 0, gentle: 0, badCodes: [], told: [] };
  const third = Math.ceil(KILLS / 3);
  const slot = async () => {
    while (ends.kills < KILLS) {
      const daemon = startDaemon(data, log);
      await sleep(random.between(0, lifeMsMax));
      await endOne(daemon, ends);
      if (ends.kills >= third && ends.told.length === 0) {
        ends.told.push("");
        await faults.add({
          id: "tenth",
          fault: "throttle",
          operation: "ec2:*",
          probability: 0.9,
          seed: SEED,
        });
      }
      if (ends.kills >= 2 * third && ends.told[0] === "") {
        ends.told[0] = `EC2 throttled to a tenth: ${await faults.fired("tenth")} calls refused`;
        await faults.remove("tenth");
      }
    }
  };
  await Promise.all([slot(), slot()]);
  return ends;
}

async function endOne(daemon: Daemon, ends: Ends): Promise<void> {
  const isReady = daemon.isReady();
  if (isReady && (ends.kills + ends.gentle) % GENTLE_EACH === GENTLE_EACH - 1) {
    ends.gentle += 1;
    const code = await daemon.end("SIGTERM");
    if (code !== 0) ends.badCodes.push(code);
    return;
  }
  ends.kills += 1;
  ends.ready += isReady ? 1 : 0;
  await daemon.end("SIGKILL");
}

/** Runs of one job, and of a job with one that needs it; by their ids. */
async function dropRuns(store: Store, port: number, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = runId(new Date().toISOString(), suffix());
    const bundle = await makeTarGz(makeBundle(port, index % 3 === 0));
    await store.put(`drops/${id}.tar.gz`, bundle);
    ids.push(id);
  }
  return ids;
}

const suffix = (): string =>
  Array.from(
    { length: 6 },
    () => "abcdefghijklmnopqrstuvwxyz234567"[Math.floor(Math.random() * 32)],
  ).join("");

function makeBundle(port: number, hasSecond: boolean): Record<string, string> {
  const second = hasSecond ? "  - {name: b, provider: work, depends-on: [a]}\n" : "";
  return {
    ".dstack/workflows.yaml": `workflows:\n  - {name: a, provider: work}\n${second}`,
    ".dstack/providers/work.yaml": JSON.stringify({
      jobs: [
        {
          commands: [
            `exec 3<>/dev/tcp/127.0.0.1/${port}`,
            'printf "GET /%s/%s/%s HTTP/1.0\\r\\n\\r\\n" "$ERRAND_RUN" "$ERRAND_JOB" "$ERRAND_ATTEMPT" >&3',
            "read -r <&3",
            "mkdir -p out",
            `for i in $(seq 1 ${LINES.length}); do echo "line $i"; echo "$i" > out/$i; sleep 0.05; done`,
          ],
          artifacts: ["out"],
          resources: { retry: { lost: 10 } },
        },
      ],
    }),
  };
}

async function areFinished(store: Store, ids: readonly string[]): Promise<boolean> {
  for (const id of ids) {
    if (!(await store.findInfo(key.status(id)))) return false;
    const view = await findView(store, id);
    if (!view || view.finishedAt === null) return false;
  }
  return true;
}

function tell(told: readonly string[], evidence: Awaited<ReturnType<typeof gather>>): void {
  const { runs, attempts, machines, idle, logLines, files } = evidence;
  const lines = [
    ...told,
    `${runs} runs, ${attempts} attempts with one claim each, ${machines} machines, none lives`,
    ...[...idle].map(([why, times]) => `without work ${times}: ${why}`),
    `${logLines} lines of log and ${files} files, whole`,
  ];
  process.stdout.write(`${lines.map((line) => `storm: ${line}`).join("\n")}\n`);
}
