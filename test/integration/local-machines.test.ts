/** Machines of the local cloud: they really run their user-data, power off, and leave nothing behind. */
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetConsoleOutputCommand, TerminateInstancesCommand } from "@aws-sdk/client-ec2";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { listSurvivors } from "../../src/local/survivors.ts";
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
let cloud: LocalEc2;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand's machines "));
  cloud = await startLocalEc2({ folder });
});

afterEach(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A bash script that knows `$out`, a folder of the test's. */
const script = (...lines: string[]): string =>
  ["#!/bin/bash", `out='${folder.replaceAll("'", "'\\''")}'`, ...lines, ""].join("\n");

const out = (name: string): string => join(folder, name);

const terminate = (...InstanceIds: string[]) =>
  cloud.ec2.send(new TerminateInstancesCommand({ InstanceIds }));

describe("user-data", () => {
  it("runs on each machine of a batch and reads the machine's own index from IMDS", async () => {
    const userData = `#!/usr/bin/env node
      const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
      const ttl = { "x-aws-ec2-metadata-token-ttl-seconds": "60" };
      fetch(base + "/latest/api/token", { method: "PUT", headers: ttl })
        .then((answer) => answer.text())
        .then((token) => fetch(base + "/latest/meta-data/ami-launch-index", {
          headers: { "x-aws-ec2-metadata-token": token } }))
        .then((answer) => answer.text())
        .then((index) => require("node:fs").writeFileSync(
          ${JSON.stringify(`${folder}/`)} + process.env.ERRAND_LOCAL_INSTANCE.split(":")[0], index + "\\n"));
    `;
    const ids = await launch(cloud.ec2, userData, { MinCount: 3, MaxCount: 3 });
    const indexes = await Promise.all(ids.map((id) => waitForFile(out(id))));
    expect(indexes).toEqual(["0", "1", "2"]);
  });

  it("has nothing of the host's environment but what it was given, the PATH behind the machine's own", async () => {
    await launch(cloud.ec2, script("pwd >$out/pwd", 'env -0 >"$out/env"; echo >>"$out/env"'));
    const variables = (await waitForFile(out("env"))).split("\0").filter((line) => line !== "");
    const environment = Object.fromEntries(variables.map((line) => line.split(/=(.*)/s)));
    expect(Object.keys(environment).toSorted()).toEqual([
      "AWS_EC2_METADATA_SERVICE_ENDPOINT",
      "ERRAND_LOCAL_INSTANCE",
      "ERRAND_LOCAL_PER_BOOT",
      "ERRAND_LOCAL_ROOT",
      "HOME",
      "LANG",
      "PATH",
      "PWD",
      "SHLVL",
      "TMPDIR",
      "_",
    ]);
    const [id = ""] = environment.ERRAND_LOCAL_INSTANCE?.split(":") ?? [];
    const machine = join(folder, "instances", id);
    expect(environment.PATH).toBe(`${machine}/bin:${process.env.PATH}`);
    expect(environment.HOME).toBe(`${machine}/disk/home`);
    expect(environment.PWD).toBe(`${machine}/disk`);
  });

  it("prints to the console, which outlives the machine while its disk does not", async () => {
    const [id = ""] = await launch(cloud.ec2, script("touch kept", "echo booted", "poweroff"));
    await waitForState(cloud.ec2, id, "terminated");
    const { Output = "" } = await cloud.ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
    expect(Buffer.from(Output, "base64").toString()).toBe("booted\n");
    expect(await readdir(join(folder, "instances", id))).not.toContain("disk");
  });

  it("may print without end: the console keeps the tail", async () => {
    const [id = ""] = await launch(
      cloud.ec2,
      script("head -c 5000000 /dev/zero | tr '\\0' x", 'echo >"$out/printed"', "sleep 300"),
    );
    await waitForFile(out("printed"));
    const path = join(folder, "instances", id, "console.log");
    await vi.waitFor(async () => expect((await stat(path)).size).toBe(65_536), { timeout: 10_000 });
  });

  it("that is no script is not run, and the console says so", async () => {
    const [id = ""] = await launch(cloud.ec2, `touch '${out("ran")}'`);
    const text = await vi.waitFor(async () => {
      const { Output = "" } = await cloud.ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
      expect(Output).not.toBe("");
      return Buffer.from(Output, "base64").toString();
    }, WAIT);
    expect(text).toContain("the user-data is no script");
    expect(await readdir(folder)).not.toContain("ran");
  });

  it("that ends without powering off leaves the instance running", async () => {
    const [id = ""] = await launch(cloud.ec2, script('echo $$ >"$out/pid"'));
    await waitForEnd(Number(await waitForFile(out("pid"))));
    expect((await describeInstance(cloud.ec2, id))?.State?.Name).toBe("running");
  });
});

describe("powering off", () => {
  it.each([
    ["poweroff", "poweroff"],
    ["shutdown -P now", "shutdown -P now"],
    ["shutdown -h now", "shutdown -h now"],
    ["systemctl poweroff", "systemctl --no-block poweroff"],
    ["halt -p", "halt -p"],
    ["poweroff in a setsid grandchild", "setsid bash -c 'setsid poweroff & sleep 60' &\nsleep 60"],
    ["poweroff with an empty environment", 'env -i "$(command -v poweroff)"'],
    ["init 0 by a process that ignores SIGTERM", "trap '' TERM\ninit 0\nsleep 60"],
  ])("by %s terminates the instance as its own doing", async (_, line) => {
    const [id = ""] = await launch(cloud.ec2, script('echo $$ >"$out/pid"', line));
    const instance = await waitForState(cloud.ec2, id, "terminated");
    expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
    expect(isAlive(Number(await waitForFile(out("pid"))))).toBe(false);
  });

  it("stops the instance when its launch said so, and a stopped one can be terminated", async () => {
    const [id = ""] = await launch(cloud.ec2, script("poweroff"), {
      InstanceInitiatedShutdownBehavior: "stop",
    });
    await waitForState(cloud.ec2, id, "stopped");
    await terminate(id);
    await waitForState(cloud.ec2, id, "terminated");
  });

  it.each(["halt", "reboot", "shutdown -r now"])(
    "is not what %s does: the processes end and the instance goes on costing",
    async (line) => {
      const [id = ""] = await launch(cloud.ec2, script('echo $$ >"$out/pid"', line, "sleep 60"));
      await waitForEnd(Number(await waitForFile(out("pid"))));
      expect((await describeInstance(cloud.ec2, id))?.State?.Name).toBe("running");
    },
  );

  it("can be planned for later and taken back", async () => {
    const [id = ""] = await launch(
      cloud.ec2,
      script(
        "shutdown -P +1",
        "shutdown -c",
        'cat "$(dirname "$(command -v poweroff)")/../flags/scheduled"',
        'echo $? >"$out/done"',
      ),
    );
    expect(await waitForFile(out("done"))).toBe("1");
    expect((await describeInstance(cloud.ec2, id))?.State?.Name).toBe("running");
  });

  it("is noticed by its marker, too, when the call to the cloud is lost", async () => {
    const marker = '"$(dirname "$(command -v poweroff)")/../flags/power-off"';
    const [id = ""] = await launch(cloud.ec2, script(`: >${marker}`, "sleep 300"));
    const instance = await waitForState(cloud.ec2, id, "terminated");
    expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
  });

  it("at a time of day is refused, not ignored", async () => {
    await launch(cloud.ec2, script('shutdown 23:00 2>"$out/said"; echo $? >"$out/code"'));
    expect(await waitForFile(out("code"))).toBe("1");
    expect(await waitForFile(out("said"))).toContain("takes now or +MINUTES, not '23:00'");
  });

  it("never reaches the host's systemd", async () => {
    await launch(cloud.ec2, script('systemctl enable x 2>"$out/said"; echo $? >"$out/code"'));
    expect(await waitForFile(out("code"))).toBe("1");
    expect(await waitForFile(out("said"))).toContain("System has not been booted with systemd");
  });
});

/** It has no cookie, no parent and no session of the machine's. */
const ESCAPE = `(env -i setsid bash -c 'trap "" TERM; echo $$ >"'"$out"'/escaped"; while :; do sleep 1; done' &)`;

describe("TerminateInstances", () => {
  it("leaves no process: not one that ignores SIGTERM, has a session of its own or no environment", async () => {
    const [id = ""] = await launch(
      cloud.ec2,
      script(
        "trap '' TERM",
        `setsid bash -c 'trap "" TERM; echo $$ >"'"$out"'/session"; while :; do sleep 1; done' &`,
        `(setsid bash -c 'sleep 300 & echo $! >"'"$out"'/orphan"')`,
        `env -i bash -c 'echo $$ >"'"$out"'/bare"; while :; do sleep 1; done' &`,
        ESCAPE,
        'echo $$ >"$out/first"',
        "while :; do sleep 1; done",
      ),
    );
    const names = ["session", "orphan", "bare", "escaped", "first"];
    const pids = (await Promise.all(names.map((name) => waitForFile(out(name))))).map(Number);
    expect(pids.filter(isAlive)).toEqual(pids);
    await terminate(id);
    await waitForState(cloud.ec2, id, "terminated");
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it.runIf(process.platform === "linux")(
    "leaves no process that got away, though what keeps a machine's processes together was killed",
    async () => {
      const reaper = '"$(dirname "$(command -v poweroff)")/../flags/reaper"';
      const words = [`kill -9 "$(cat ${reaper})"`, ESCAPE, "sleep 300"];
      const [id = ""] = await launch(cloud.ec2, script(...words));
      const escaped = Number(await waitForFile(out("escaped")));
      expect(await listSurvivors(folder)).toContain(escaped);
      await terminate(id);
      await waitForState(cloud.ec2, id, "terminated");
      expect(isAlive(escaped)).toBe(false);
      expect(await listSurvivors(folder)).toEqual([]);
    },
  );

  it("of an instance that is still pending never runs its user-data", async () => {
    await cloud.stop();
    cloud = await startLocalEc2({ folder, bootMs: 60_000 });
    const [id = ""] = await launch(cloud.ec2, script("touch $out/ran"));
    await terminate(id);
    await waitForState(cloud.ec2, id, "terminated");
    // Its folder was made ready; the boot would have left a marker.
    expect(await readdir(join(folder, "instances", id, "flags"))).toEqual([]);
  });

  it("of twenty machines ends all of them", async () => {
    const ids = await launch(cloud.ec2, script('sleep 300 & echo $! >>"$out/pids"', "wait"), {
      MinCount: 20,
      MaxCount: 20,
    });
    const pids = await vi.waitFor(
      async () => {
        const lines = (await readFile(out("pids"), "utf8")).trim().split("\n").map(Number);
        expect(lines).toHaveLength(20);
        return lines;
      },
      { timeout: 15_000 },
    );
    await terminate(...ids);
    await Promise.all(ids.map((id) => waitForState(cloud.ec2, id, "terminated")));
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

it("a clean stop of the cloud takes its machines along and says so after the next start", async () => {
  const [id = ""] = await launch(cloud.ec2, script('echo $$ >"$out/pid"', "sleep 300"));
  const pid = Number(await waitForFile(out("pid")));
  await cloud.stop();
  expect(isAlive(pid)).toBe(false);
  cloud = await startLocalEc2({ folder });
  const instance = await describeInstance(cloud.ec2, id);
  expect(instance?.State?.Name).toBe("terminated");
  expect(instance?.StateReason?.Message).toBe("Server.InternalError: the local cloud was stopped");
});
