/** How a machine's first process is started, and held until the instance runs where a sandbox is made around it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { Socket } from "node:net";

export type Command = {
  readonly program: string;
  readonly words: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /**
   * On descriptor 3 it says that the machine is ready, waits to be told to go, and says that it is up. When the descriptor is closed
   * before, it ends, and nothing of the machine has run.
   */
  readonly isHeld: boolean;
};

/** One that is ready takes as long to go as a message takes. */
export type Ready = { go(): Promise<void> };

/** Of a held command, from its start and from `go`. */
const ANSWER_MS = 30_000;

/** Throws when it cannot be started, or ends before it is ready: why stands on the console. */
export async function makeReady(command: Command, consolePath: string): Promise<Ready> {
  if (!command.isHeld) {
    return { go: async () => void (await start(command, consolePath)).destroy() };
  }
  const wire = await start(command, consolePath);
  await hear(wire);
  return {
    go: async () => {
      wire.write("go\n");
      await hear(wire);
      wire.destroy();
    },
  };
}

/** Detached: a session of its own, which neither a signal to the cloud's group nor the cloud's end reaches. */
async function start(command: Command, consolePath: string): Promise<Socket> {
  const console = await open(consolePath, "a", 0o600);
  try {
    const child = spawn(command.program, command.words, {
      detached: true,
      cwd: command.workingDir,
      env: command.environment,
      stdio: ["ignore", console.fd, console.fd, "pipe"],
    });
    await once(child, "spawn");
    child.unref();
    const [, , , wire] = child.stdio;
    if (!(wire instanceof Socket)) throw new Error("the machine has no descriptor 3");
    // Whoever writes to one that has ended hears of it by what does not come.
    wire.on("error", () => {});
    return wire.unref();
  } finally {
    await console.close();
  }
}

async function hear(wire: Socket): Promise<void> {
  const late = setTimeout(() => wire.destroy(), ANSWER_MS);
  try {
    for await (const _ of wire.iterator({ destroyOnReturn: false })) return;
  } finally {
    clearTimeout(late);
  }
  throw new Error("the sandbox ended before the machine stood: see its console");
}
