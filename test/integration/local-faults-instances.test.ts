/** Instances that go wrong as rules of faults say: real machines, seen through the AWS SDK and by what they write. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DescribeInstanceStatusCommand,
  EC2Client,
  GetConsoleOutputCommand,
  RebootInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeCredentials } from "../../src/local/credentials.ts";
import { type FaultCalls, makeFaultCalls } from "../support/faults.ts";
import { TEST_TYPES } from "../support/local-ec2.ts";
import {
  describeInstance,
  isAlive,
  launch,
  WAIT,
  waitForEnd,
  waitForFile,
  waitForState,
} from "../support/machine.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let world: TestCloud;
let folder: string;
let ec2: EC2Client;
const faults: FaultCalls = makeFaultCalls(() => world.cloud);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-troubles-"));
  world = await startTestCloud({
    instanceTypes: TEST_TYPES,
    bootMs: 10,
    // Its machines write where the test looks.
    sandbox: "none",
    environment: { PATH: process.env.PATH ?? "" },
  });
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  const credentials = { accessKeyId, secretAccessKey };
  ec2 = new EC2Client({ endpoint, region, credentials, maxAttempts: 1 });
});

afterEach(async () => {
  ec2.destroy();
  await world.dispose();
  await rm(folder, { recursive: true, force: true });
});

const out = (name: string): string => join(folder, name);
const script = (...lines: string[]): string =>
  ["#!/bin/bash", `out='${folder}'`, ...lines, ""].join("\n");

/** Counts in a file, ten times a second, whether it lives. */
const TICK = 'echo $$ >"$out/pid"; while :; do echo . >>"$out/ticks"; sleep 0.1; done';

const ticks = async (): Promise<number> => (await readFile(out("ticks"), "utf8")).length;

const add = async (rule: object): Promise<string> => (await faults.add(rule))[0] ?? "";
const untilFired = (id: string): Promise<void> =>
  vi.waitFor(async () => expect(await faults.fired(id)).toBe(1), WAIT);

const statusOf = async (id: string): Promise<string | undefined> => {
  const command = new DescribeInstanceStatusCommand({ InstanceIds: [id] });
  return (await ec2.send(command)).InstanceStatuses?.[0]?.InstanceStatus?.Status;
};

const consoleOf = async (id: string): Promise<string> => {
  const { Output = "" } = await ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
  return Buffer.from(Output, "base64").toString();
};

it("a launch that was accepted fails: from pending to terminated with EC2's reason, and nothing ran", async () => {
  const rule = await add({ fault: "launch-fails", reason: "Client.VolumeLimitExceeded" });
  const [id = ""] = await launch(ec2, script('echo ran >"$out/ran"'));
  const ended = await waitForState(ec2, id, "terminated");
  expect(ended.StateReason?.Code).toBe("Client.VolumeLimitExceeded");
  expect(existsSync(out("ran"))).toBe(false);
  await untilFired(rule);
});

it("an instance dies when it has run for a while, with its processes and a Server reason", async () => {
  const rule = await add({ fault: "instance-dies", afterMs: 400 });
  const [id = ""] = await launch(ec2, script(TICK));
  const pid = Number(await waitForFile(out("pid")));
  const ended = await waitForState(ec2, id, "terminated");
  expect(ended.StateReason?.Code).toBe("Server.InternalError");
  await waitForEnd(pid);
  await untilFired(rule);
});

it("an instance boots silently: it runs for EC2, its user-data never does, and it can be terminated", async () => {
  const rule = await add({ fault: "silent-boot" });
  const [id = ""] = await launch(ec2, script('echo ran >"$out/ran"'));
  await waitForState(ec2, id, "running");
  await untilFired(rule);
  expect(existsSync(out("ran"))).toBe(false);
  expect(await consoleOf(id)).toBe("");
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
  await waitForState(ec2, id, "terminated");
});

it("an instance hangs: it runs for EC2, does nothing any more, and can be terminated", async () => {
  const rule = await add({ fault: "instance-hangs", afterMs: 500 });
  const [id = ""] = await launch(ec2, script(TICK));
  const pid = Number(await waitForFile(out("pid")));
  await untilFired(rule);
  const before = await ticks();
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await ticks()).toBe(before);
  expect(isAlive(pid)).toBe(true);
  expect((await describeInstance(ec2, id))?.State?.Name).toBe("running");
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
  await waitForState(ec2, id, "terminated");
  await waitForEnd(pid);
});

describe("a reboot", () => {
  const PER_BOOT = `printf '#!/bin/sh\\necho again >>"${"$out"}/boots"\\n' | sed "s#\\$out#$out#" >"$ERRAND_LOCAL_PER_BOOT/mine"; chmod +x "$ERRAND_LOCAL_PER_BOOT/mine"`;

  it("kills what runs, keeps instance and disk, and runs what is for every boot but not the user-data", async () => {
    const rule = await add({ fault: "instance-reboots", afterMs: 600 });
    const [id = ""] = await launch(
      ec2,
      script('echo first >>"$out/boots"', PER_BOOT, 'echo kept >"$HOME/file"', TICK),
    );
    const pid = Number(await waitForFile(out("pid")));
    await untilFired(rule);
    await waitForEnd(pid);
    await vi.waitFor(
      async () => expect(await readFile(out("boots"), "utf8")).toBe("first\nagain\n"),
      WAIT,
    );
    expect((await describeInstance(ec2, id))?.State?.Name).toBe("running");
    const home = join(world.directory, "ec2/instances", id, "disk/home/file");
    expect(await readFile(home, "utf8")).toBe("kept\n");
  });

  it.each(["RebootInstances", "reboot", "shutdown -r now"])("by %s does the same", async (how) => {
    const line = how === "RebootInstances" ? "" : how;
    const [id = ""] = await launch(ec2, script(PER_BOOT, 'echo $$ >"$out/pid"', line, "sleep 60"));
    const pid = Number(await waitForFile(out("pid")));
    if (line === "") await ec2.send(new RebootInstancesCommand({ InstanceIds: [id] }));
    await waitForEnd(pid);
    await vi.waitFor(
      async () => expect(await readFile(out("boots"), "utf8")).toBe("again\n"),
      WAIT,
    );
    expect((await describeInstance(ec2, id))?.State?.Name).toBe("running");
  });

  it("whose boot powers off, as the bootstrap has it, ends the instance as its own doing", async () => {
    const rule = await add({ fault: "instance-reboots", afterMs: 500 });
    const unit = `printf '#!/bin/sh\\nshutdown -P now\\n' >"$ERRAND_LOCAL_PER_BOOT/unit"; chmod +x "$ERRAND_LOCAL_PER_BOOT/unit"`;
    const [id = ""] = await launch(ec2, script(unit, TICK));
    const ended = await waitForState(ec2, id, "terminated");
    expect(ended.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
    await untilFired(rule);
  });
});

describe("a lost network", () => {
  /** Writes each answer of IMDS as a word: its status, or `none` where there is none. */
  const ASK = `exec ${process.execPath} -e '
    const { appendFileSync } = require("node:fs");
    const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": "60" };
    const ask = () => fetch(base + "/latest/api/token", { method: "PUT", headers })
      .then((answer) => answer.status, () => "none")
      .then((word) => appendFileSync(process.argv[1] + "/answers", word + "\\n"));
    setInterval(ask, 50);' "$out"`;

  const answers = async (): Promise<string[]> => [
    ...new Set((await readFile(out("answers"), "utf8")).trim().split("\n")),
  ];

  it("comes while the instance runs, cuts it off from the cloud's port, and ends", async () => {
    const rule = await add({ fault: "network-loss", afterMs: 700, forMs: 700 });
    const [id = ""] = await launch(ec2, script(ASK));
    await vi.waitFor(async () => expect(await answers()).toEqual(["200", "none"]), WAIT);
    await untilFired(rule);
    expect((await describeInstance(ec2, id))?.State?.Name).toBe("running");
    expect(await statusOf(id)).toBe("impaired");
    await vi.waitFor(async () => {
      const all = (await readFile(out("answers"), "utf8")).trim().split("\n");
      expect(all.slice(all.lastIndexOf("none"))).toContain("200");
    }, WAIT);
    expect(await statusOf(id)).toBe("ok");
  });

  it("is one for calls with the instance's keys, too, and over with its rule", async () => {
    const rule = await add({ fault: "network-loss" });
    const [id = ""] = await launch(ec2, script("sleep 60"));
    await untilFired(rule);
    const secret = Buffer.from(await readFile(join(world.directory, "secret"), "utf8"), "hex");
    const listAs = (instanceId: string) => {
      const { endpoint, region, bucket } = world.cloud;
      const credentials = makeCredentials(secret).issueForInstance(instanceId, Date.now());
      const options = { endpoint, region, credentials, maxAttempts: 1, forcePathStyle: true };
      return new S3Client(options).send(new ListObjectsV2Command({ Bucket: bucket }));
    };
    await expect(listAs(id)).rejects.toMatchObject({ code: "ECONNRESET" });
    await faults.clear();
    expect((await listAs(id)).$metadata.httpStatusCode).toBe(200);
  });

  it("is none when IMDS only says that it is called too often", async () => {
    const rule = await add({ fault: "throttle", operation: "imds:PutToken", times: 1 });
    await launch(ec2, script(ASK));
    await vi.waitFor(async () => expect(await answers()).toEqual(["429", "200"]), WAIT);
    await untilFired(rule);
  });

  it("is over when its rule is taken away", async () => {
    const rule = await add({ fault: "network-loss" });
    await launch(ec2, script(ASK));
    await vi.waitFor(async () => expect(await answers()).toContain("none"), WAIT);
    await faults.remove(rule);
    await vi.waitFor(async () => expect((await answers()).at(-1)).toBe("200"), WAIT);
  });

  it("does not keep the instance from powering off", async () => {
    await add({ fault: "network-loss" });
    const [id = ""] = await launch(ec2, script("sleep 0.3; poweroff"));
    const ended = await waitForState(ec2, id, "terminated");
    expect(ended.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
  });
});

it("a rule is for the instances that it names: by type, tag, index or, when they live already, by id", async () => {
  await add({ fault: "instance-dies", match: { type: "t3.*" } });
  await add({ fault: "instance-dies", match: { "tag:role": "victim", index: 1 } });
  const tagged = {
    MinCount: 2,
    MaxCount: 2,
    TagSpecifications: [
      { ResourceType: "instance" as const, Tags: [{ Key: "role", Value: "victim" }] },
    ],
  };
  const [spared = "", victim = ""] = await launch(ec2, script("sleep 60"), tagged);
  const [other = ""] = await launch(ec2, script("sleep 60"), { InstanceType: "t3.micro" });
  await waitForState(ec2, victim, "terminated");
  await waitForState(ec2, other, "terminated");
  await waitForState(ec2, spared, "running");
  const rule = await add({ fault: "instance-dies", match: { instanceId: spared } });
  await waitForState(ec2, spared, "terminated");
  await untilFired(rule);
});

it("what a rule had in store does not happen when it is removed before", async () => {
  const rule = await add({ fault: "instance-dies", afterMs: 600 });
  const [id = ""] = await launch(ec2, script(TICK));
  await waitForState(ec2, id, "running");
  await faults.remove(rule);
  await new Promise((resolve) => setTimeout(resolve, 900));
  expect((await describeInstance(ec2, id))?.State?.Name).toBe("running");
});
