/** A local cloud with one machine whose log a test writes, and the Logs port that follows it over the wire. */
import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DescribeInstancesCommand, RunInstancesCommand } from "@aws-sdk/client-ec2";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import { createGenerateDataKey } from "../../src/aws/session/data-key.ts";
import type { FollowTimes } from "../../src/aws/session/follow.ts";
import { createLogs } from "../../src/aws/session/logs.ts";
import type { SessionCounts, SessionPreferences } from "../../src/local/sessions.ts";
import type { Clock, LogEvent, Logs } from "../../src/ports.ts";
import { type FaultCalls, makeFaultCalls } from "./faults.ts";
import { startTestCloud, type TestCloud } from "./test-cloud.ts";

export type LogMachine = {
  readonly instanceId: string;
  /** As the runner does: each line with its time before it, which is that of `timeOf`. */
  write(text: string): Promise<void>;
};

/** Of a line by its number. */
export const timeOf = (line: number): number => 1_764_000_000_000 + line;

export type SessionWorld = {
  readonly world: TestCloud;
  readonly clients: Clients;
  readonly logs: Logs;
  makeLogs(times?: Partial<FollowTimes>): Logs;
  launch(): Promise<LogMachine>;
  readonly faults: FaultCalls;
  prefer(preferences: Partial<SessionPreferences>): void;
  counts(): SessionCounts;
  dispose(): Promise<void>;
};

export const testClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => {}),
};

export async function startSessionWorld(): Promise<SessionWorld> {
  const world = await startTestCloud({
    instanceTypes: [M5_LARGE],
    bootMs: 10,
    // Processes of a machine are counted.
    sandbox: "none",
    throttling: false,
  });
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  const where = { region, endpoint, credentials: { accessKeyId, secretAccessKey } };
  const clients = createClients(where);
  const makeLogs = (times: Partial<FollowTimes> = {}): Logs =>
    createLogs({
      ssm: clients.ssm,
      generateDataKey: createGenerateDataKey(where),
      clock: testClock,
      times: { backoffMinMs: 20, readyEveryMs: 50, ...times },
    });
  return {
    world,
    clients,
    logs: makeLogs(),
    makeLogs,
    launch: () => launch(world, clients),
    faults: makeFaultCalls(() => world.cloud),
    prefer: world.cloud.sessions.prefer,
    counts: world.cloud.sessions.counts,
    dispose: async () => {
      clients.close();
      await world.dispose();
    },
  };
}

const M5_LARGE = {
  name: "m5.large",
  vcpus: 2,
  memoryMib: 8192,
  architectures: ["x86_64"],
  hypervisor: "nitro",
  isBareMetal: false,
  isBurstable: false,
} as const;

async function launch({ cloud, directory }: TestCloud, { ec2 }: Clients): Promise<LogMachine> {
  const output = await ec2.send(
    new RunInstancesCommand({
      ImageId: cloud.imageIds[0],
      InstanceType: "m5.large",
      SubnetId: cloud.subnets[0]?.subnetId,
      MinCount: 1,
      MaxCount: 1,
      UserData: Buffer.from("#!/bin/sh\nexec sleep 600\n").toString("base64"),
    }),
  );
  const instanceId = output.Instances?.[0]?.InstanceId ?? "";
  for (let tries = 0; tries < 200; tries++) {
    const found = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [instanceId] }));
    if (found.Reservations?.[0]?.Instances?.[0]?.State?.Name === "running") break;
    await sleep(20);
  }
  const folder = join(directory, "ec2/instances", instanceId, "disk/var/lib/errand");
  await mkdir(folder, { recursive: true });
  const stamp = createStamper();
  return { instanceId, write: (text) => appendFile(join(folder, "log"), stamp(text)) };
}

function createStamper(): (text: string) => string {
  let line = 1;
  let isFresh = true;
  return (text) =>
    text
      .split(/(?<=\n)/)
      .filter((part) => part !== "")
      .map((part) => {
        const stamp = isFresh ? `${timeOf(line).toString(16).padStart(11, "0")} ` : "";
        isFresh = part.endsWith("\n");
        if (isFresh) line++;
        return stamp + part;
      })
      .join("");
}

/** Reads until `count` lines or the last one have come, or fails after `maxMs`. Returns them with what else was told. */
export async function readLines(
  logs: Logs,
  { instanceId }: Pick<LogMachine, "instanceId">,
  {
    from = 1,
    count = Number.POSITIVE_INFINITY,
    last,
    maxMs = 50_000,
  }: { from?: number; count?: number; last?: string; maxMs?: number },
): Promise<{ readonly lines: readonly string[]; readonly others: readonly LogEvent[] }> {
  const lines: string[] = [];
  const others: LogEvent[] = [];
  const signal = AbortSignal.timeout(maxMs);
  for await (const event of logs.follow(instanceId, from, signal)) {
    if (event.type !== "lines") others.push(event);
    else {
      if (event.firstLine !== from + lines.length) throw new Error("numbers with a hole");
      lines.push(...event.lines.map(({ text }) => text));
    }
    if (lines.length >= count || (last !== undefined && lines.at(-1) === last))
      return { lines, others };
  }
  throw new Error(`${lines.length} of ${count} lines came; ${JSON.stringify(others.slice(-5))}`);
}
