/** Logs as they are written: through the daemon, the session and the local cloud's data channel, joined with the durable chunks. */
import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { EC2Client, TerminateInstancesCommand } from "@aws-sdk/client-ec2";
import { describe, expect, it, onTestFinished } from "vitest";
import { readLocalTypes } from "../../src/cli/local-types.ts";
import type { RunView } from "../../src/core/view.ts";
import type { LocalCloud } from "../../src/local/local-cloud.ts";
import { makeDirectory } from "../support/directory.ts";
import { runErrand, startErrand } from "../support/errand.ts";
import { makeFaultCalls } from "../support/faults.ts";
import { startTestCloud } from "../support/test-cloud.ts";

const project = (script: string) =>
  makeDirectory({
    ".dstack/workflows.yaml":
      "workflows:\n  - name: talk\n    provider: python\n    python_script: talk.py\n",
    "talk.py": script,
  });

const MAIN = path.join(import.meta.dirname, "../../dist/src/cli/main.js");

const isFinished = (view: RunView): boolean => view.finishedAt !== null;
const isRunning = (view: RunView): boolean => view.jobs.some(({ state }) => state === "running");

/** More in `npm run test:all`. */
const LINES = Number(process.env.LOG_LINES ?? 20_000);

const LONG = { timeout: 60_000 };
const STORED = { timeout: 120_000, interval: 500 };

async function terminate({ region, endpoint, ...secrets }: LocalCloud, id: string): Promise<void> {
  const { accessKeyId, secretAccessKey } = secrets;
  const ec2 = new EC2Client({ region, endpoint, credentials: { accessKeyId, secretAccessKey } });
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
  ec2.destroy();
}

const FAULTS = [
  { fault: "frame-lost", id: "lost", probability: 0.02 },
  { fault: "frame-twice", probability: 0.03 },
  { fault: "frame-out-of-order", probability: 0.03 },
  { fault: "connection-closes", afterMs: 2_500 },
];

describe("a log", () => {
  it("of a line of 10 MB, of bytes that are no text, of very many lines and without a last newline is there byte for byte", async () => {
    const errand = await startErrand();
    const script = [
      "import sys",
      'out = sys.stdout.buffer; out.write(b"x" * 10_000_000 + b"\\n" + bytes(range(256)) + b"\\r\\n")',
      `for n in range(${LINES * 5}): out.write(b"%d\\n" % n)`,
      'out.write(b"the end")',
    ].join("\n");
    const { stdout } = await errand.run("submit", await project(script), "--detach", "--json");
    const { id } = JSON.parse(stdout) as RunView;
    const view = await errand.until("the run's end", isFinished, id);
    expect(view.state).toBe("succeeded");
    const words = [MAIN, "logs", id, "talk", "--local", "--data", errand.data];
    const options = { encoding: "buffer", maxBuffer: 1 << 30 } as const;
    const { stdout: bytes } = await promisify(execFile)(process.execPath, words, options);
    const wanted = Buffer.concat([
      Buffer.alloc(10_000_000, "x"),
      Buffer.from("\n"),
      Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      Buffer.from("\r\n"),
      Buffer.from(Array.from({ length: LINES * 5 }, (_, n) => `${n}\n`).join("")),
      Buffer.from("the end"),
    ]);
    expect(bytes.subarray(-wanted.length).equals(wanted)).toBe(true);
    expect(bytes.subarray(0, -wanted.length).toString()).toMatch(/^(errand: .*\n)+$/);
    const tail = await errand.run("logs", id, "talk", "--tail", "2");
    expect(tail.stdout).toBe(`${LINES * 5 - 1}\nthe end`);
  });
});

describe("a log that is followed", () => {
  it("comes as it is written, while no chunk of it reaches the bucket", async () => {
    const errand = await startErrand();
    const script =
      'import sys\nfor line in sys.stdin or []: pass\nimport time\nprint("spoken", flush=True)\ntime.sleep(6)\nprint("done")\n';
    const rule = ["error", "operation=s3:PutObject", "code=SlowDown", "match.key=runs/*/log/*"];
    const added = await runErrand("local", "faults", "add", ...rule, "--data", errand.data);
    expect(added.code, added.stderr).toBe(0);
    const { stdout } = await errand.run("submit", await project(script), "--detach", "--json");
    const { id } = JSON.parse(stdout) as RunView;
    await errand.until("a running job", isRunning, id);
    const following = errand.start("logs", id, "talk", "--follow");
    await following.said(/^spoken$/m);
    // Nothing of it is in the bucket: whoever reads that alone sees nothing.
    expect((await errand.run("logs", id, "talk")).stdout).toBe("");
    const faults = ["local", "faults"] as const;
    const listed = await runErrand(...faults, "list", "--json", "--data", errand.data);
    const [{ fired = 0 } = {}] = JSON.parse(listed.stdout) as { readonly fired?: number }[];
    expect(fired).toBeGreaterThan(0);
    await runErrand(...faults, "clear", "--data", errand.data);
    const { stdout: shown } = await following.finished;
    const durable = await errand.run("logs", id, "talk");
    expect(shown).toBe(durable.stdout);
    expect(shown).toMatch(/^spoken\ndone$/m);
  });

  it("has each line once and in order, though frames are lost, connections close, the daemon is killed and the machine too", async () => {
    const data = await mkdtemp(path.join(tmpdir(), "errand-live-"));
    const world = await startTestCloud({
      directory: data,
      instanceTypes: await readLocalTypes(),
      environment: { PATH: process.env.PATH ?? "" },
    });
    let isOver: Promise<void> | undefined;
    const dispose = () => {
      isOver ??= world.dispose();
      return isOver;
    };
    onTestFinished(dispose);
    const { cloud } = world;
    const faults = makeFaultCalls(() => cloud);
    await faults.add(...FAULTS);
    const errand = await startErrand({ data });
    // Before the directory is taken away, which the daemon's own end does.
    onTestFinished(async () => {
      await errand.stop();
      await dispose();
    });
    const script = `import time\nfor n in range(1, ${LINES + 1}):\n    print("line", n)\n    if n % ${LINES / 200} == 0: time.sleep(0.1)\ntime.sleep(600)\n`;
    const { stdout } = await errand.run("submit", await project(script), "--detach", "--json");
    const { id } = JSON.parse(stdout) as RunView;
    const running = await errand.until("a running job", isRunning, id);
    const following = errand.start("logs", id, "talk", "--follow", "--timestamps");
    const { counts } = cloud.sessions;
    await following.said(/ line 1000$/m);
    await expect.poll(() => faults.fired("lost"), LONG).toBeGreaterThan(0);
    await errand.kill();
    const before = counts().startedSessions ?? 0;
    await errand.restart();
    await expect.poll(() => counts().startedSessions ?? 0, LONG).toBeGreaterThan(before);
    const readStored = async () => (await errand.run("logs", id, "talk", "--timestamps")).stdout;
    await expect.poll(readStored, STORED).toMatch(new RegExp(` line ${LINES}$`, "m"));
    await terminate(cloud, running.jobs[0]?.attempts[0]?.instanceId ?? "");
    const view = await errand.until("the run's end", isFinished, id);
    expect(view.jobs[0]?.attempts.map(({ state }) => state)).toEqual(["cancelled"]);
    const stored = await readStored();
    const lines = stored.split("\n").flatMap((line) => / (line \d+)$/.exec(line)?.[1] ?? []);
    expect(lines).toEqual(Array.from({ length: LINES }, (_, at) => `line ${at + 1}`));
    // Seen as it was written, it had the same lines and the same times.
    expect((await following.finished).stdout).toBe(stored);
    for (const { fault, fired } of await faults.list()) expect(fired, fault).toBeGreaterThan(0);
  });
});
