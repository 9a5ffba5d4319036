/** A local cloud's EC2 whose machines are in sandboxes, in a process of its own: as this user, or as an ordinary one. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EC2Client } from "@aws-sdk/client-ec2";
import { makeCredentials } from "../../src/local/credentials.ts";
import { chooseSandbox, type SandboxChoice } from "../../src/local/sandbox.ts";
import { listSurvivors } from "../../src/local/survivors.ts";

/** Whom nobody is, on all systems that Errand knows. */
export const ORDINARY_USER = 65_534;
export const isRoot = process.geteuid?.() === 0;

export type SandboxHost = {
  readonly ec2: EC2Client;
  readonly endpoint: string;
  readonly notice: string;
  readonly folder: string;
  /** Where machines may write to, at the same path. */
  readonly out: string;
  /** Runs a command inside of a machine, as its agent would, to its end. */
  readonly run: (instanceId: string, ...words: string[]) => Promise<Ran>;
  /** Dies as by kill -9; its machines go on. */
  readonly kill: () => Promise<void>;
  /** On the same port. */
  readonly restart: () => Promise<void>;
  readonly listSurvivors: () => Promise<readonly number[]>;
  /** Ends the machines. */
  readonly stop: () => Promise<void>;
};

export type Ran = {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
};

export type SandboxHostOptions = {
  readonly sandbox: SandboxChoice;
  readonly user: number | undefined;
  readonly allowLoopback?: readonly number[];
  /** More variables of the host. */
  readonly environment?: Readonly<Record<string, string>>;
};

/** Why a kind of sandbox is not to be had by this user; empty when it is. */
export async function whyNot(choice: SandboxChoice): Promise<string> {
  const options = { choice, egress: "any", allowLoopback: [], shares: [] } as const;
  return await chooseSandbox(options, { PATH: process.env.PATH ?? "" }).then(
    () => "",
    (error: Error) => error.message,
  );
}

export async function startSandboxHost(options: SandboxHostOptions): Promise<SandboxHost> {
  const { user } = options;
  const folder = await mkdtemp(join(tmpdir(), "errand's sandboxes "));
  const out = `${folder}-out`;
  await mkdir(out);
  await chmod(out, 0o777);
  if (user !== undefined) for (const each of [folder, out]) await chown(each, user, user);
  const support = join(import.meta.dirname, ".");
  const words = [join(support, "run-typescript.mjs"), join(support, "local-ec2-host.ts"), folder];
  const ports = (options.allowLoopback ?? []).join(",");
  let host: ChildProcess;
  let lines: AsyncIterator<string>;
  let [endpoint, notice] = ["", ""];

  async function start(): Promise<void> {
    const port = endpoint === "" ? "0" : new URL(endpoint).port;
    host = spawn(process.execPath, [...words, port, "10", options.sandbox, ports, out], {
      stdio: ["pipe", "pipe", "inherit"],
      ...(user === undefined ? {} : { uid: user, gid: user }),
      env: { ...process.env, ...(user === undefined ? {} : { HOME: folder }) },
    });
    if (host.stdout === null) throw new Error("the host has no output");
    lines = createInterface(host.stdout)[Symbol.asyncIterator]();
    [endpoint, notice] = [(await lines.next()).value ?? "", (await lines.next()).value ?? ""];
    if (notice === "") throw new Error("the local cloud did not start");
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (host.exitCode !== null || host.signalCode !== null) return;
    const ended = once(host, "exit");
    host.kill(signal);
    await ended;
  }
  await start();
  const credentials = makeCredentials(Buffer.alloc(32, 7)).owner;
  const ec2 = new EC2Client({ region: "us-east-1", endpoint, credentials, maxAttempts: 2 });
  return {
    ec2,
    endpoint,
    notice,
    folder,
    out,
    run: async (...words) => {
      host.stdin?.write(`${JSON.stringify(words)}\n`);
      return JSON.parse((await lines.next()).value ?? "null") as Ran;
    },
    kill: () => end("SIGKILL"),
    restart: start,
    listSurvivors: () => listSurvivors(folder),
    stop: async () => {
      ec2.destroy();
      await end("SIGTERM");
      for (const each of [folder, out]) await rm(each, { recursive: true, force: true });
    },
  };
}
