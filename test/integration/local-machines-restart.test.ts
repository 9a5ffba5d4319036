/** The local cloud is killed, and the next one takes over what it finds. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EC2Client, TerminateInstancesCommand } from "@aws-sdk/client-ec2";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { makeCredentials } from "../../src/local/credentials.ts";
import { type LocalEc2, startLocalEc2 } from "../support/local-ec2.ts";
import {
  describeInstance,
  isAlive,
  launch,
  WAIT,
  waitForEnd,
  waitForFile,
  waitForState,
} from "../support/machine.ts";

let folder: string;
let host: ChildProcess | undefined;
let next: LocalEc2 | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-killed-"));
});

afterEach(async () => {
  host?.kill("SIGKILL");
  // Ends whatever machine is left, also of a test that failed.
  await (next ?? (await startLocalEc2({ folder }))).stop();
  next = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** A cloud in a process of its own. */
async function startHost(bootMs = 10): Promise<{ ec2: EC2Client; port: number }> {
  const support = join(import.meta.dirname, "../support");
  const words = [join(support, "run-typescript.mjs"), join(support, "local-ec2-host.ts")];
  host = spawn(process.execPath, [...words, folder, "0", String(bootMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (host.stdout === null) throw new Error("the host has no output");
  const [endpoint] = await once(createInterface(host.stdout), "line");
  const credentials = makeCredentials(Buffer.alloc(32, 7)).owner;
  const ec2 = new EC2Client({ region: "us-east-1", endpoint, credentials, maxAttempts: 1 });
  return { ec2, port: Number(new URL(endpoint).port) };
}

async function killHost(): Promise<void> {
  const ended = once(host as ChildProcess, "exit");
  host?.kill("SIGKILL");
  await ended;
}

const script = (...lines: string[]): string =>
  ["#!/bin/bash", `out='${folder}'`, ...lines, ""].join("\n");

const out = (name: string): string => join(folder, name);

/** Appends to `runs`, so that a second run of the user-data would be seen. */
const RUNS = 'echo $$ >>"$out/runs"';
const UNTIL_TOLD = 'until [ -e "$out/go" ]; do sleep 0.05; done';

it("a machine outlives the cloud, is taken over without a second run, and still reaches its IMDS", async () => {
  const { ec2, port } = await startHost();
  const read = `${process.execPath} -e '
    const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
    const headers = { "x-aws-ec2-metadata-token": process.argv[1] };
    fetch(base + "/latest/meta-data/instance-id", { headers }).then((a) => a.text())
      .then((id) => console.log(id))' "$token"`;
  const token = `token=$(${process.execPath} -e '
    const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": "600" };
    fetch(base + "/latest/api/token", { method: "PUT", headers }).then((a) => a.text())
      .then((token) => process.stdout.write(token))')`;
  const [id = ""] = await launch(
    ec2,
    script(token, RUNS, UNTIL_TOLD, `${read} >"$out/id"`, "sleep 300"),
  );
  const pid = Number(await waitForFile(out("runs")));
  await killHost();
  expect(isAlive(pid)).toBe(true);

  next = await startLocalEc2({ folder, port });
  expect((await describeInstance(next.ec2, id))?.State?.Name).toBe("running");
  await writeFile(out("go"), "");
  expect(await waitForFile(out("id"))).toBe(id);
  expect(await readFile(out("runs"), "utf8")).toBe(`${pid}\n`);

  await next.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
  await waitForState(next.ec2, id, "terminated");
  expect(isAlive(pid)).toBe(false);
});

it("a machine that powers off while there is no cloud ends, and the next cloud tells it", async () => {
  const { ec2 } = await startHost();
  const child = `setsid bash -c 'trap "" TERM; echo $$ >"'"$out"'/child"; while :; do sleep 1; done' &`;
  const [id = ""] = await launch(ec2, script(RUNS, child, UNTIL_TOLD, "poweroff", "sleep 300"));
  const pid = Number(await waitForFile(out("runs")));
  const childPid = Number(await waitForFile(out("child")));
  await killHost();
  await writeFile(out("go"), "");
  await waitForEnd(pid);
  await waitForEnd(childPid);

  next = await startLocalEc2({ folder });
  const instance = await waitForState(next.ec2, id, "terminated");
  expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
  expect(await readFile(out("runs"), "utf8")).toBe(`${pid}\n`);
});

it("an acknowledged launch is not lost: the next cloud boots what was still pending", async () => {
  const { ec2 } = await startHost(60_000);
  const input = { MinCount: 3, MaxCount: 3, ClientToken: "kept" };
  const ids = await launch(ec2, script(RUNS), input);
  await killHost();

  next = await startLocalEc2({ folder });
  await Promise.all(ids.map((id) => waitForState((next as LocalEc2).ec2, id, "running")));
  expect(await launch(next.ec2, script(RUNS), input)).toEqual(ids);
  await vi.waitFor(async () => {
    const runs = (await readFile(out("runs"), "utf8")).trim().split("\n");
    expect(runs).toHaveLength(3);
  }, WAIT);
});

it("a machine of before the host's restart is gone for a reason that is not its own", async () => {
  const { ec2 } = await startHost();
  const [id = ""] = await launch(ec2, script(RUNS, "sleep 300"));
  await waitForFile(out("runs"));
  await killHost();
  // A restart of the host cannot be had here: the record is given the boot id of another one.
  const path = out("reservations");
  const [name = ""] = await readdir(path);
  const record = JSON.parse(await readFile(join(path, name), "utf8"));
  record.instances[0].bootId = "another";
  await writeFile(join(path, name), JSON.stringify(record));

  next = await startLocalEc2({ folder });
  const instance = await waitForState(next.ec2, id, "terminated");
  expect(instance.StateReason?.Message).toBe("Server.InternalError: the host was restarted");
});

it("a record that it does not understand stops the start, and is named", async () => {
  next = await startLocalEc2({ folder });
  await next.stop();
  const path = join(folder, "reservations", "r-1.json");
  await writeFile(path, '{"format": 2}');
  await expect(startLocalEc2({ folder })).rejects.toThrow(path);
  await rm(path);
});
