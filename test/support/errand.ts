/**
 * Errand as users have it, for tests: the daemon and the commands as real processes of what `scripts/build.sh` made.
 * Whatever a test starts ends with it, and no instance's process may be left when the daemon has stopped.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { createS3Client } from "../../src/aws/s3-client.ts";
import { createStore } from "../../src/aws/store.ts";
import { needLocalCloud } from "../../src/cli/local-note.ts";
import { findRun } from "../../src/cli/select-run.ts";
import type { RunView } from "../../src/core/view.ts";
import { listSurvivors } from "../../src/local/survivors.ts";
import { servedPorts } from "./serve.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const errandPath = path.join(root, "dist/src/cli/main.js");
const READY_MS = 90_000;
const STOP_MS = 30_000;
const COMMAND_MS = 120_000;

export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type Ready = {
  readonly endpoint: string;
  readonly bucket: string;
  readonly queueUrl: string;
};

/** A running `errand daemon --local`, and commands that speak to its local cloud. */
export type Errand = {
  readonly data: string;
  readonly ready: () => Ready;
  /** Runs a command to its end, with `--local --data`. */
  readonly run: (...words: string[]) => Promise<Finished>;
  /** Starts a command and lets it go on. */
  readonly start: (...words: string[]) => Running;
  readonly show: (run?: string) => Promise<RunView>;
  /** Waits until the view is as it should be; fails with what it last was. */
  readonly until: (
    what: string,
    isSo: (view: RunView) => boolean,
    run?: string,
  ) => Promise<RunView>;
  /** SIGTERM; returns the exit code. */
  readonly stop: () => Promise<number>;
  /** kill -9, and what the system does for whoever is dead. */
  readonly kill: () => Promise<void>;
  readonly restart: () => Promise<void>;
};

export type Running = {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Waits until its output so far matches, and returns the match. */
  readonly said: (pattern: RegExp) => Promise<RegExpExecArray>;
};

export type ErrandOptions = {
  /** Over the daemon's own; its machines take over PATH, proxies and what is uv's and pip's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** That of an earlier one, which has stopped, or in which the test itself runs the local cloud; a new one without. */
  readonly data?: string;
  /** The configuration of the daemon and of the commands. */
  readonly config?: string;
  /** More words for the daemon. */
  readonly words?: readonly string[];
  /** User and group that the daemon runs as, where the test may choose. */
  readonly user?: number;
  /** Told what the daemon writes to stderr, in place of the test's own. */
  readonly onLog?: (text: string) => void;
};

export async function startErrand(options: ErrandOptions = {}): Promise<Errand> {
  const { errand, end } = await startDaemon(options);
  onTestFinished(end);
  return errand;
}

/** One for all tests of a file: to start it takes longer than most jobs. Each test looks at its own runs. */
export function shareErrand(
  makeOptions: () => Promise<ErrandOptions> = async () => ({}),
): () => Errand {
  let started: Awaited<ReturnType<typeof startDaemon>> | undefined;
  beforeAll(async () => {
    started = await startDaemon(await makeOptions());
  });
  afterAll(() => started?.end());
  return () => {
    if (!started) throw new Error("the daemon is started before the first test");
    return started.errand;
  };
}

async function startDaemon(options: ErrandOptions) {
  const { words = [], user, onLog } = options;
  const data = options.data ?? (await mkdtemp(path.join(tmpdir(), "errand-e2e-")));
  const configured = options.config === undefined ? [] : ["--config", options.config];
  if (user !== undefined) await chown(data, user, user);
  const ports = servedPorts().join(",");
  let daemon: ChildProcess | undefined;
  let ready: Ready | undefined;

  async function boot(): Promise<void> {
    daemon = spawn(
      process.execPath,
      [
        ...[errandPath, "daemon", "--local", "--data", data, "--port", "0"],
        ...["--log-level", "warn", ...configured],
        ...(ports === "" ? [] : ["--allow-loopback", ports]),
        ...words,
      ],
      {
        stdio: ["ignore", "pipe", onLog ? "pipe" : "inherit"],
        env: { ...environment(), ...options.environment },
        ...(user === undefined ? {} : { uid: user, gid: user }),
      },
    );
    daemon.stderr?.setEncoding("utf8").on("data", (text: string) => onLog?.(text));
    ready = await untilReady(daemon);
  }
  async function stop(): Promise<number> {
    const child = daemon;
    daemon = undefined;
    if (!child) return 0;
    return end(child);
  }
  const start = (...words: string[]) =>
    startCommand([...words, "--local", "--data", data, ...configured], options.environment);
  const run = (...words: string[]) => start(...words).finished;
  async function show(reference = "latest"): Promise<RunView> {
    const { code, stdout, stderr } = await run("show", reference, "--json");
    if (code !== 0) throw new Error(`errand show ${reference}: ${stderr}`);
    return JSON.parse(stdout) as RunView;
  }

  const endAll = async () => {
    await stop();
    await rm(data, { recursive: true, force: true });
  };
  await boot().catch(async (error: unknown) => {
    await endAll();
    throw error;
  });
  const errand: Errand = {
    data,
    ready: () => {
      if (!ready) throw new Error("the daemon is not ready");
      return ready;
    },
    run,
    start,
    show,
    // As `show` does, without a process for each look.
    until: (what, isSo, reference = "latest") =>
      waitFor(what, () => readView(data, reference), isSo),
    stop,
    kill: async () => {
      const child = daemon;
      daemon = undefined;
      if (!child) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
    restart: boot,
  };
  return { errand, end: endAll };
}

async function readView(data: string, reference: string): Promise<RunView> {
  const { bucket, region, endpoint, ...credentials } = await needLocalCloud(data);
  const s3 = createS3Client({ region, endpoint, credentials });
  try {
    return await findRun(createStore(s3, bucket), reference);
  } finally {
    s3.destroy();
  }
}

/** Runs a command that needs no local cloud. */
export const runErrand = (...words: string[]): Promise<Finished> => startCommand(words).finished;

function startCommand(
  words: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Running {
  const child = spawn(process.execPath, [errandPath, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...environment(), ...more },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      texts[name] += chunk;
    });
  }
  const finished = untilClosed(child).then((code) => ({ code, ...texts }));
  const said = async (pattern: RegExp) => {
    await waitFor(
      `${pattern}`,
      async () => texts,
      ({ stdout }) => pattern.test(stdout),
    );
    const match = pattern.exec(texts.stdout);
    if (!match) throw new Error(`${pattern} matches only sometimes`);
    return match;
  };
  return { child, finished, said };
}

/** The exit code; -1 for a command that was killed, as all are after two minutes. */
async function untilClosed(child: ChildProcess): Promise<number> {
  const timer = setTimeout(() => child.kill("SIGKILL"), COMMAND_MS);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return code ?? -1;
}

/** Nothing of this machine's AWS, nor of its colours; and nobody asks the internet who is not told to. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(AWS|ERRAND)_/.test(name));
  return { ...Object.fromEntries(kept), NO_COLOR: "1", UV_OFFLINE: "1" };
}

async function untilReady(daemon: ChildProcess): Promise<Ready> {
  if (!daemon.stdout) throw new Error("the daemon has no stdout");
  const lines = createInterface({ input: daemon.stdout, signal: AbortSignal.timeout(READY_MS) });
  for await (const line of lines) {
    const [, json] = /^ready (\{.*\})$/.exec(line) ?? [];
    if (json === undefined) continue;
    daemon.stdout.resume();
    return JSON.parse(json) as Ready;
  }
  throw new Error("the daemon ended, or was not ready in time");
}

async function end(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null) return child.exitCode;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  const [code] = (await gone) as [number | null];
  clearTimeout(timer);
  if (code === null) throw new Error(`the daemon did not stop within ${STOP_MS} ms of SIGTERM`);
  return code;
}

const WAIT_MS = 60_000;

/** Looks again and again, for a minute at most. */
export async function waitFor<Value>(
  what: string,
  look: () => Promise<Value>,
  isSo: (value: Value) => boolean,
): Promise<Value> {
  const until = Date.now() + WAIT_MS;
  for (;;) {
    const value = await look();
    if (isSo(value)) return value;
    if (Date.now() > until)
      throw new Error(`waiting for ${what}: ${JSON.stringify(value, null, 2)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Ids of processes that belong to machines of a data directory. */
export const listMachineProcesses = (data: string): Promise<readonly number[]> =>
  listSurvivors(data);

export const examplePath = (name: string): string => path.join(root, "examples", name);
