/** The client of src/aws/session against the data channel of the local cloud, misbehaving: two implementations that share no code. */
import { TerminateInstancesCommand } from "@aws-sdk/client-ec2";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listProcesses } from "../../src/local/machines-processes.ts";
import type { LogEvent } from "../../src/ports.ts";
import { readLines, type SessionWorld, startSessionWorld } from "../support/local-session.ts";

let world: SessionWorld;

beforeEach(async () => {
  world = await startSessionWorld();
});

afterEach(async () => {
  await world.dispose();
});

const only = async (rule: object): Promise<string> => (await world.faults.add(rule))[0] ?? "";
const fired = (rule: string): Promise<number> => world.faults.fired(rule);

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `line ${from + at}`);

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");

const WRITES_MAX = 2_000;

/** Writes until enough has happened meanwhile, and `last` at the end. Returns the lines. */
async function writeUntil(
  machine: { write(text: string): Promise<void> },
  isEnough: () => boolean | Promise<boolean>,
): Promise<readonly string[]> {
  const lines: string[] = [];
  for (let count = 0; count < WRITES_MAX && !(count > 10 && (await isEnough())); count++) {
    const some = numbered(lines.length + 1, lines.length + 50);
    await machine.write(textOf(some));
    lines.push(...some);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await machine.write("last\n");
  return [...lines, "last"];
}

/** Writes in pieces, so that many messages are on their way. */
async function writeSlowly(machine: { write(text: string): Promise<void> }, lines: string[]) {
  for (let at = 0; at < lines.length; at += 100) {
    await machine.write(textOf(lines.slice(at, at + 100)));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const reasonsOf = (events: readonly LogEvent[]): string =>
  events.map((event) => (event.type === "waiting" ? event.reason : event.type)).join("; ");

/** As a terminal that is stopped for a while: reads after that, until a line comes. */
async function readStopped(from: SessionWorld, instanceId: string, last: string) {
  let [next, skipped] = [1, 0];
  for await (const event of from.logs.follow(instanceId, 1, AbortSignal.timeout(50_000))) {
    if (event.type === "live") await new Promise((resolve) => setTimeout(resolve, 4_000));
    if (event.type !== "lines" && event.type !== "skipped") continue;
    expect(event.firstLine).toBe(next);
    next = event.type === "lines" ? next + event.lines.length : event.lastLine + 1;
    if (event.type === "skipped") skipped += next - event.firstLine;
    else if (event.lines.at(-1)?.text === last) break;
  }
  return { next, skipped };
}

describe("a log is followed with each line once and in order", () => {
  test("while frames are lost, repeated and swapped", async () => {
    await world.faults.add(
      { fault: "frame-lost", probability: 0.01 },
      { fault: "frame-twice", probability: 0.03 },
      { fault: "frame-out-of-order", probability: 0.03 },
    );
    const fired = async () => (await world.faults.list()).map((rule) => rule.fired);
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, async () => Math.min(...(await fired())) > 0);
    expect((await reading).lines).toEqual(lines);
    expect(Math.min(...(await fired()))).toBeGreaterThan(0);
  });

  test("through connections that the service closes, by new sessions and never by an old one", async () => {
    const rule = await only({ fault: "connection-closes", afterMs: 150 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, async () => (await fired(rule)) > 2);
    expect((await reading).lines).toEqual(lines);
    const counts = world.counts();
    expect(await fired(rule)).toBeGreaterThan(2);
    expect(counts.startedSessions).toBeGreaterThan(2);
    expect(counts.resumedSessions).toBeUndefined();
  });

  test("from session to session before the service closes them, without a break", async () => {
    const machine = await world.launch();
    const logs = world.makeLogs({ rotateMs: 150 });
    const reading = readLines(logs, machine, { last: "last" });
    const lines = await writeUntil(machine, () => (world.counts().startedSessions ?? 0) > 2);
    const read = await reading;
    expect(read.lines).toEqual(lines);
    expect(read.others.filter(({ type }) => type === "waiting")).toEqual([]);
    expect(world.counts().startedSessions).toBeGreaterThan(2);
  });

  test("when sessions are encrypted, with and without a challenge", async () => {
    const machine = await world.launch();
    await machine.write("secret\n");
    for (const hasKmsChallenge of [true, false]) {
      world.prefer({ kmsKeyId: "arn:aws:kms:us-east-1:000000000000:key/1", hasKmsChallenge });
      const read = await readLines(world.logs, machine, { count: 1 });
      expect(read.lines).toEqual(["secret"]);
    }
    expect(world.counts().encryptedSessions).toBe(2);
  });

  test("when the agent of a young machine is not there yet, and says so meanwhile", async () => {
    const rule = await only({ fault: "agent-absent", forMs: 700 });
    const machine = await world.launch();
    await machine.write("one\n");
    const read = await readLines(world.logs, machine, { count: 1 });
    expect(read.lines).toEqual(["one"]);
    expect(reasonsOf(read.others)).toContain("not connected");
    expect(await fired(rule)).toBeGreaterThan(0);
  });

  test("when starting a session fails now and then", async () => {
    await only({ fault: "connection-closes", afterMs: 100 });
    const rule = await only({
      fault: "error",
      operation: "ssm:StartSession",
      code: "InternalServerError",
      probability: 0.6,
      seed: 3,
    });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, async () => (await fired(rule)) > 0);
    expect((await reading).lines).toEqual(lines);
    expect(await fired(rule)).toBeGreaterThan(0);
  });

  test("when pauses with an empty header come between", async () => {
    const rule = await only({ fault: "session-pauses", everyMs: 20 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, async () => (await fired(rule)) > 2);
    expect((await reading).lines).toEqual(lines);
    expect(await fired(rule)).toBeGreaterThan(2);
  });

  test("when sessions may be started far less often than they are", async () => {
    await only({ fault: "connection-closes", afterMs: 100 });
    const rule = await only({ fault: "throttle", operation: "ssm:StartSession", probability: 0.6 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, async () => (await fired(rule)) > 0);
    expect((await reading).lines).toEqual(lines);
  });

  test("when its machine loses the network for a while, within the same session", async () => {
    const machine = await world.launch();
    await machine.write("before\n");
    const reading = readLines(world.logs, machine, { last: "last" });
    await expect.poll(() => world.counts().startedSessions).toBe(1);
    const match = { instanceId: machine.instanceId };
    const rule = await only({ fault: "network-loss", match, forMs: 1_000 });
    await expect.poll(() => fired(rule)).toBe(1);
    const lostAt = performance.now();
    await machine.write("last\n");
    const { lines } = await reading;
    expect(lines).toEqual(["before", "last"]);
    expect(performance.now() - lostAt).toBeGreaterThan(700);
    expect(world.counts().startedSessions).toBe(1);
  });
});

describe("a session", () => {
  test("is kept alive by input, which output is not", async () => {
    const rule = await only({ fault: "idle-timeout", afterMs: 300 });
    const machine = await world.launch();
    const lines = numbered(1, 6_000);
    const lively = readLines(world.makeLogs({ inputEveryMs: 80 }), machine, { count: 6_000 });
    await writeSlowly(machine, lines);
    expect((await lively).lines).toEqual(lines);
    expect(await fired(rule)).toBe(0);
    const silent = readLines(world.logs, machine, { count: 6_001 });
    await new Promise((resolve) => setTimeout(resolve, 600));
    await machine.write("last\n");
    expect((await silent).lines.at(-1)).toBe("last");
    expect(await fired(rule)).toBeGreaterThan(0);
  });

  test("is ended, with its command, when nobody follows any more", async () => {
    const machine = await world.launch();
    await machine.write("one\n");
    await readLines(world.logs, machine, { count: 1 });
    await expect.poll(() => world.counts().open).toBe(0);
    const left = (await listProcesses()).filter(({ cookie }) =>
      cookie.startsWith(machine.instanceId),
    );
    // The machine itself: its user-data, which sleeps, below its reaper.
    expect(left).toHaveLength(2);
  });

  test("falls silent when its machine is gone, and leaving does not hang on it", async () => {
    const machine = await world.launch();
    await machine.write("one\n");
    const leaving = new AbortController();
    const events: LogEvent[] = [];
    for await (const event of world
      .makeLogs({ farewellMs: 100 })
      .follow(machine.instanceId, 1, leaving.signal)) {
      events.push(event);
      if (event.type !== "lines") continue;
      const InstanceIds = [machine.instanceId];
      await world.clients.ec2.send(new TerminateInstancesCommand({ InstanceIds }));
      setTimeout(() => leaving.abort(), 300);
    }
    expect(reasonsOf(events)).toBe("live; lines");
  });

  test("that goes faster than its reader costs bounded memory, and the reader is told what it missed", async () => {
    const machine = await world.launch();
    const wide = "x".repeat(1_000);
    for (let block = 0; block < 12; block++) await machine.write(`${wide}\n`.repeat(1_000));
    await machine.write("last\n");
    const { next, skipped } = await readStopped(world, machine.instanceId, "last");
    expect(next).toBe(12_002);
    expect(skipped).toBeGreaterThan(0);
  });
});
