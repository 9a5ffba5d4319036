/**
 * Machines that really boot: the user-data of a real RunInstances, fetched by cloud-init from the local cloud's metadata service and
 * run as root under systemd, to a finished report and power-off, and what happens when somebody is in the way.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EC2Client } from "@aws-sdk/client-ec2";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { bootstrapScript, renderUserData } from "../../src/aws/user-data.ts";
import type { RunView } from "../../src/core/view.ts";
import { makeTarGz } from "../support/archives.ts";
import {
  BOOT_WAIT,
  findMachine,
  makeAmazonLayer,
  makeDebianRoot,
  startBootedHost,
} from "../support/booted-host.ts";
import type { Host } from "../support/daemon-host.ts";
import { makeFaultCalls } from "../support/faults.ts";
import { describeInstance, launch } from "../support/machine.ts";

const debian = makeDebianRoot();
const suite = "path" in debian ? describe : describe.skip;

let host: Host;
beforeAll(async () => {
  if ("path" in debian) host = await startBootedHost([debian.path]);
});
afterAll(() => host?.stop());

const faults = makeFaultCalls(() => host.local);
const isFinished = (view: RunView) => view.finishedAt !== null;

/** What a job can do to the machine that it is on. */
const PROBE = `
import errno, json, os, pwd, shutil, signal, socket, subprocess, sys

def connect(*address):
    try:
        socket.create_connection(address, 5).close()
        return "connected"
    except OSError as cause:
        return errno.errorcode.get(cause.errno, str(cause))

def attempt(act):
    try:
        act()
        return "done"
    except OSError as cause:
        return errno.errorcode[cause.errno]

def run(*words):
    return subprocess.run(words, capture_output=True, text=True)

runner = os.getppid()
system = next(line for line in open("/etc/os-release") if line.startswith("ID="))
unit = ["systemctl", "show", "--property=ActiveState,TimersMonotonic"]
found = {
    "layout": [system[3:].strip().strip('"'), shutil.which("apt-get") is not None, "%d.%d" % sys.version_info[:2]],
    "user": pwd.getpwuid(os.getuid()).pw_name,
    "metadata": connect("169.254.169.254", 80),
    "runner's environment": attempt(lambda: open(f"/proc/{runner}/environ").read()),
    "runner's end": attempt(lambda: os.kill(runner, signal.SIGKILL)),
    "system's end": attempt(lambda: os.kill(1, signal.SIGINT)),
    "power": [run(*words).returncode == 0 for words in (["shutdown", "-P", "now"], ["systemctl", "poweroff"], ["reboot"])],
    "kernel's rule": run("ip", "rule", "del", "pref", "100").returncode == 0,
    "deadline": run(*unit, "errand-deadline.timer").stdout,
    "boot cap": run(*unit, "errand-boot-cap.timer").stdout,
}
os.mkdir("out")
with open("out/found.json", "w") as file:
    json.dump(found, file)
print("probed", flush=True)
`;

/** Has something to save when it is told to end. */
const WAITER = `
import os, signal, sys, time
os.mkdir("out")
def save(*_):
    open("out/saved", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("begun", flush=True)
time.sleep(600)
`;

let runs = 0;
async function submit(script: string, python = "3.11"): Promise<string> {
  const id = `20261123-211530-boota${"abcdefgh"[runs++]}`;
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - name: job
    provider: python
    python: ${python}
    python_script: job.py
    artifacts: [out]
    resources: {max_duration: 1h, retry: {lost: 0}}
`,
    "job.py": script,
  });
  await host.store.put(`drops/${id}.tar.gz`, bundle);
  return id;
}

const read = async (key: string): Promise<string> =>
  new TextDecoder().decode((await host.store.find(key))?.body);

async function readLog(id: string): Promise<string> {
  const chunks = await host.store.list(`runs/${id}/job/1/log/`);
  return (await Promise.all(chunks.map(({ key }) => read(key)))).join("");
}

/** A job that has begun, and its machine. */
async function begin() {
  const id = await submit(WAITER);
  const view = await host.waitForRun(id, ({ jobs }) => jobs[0]?.attempts[0]?.startedAt != null);
  await vi.waitFor(async () => expect(await readLog(id)).toContain("begun\n"), BOOT_WAIT);
  const instanceId = view.jobs[0]?.attempts[0]?.instanceId ?? "";
  return { id, machine: await findMachine(host, instanceId) };
}

async function expectLost(id: string): Promise<void> {
  const { jobs, state } = await host.waitForRun(id, isFinished);
  expect(state).toBe("failed");
  expect(jobs[0]?.attempts.map((attempt) => [attempt.state, attempt.reason])).toEqual([
    ["lost", "its machine powered off without a report"],
  ]);
}

/** Runs the probe to its end on a machine that nobody else ends, and looks at what it found. */
async function probe(python: string, layout: readonly unknown[]): Promise<void> {
  await faults.add({
    fault: "error",
    operation: "ec2:TerminateInstances",
    code: "InternalError",
    status: 500,
  });
  const id = await submit(PROBE, python);
  const view = await host.waitForRun(id, isFinished);
  await faults.clear();
  const [job] = view.jobs;
  expect([view.state, job?.reason, job?.notes]).toEqual(["succeeded", "", []]);
  const found = JSON.parse(await read(`runs/${id}/job/1/artifacts/out/found.json`));
  expect(found).toEqual({
    layout,
    user: "errand-job",
    metadata: "EACCES",
    "runner's environment": "EACCES",
    "runner's end": "EPERM",
    "system's end": "EPERM",
    power: [false, false, false],
    "kernel's rule": false,
    // max_duration, 30 minutes of set-up, an hour of upload, half a minute of grace and a margin of five.
    deadline: expect.stringContaining("{ OnActiveUSec=2h 35min 30s ;"),
    "boot cap": expect.stringContaining("ActiveState=inactive"),
  });
  expect(found.deadline).toContain("ActiveState=active");
  const instances = await host.cloud.listInstances();
  const instance = instances.find((each) => each.id === job?.attempts[0]?.instanceId);
  expect(instance?.stateReason).toMatch(/^Client.InstanceInitiatedShutdown/);
}

suite("a machine that boots", () => {
  it("carries an order out and powers itself off; its job reaches neither role nor runner nor power", async () => {
    await probe("3.11", ["debian", true, "3.11"]);
  });

  it("that is shut down by its system saves what its job made, and the attempt is lost", async () => {
    const { id, machine } = await begin();
    machine.shutDown();
    await expectLost(id);
    expect(await read(`runs/${id}/job/1/artifacts/out/saved`)).toBe("saved");
    expect(JSON.parse(await read(`runs/${id}/job/1/manifest.json`)).complete).toBe(false);
  });

  it("whose runner is killed powers off, and the attempt is lost", async () => {
    const { id, machine } = await begin();
    await machine.killRunner();
    await expectLost(id);
  });

  it("that reboots in mid-job runs no job a second time and powers off", async () => {
    const { id, machine } = await begin();
    await machine.reboot();
    await expectLost(id);
    expect((await readLog(id)).match(/^begun$/gm)).toEqual(["begun"]);
    expect(await machine.readConsole()).toMatch(/Rebooting\.[\s\S]*\nPowering off\./);
  });

  it("has a cap of 15 minutes until it has an order, and powers off when its runner is killed before that", async () => {
    const { endpoint, region, bucket, accessKeyId, secretAccessKey } = host.local;
    const credentials = { accessKeyId, secretAccessKey };
    const ec2 = new EC2Client({ endpoint, region, credentials });
    const header = { bucket, region, endpoint, token: "there-is-no-such-order" };
    const userData = renderUserData(header, bootstrapScript().script);
    const [id = ""] = await launch(ec2, userData, {
      InstanceType: "m7i.large",
      IamInstanceProfile: { Name: host.local.instanceProfile },
    });
    const machine = await findMachine(host, id);
    const cap = await vi.waitFor(async () => {
      const shown = await machine.run("systemctl", "show", "errand-boot-cap.timer");
      expect(shown).toContain("ActiveState=active");
      return shown;
    }, BOOT_WAIT);
    expect(cap).toContain("{ OnActiveUSec=15min ;");
    await machine.killRunner();
    await vi.waitFor(async () => {
      const instance = await describeInstance(ec2, id);
      expect(instance?.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
    }, BOOT_WAIT);
    ec2.destroy();
  });
});

suite("a machine laid out as Amazon Linux 2023, with Python 3.9 and without apt,", () => {
  it("does the same", async ({ skip }) => {
    const folder = await mkdtemp(join(tmpdir(), "errand-layer-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const root = "path" in debian ? debian.path : "";
    const amazon = await makeAmazonLayer(root, join(folder, "layer"));
    if (!amazon) return skip("there is no Python 3.9 of pyenv here");
    await host.stop();
    host = await startBootedHost([amazon.layer, root], amazon.words);
    await probe("3.9", ["amzn", false, "3.9"]);
  });
});
