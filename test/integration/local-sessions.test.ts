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

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `line ${from + at}`);

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");

const WRITES_MAX = 2_000;

/** Writes until enough has happened meanwhile, and `last` at the end. Returns the lines. */
async function writeUntil(
  machine: { write(text: string): Promise<void> },
  isEnough: () => boolean,
): Promise<readonly string[]> {
  const lines: string[] = [];
  for (let count = 0; count < WRITES_MAX && !(count > 10 && isEnough()); count++) {
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
    else if (event.lines.at(-1) === last) break;
  }
  return { next, skipped };
}

describe("a log is followed with each line once and in order", () => {
  test("while frames are lost, repeated and swapped", async () => {
    world.set({ dropFrames: 0.01, duplicateFrames: 0.03, reorderFrames: 0.03 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, () => {
      const { droppedFrames = 0, duplicatedFrames = 0, reorderedFrames = 0 } = world.counts();
      return Math.min(droppedFrames, duplicatedFrames, reorderedFrames) > 0;
    });
    expect((await reading).lines).toEqual(lines);
    const counts = world.counts();
    expect(counts.droppedFrames).toBeGreaterThan(0);
    expect(counts.duplicatedFrames).toBeGreaterThan(0);
    expect(counts.reorderedFrames).toBeGreaterThan(0);
  });

  test("through connections that the service closes, by new sessions and never by an old one", async () => {
    world.set({ closeAfterMs: 150 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, () => (world.counts().closedConnections ?? 0) > 2);
    expect((await reading).lines).toEqual(lines);
    const counts = world.counts();
    expect(counts.closedConnections).toBeGreaterThan(2);
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
    const counts = world.counts();
    expect(counts.startedSessions).toBeGreaterThan(2);
    expect(counts.closedConnections).toBeUndefined();
  });

  test("when sessions are encrypted, with and without a challenge", async () => {
    const machine = await world.launch();
    await machine.write("secret\n");
    for (const hasKmsChallenge of [true, false]) {
      world.set({ kmsKeyId: "arn:aws:kms:us-east-1:000000000000:key/1", hasKmsChallenge });
      const read = await readLines(world.logs, machine, { count: 1 });
      expect(read.lines).toEqual(["secret"]);
    }
    expect(world.counts().encryptedSessions).toBe(2);
  });

  test("when the agent of a young machine is not there yet, and says so meanwhile", async () => {
    world.set({ absentMs: 700 });
    const machine = await world.launch();
    await machine.write("one\n");
    const read = await readLines(world.logs, machine, { count: 1 });
    expect(read.lines).toEqual(["one"]);
    expect(reasonsOf(read.others)).toContain("not connected");
    expect(world.counts().absentAgents).toBeGreaterThan(0);
  });

  test("when starting a session fails now and then", async () => {
    world.set({ failStarts: 0.6, closeAfterMs: 100, seed: 3 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, () => (world.counts().failedStarts ?? 0) > 0);
    expect((await reading).lines).toEqual(lines);
    expect(world.counts().failedStarts).toBeGreaterThan(0);
  });

  test("when pauses with an empty header come between", async () => {
    world.set({ pauseEveryMs: 20 });
    const machine = await world.launch();
    const reading = readLines(world.logs, machine, { last: "last" });
    const lines = await writeUntil(machine, () => (world.counts().pauses ?? 0) > 2);
    expect((await reading).lines).toEqual(lines);
    expect(world.counts().pauses).toBeGreaterThan(2);
  });
});

describe("a session", () => {
  test("is kept alive by input, which output is not", async () => {
    world.set({ idleMs: 300 });
    const machine = await world.launch();
    const lines = numbered(1, 6_000);
    const lively = readLines(world.makeLogs({ inputEveryMs: 80 }), machine, { count: 6_000 });
    await writeSlowly(machine, lines);
    expect((await lively).lines).toEqual(lines);
    expect(world.counts().idleSessions).toBeUndefined();
    const silent = readLines(world.logs, machine, { count: 6_001 });
    await new Promise((resolve) => setTimeout(resolve, 600));
    await machine.write("last\n");
    expect((await silent).lines.at(-1)).toBe("last");
    expect(world.counts().idleSessions).toBeGreaterThan(0);
  });

  test("is ended, with its command, when nobody follows any more", async () => {
    const machine = await world.launch();
    await machine.write("one\n");
    await readLines(world.logs, machine, { count: 1 });
    await expect.poll(() => world.counts().open).toBe(0);
    const left = (await listProcesses()).filter(({ cookie }) =>
      cookie.startsWith(machine.instanceId),
    );
    // The machine itself: its user-data, which sleeps.
    expect(left).toHaveLength(1);
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
