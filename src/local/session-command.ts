/**
 * A session's command and its output, as the agent's plugin for commands without a terminal has them: standard output and error apart, and an
 * exit code after both; or, without `separateOutputStream`, all of it at the end, and no exit code.
 */
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { createOutputCutter } from "./session-output.ts";

export type Command = ChildProcessByStdio<null, Readable, Readable>;

export type CommandOptions = {
  readonly isSeparated: boolean;
  readonly send: (payloadType: number, bytes: Buffer) => void;
  /** The client is away. */
  readonly isPaused: () => boolean;
  /** Bytes that the connection has not taken yet. */
  readonly backlog: () => number;
  readonly onPumpDead: () => void;
};

export const OUTPUT = 1;
const STDERR = 11;
const EXIT_CODE = 12;
/** What the connection may owe before the pump waits, as the agent's blocking write does. */
const BACKLOG_MAX = 1 << 20;

/** Resolves when the command has ended and everything of it has been sent. */
export async function pumpCommand(command: Command, options: CommandOptions): Promise<void> {
  const held: Buffer[] = [];
  const { isSeparated, send } = options;
  const take = (payloadType: number) => (bytes: Buffer) => {
    if (isSeparated) send(payloadType, bytes);
    else held.push(bytes);
  };
  const ended = Promise.all([
    once(command, "exit").then(([code]) => ({ code: code ?? 1, words: "" })),
    pump(command.stdout, take(OUTPUT), options),
    pump(command.stderr, take(STDERR), options),
  ]).then(([exit]) => exit);
  // The other promises reject with it, and say no more than it does.
  ended.catch(() => {});
  const failed = new Promise<{ code: number; words: string }>((resolve) => {
    command.once("error", ({ message }) => resolve({ code: 1, words: message }));
  });
  const { code, words } = await Promise.race([failed, ended.catch(() => failed)]);
  for (const bytes of held) send(OUTPUT, bytes);
  if (isSeparated) send(EXIT_CODE, Buffer.from(`EXIT_CODE: ${code}`));
  if (words !== "") send(STDERR, Buffer.from(words));
}

async function pump(
  readable: Readable,
  take: (bytes: Buffer) => void,
  { isSeparated, isPaused, backlog, onPumpDead }: CommandOptions,
): Promise<void> {
  const cutter = createOutputCutter();
  for await (const bytes of readable) {
    for (const part of cutter.cut(bytes)) take(part);
    if (isPaused() && isSeparated) {
      onPumpDead();
      await FOREVER;
    }
    while (backlog() > BACKLOG_MAX) await pass(1);
  }
}

/** A pump that read while the client was away is dead: what the command still prints, nobody reads. */
const FOREVER = new Promise<never>(() => {});

export const pass = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
