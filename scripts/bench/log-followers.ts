/**
 * Many logs followed at once by one daemon's followers, in this process, on a local cloud in another. Machines are bare: a third process
 * writes their logs as runners do, so that what is measured is following.
 */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunInstancesCommand } from "@aws-sdk/client-ec2";
import type { Clients } from "../../src/aws/clients.ts";
import { systemClock } from "../../src/cli/system-clock.ts";
import { createFollowers } from "../../src/daemon/followers.ts";
import { createLog } from "../../src/log.ts";
import type { Logs } from "../../src/ports.ts";
import { nowMs, print } from "./log-latency.ts";
import { memoryMib } from "./processes.ts";

const FOLLOWERS = Number(process.env.FOLLOWERS ?? 100);
const LINES_A_SECOND = 5;
const MEASURED_MS = 10_000;

/** Writes to each file a line with its moment, so many a second, one file after the other. */
const WRITER = `const { appendFileSync } = require("node:fs");
const [rate, ...files] = process.argv.slice(1);
let next = 0;
setInterval(() => {
  const until = next + Math.ceil(files.length * rate / 100);
  for (; next < until; next++) {
    const now = performance.timeOrigin + performance.now();
    appendFileSync(files[next % files.length], Math.floor(now).toString(16).padStart(11, "0") + " at " + now + "\\n");
  }
}, 10);`;

export async function benchFollowers(
  { ec2 }: Clients,
  { logs, directory, imageId }: { logs: Logs; directory: string; imageId: string },
): Promise<void> {
  const instances = await launch(ec2, imageId);
  const files = instances.map((id) => {
    const folder = join(directory, "ec2/instances", id, "disk/var/lib/errand");
    mkdirSync(folder, { recursive: true });
    return join(folder, "log");
  });
  const writer = spawn(process.execPath, ["-e", WRITER, String(LINES_A_SECOND), ...files], {
    stdio: "inherit",
  });
  const log = createLog({ level: "warn", format: "json" });
  const followers = createFollowers({ logs, clock: systemClock, log });
  const leaving = new AbortController();
  let times: number[] = [];
  const begin = nowMs();
  const opened: number[] = [];
  const watching = instances.map(async (id) => {
    let isOpen = false;
    for await (const event of followers.follow(id, 1, leaving.signal)) {
      if (event.type !== "lines") continue;
      if (!isOpen) opened.push(nowMs() - begin);
      isOpen = true;
      for (const { text } of event.lines) times.push(nowMs() - Number(text.slice(3)));
    }
  });
  while (opened.length < FOLLOWERS) await sleep(50);
  console.log(
    `${FOLLOWERS} logs are followed after ${(nowMs() - begin).toFixed(0)} ms (limit, three StartSessions a second: ${(((FOLLOWERS - 3) / 3) * 1000).toFixed(0)} ms)`,
  );
  await sleep(2_000);
  times = [];
  const cpuBefore = process.cpuUsage();
  await sleep(MEASURED_MS);
  const { user, system } = process.cpuUsage(cpuBefore);
  print(
    `${FOLLOWERS} logs of ${LINES_A_SECOND} lines/s each, write -> watcher`,
    times,
    "aim p50 50 ms, p99 250 ms",
  );
  const share = (user + system) / 10 / MEASURED_MS;
  console.log(
    `following them takes ${(share * 1).toFixed(1)} % of a core, ${(share / FOLLOWERS).toFixed(3)} % each, ${memoryMib(process.pid).toFixed(0)} MiB`,
  );
  leaving.abort();
  writer.kill();
  await Promise.all(watching);
  await followers.stop();
}

async function launch(ec2: Clients["ec2"], ImageId: string): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < FOLLOWERS) {
    const count = Math.min(20, FOLLOWERS - ids.length);
    const output = await ec2.send(
      new RunInstancesCommand({
        ImageId,
        InstanceType: "t3.small",
        MinCount: count,
        MaxCount: count,
        UserData: Buffer.from("#!/bin/sh\nexec sleep 600\n").toString("base64"),
      }),
    );
    ids.push(...(output.Instances ?? []).map(({ InstanceId }) => InstanceId ?? ""));
  }
  return ids;
}
