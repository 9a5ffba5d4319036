/**
 * `npm run demo`: the whole way of a run, offline and in seconds. Starts a daemon with the local cloud, serves a text on
 * loopback, submits `examples/tinylm` and shows what came of it. Leaves no process behind and says so.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { listSurvivors } from "../src/local/survivors.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const errandPath = path.join(root, "dist/src/cli/main.js");
const READY_MS = 30_000;
const STOP_MS = 20_000;

const say = (text: string): void => console.log(text);
const step = (text: string): void =>
  say(process.stdout.isTTY ? `\n\x1b[1m${text}\x1b[22m` : `\n${text}`);

const stop = new AbortController();
let interrupted: NodeJS.Signals | undefined;
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    interrupted ??= name;
    stop.abort();
  });
}

process.exitCode = await main();

async function main(): Promise<number> {
  const data = await mkdtemp(path.join(tmpdir(), "errand-demo-"));
  const text = await serveText();
  // A group of its own: Ctrl-C reaches the demo alone, which then ends what it started, in order.
  const { port } = text.address() as AddressInfo;
  const words = ["daemon", "--local", "--data", data, "--port", "0"];
  // A machine has a loopback of its own: the port of the text is let in.
  const daemon = start([...words, "--allow-loopback", String(port)], "daemon");
  let code = 1;
  try {
    step("errand daemon --local");
    await untilReady(daemon);
    code = await show(data, `http://127.0.0.1:${port}/sonnets.txt`);
  } catch (error) {
    if (!stop.signal.aborted) say(`error: ${error instanceof Error ? error.message : error}`);
  } finally {
    await end(daemon);
    text.close();
    text.closeAllConnections();
    code = (await sayWhatIsLeft(data)) ? code : 1;
    await rm(data, { recursive: true, force: true });
  }
  return interrupted ? 130 : code;
}

/** Submits and looks at what came of it; returns the exit code of submit. */
async function show(data: string, url: string): Promise<number> {
  const local = ["--local", "--data", data];
  step("errand submit examples/tinylm train --url …");
  const code = await run(["submit", "examples/tinylm", "train", "--url", url, ...local]);
  step("errand show latest");
  await run(["show", "latest", ...local]);
  step("errand artifacts latest");
  await run(["artifacts", "latest", ...local]);
  if (code !== 0) return code;
  // A folder that git ignores, and that the next demo replaces.
  const kept = path.join(root, ".errand/demo");
  await rm(kept, { recursive: true, force: true });
  step(`errand artifacts latest --download ${kept}`);
  await run(["artifacts", "latest", "--download", kept, ...local]);
  const sample = await readFile(path.join(kept, "train/checkpoint/sample.txt"), "utf8");
  say(`\nloss curve: ${path.join(kept, "train/checkpoint/loss.svg")}`);
  say(`a sample of what the model writes:\n\n${sample.trimEnd().replace(/^/gm, "  ")}`);
  return code;
}

/** `examples/text` on loopback, on any free port. */
async function serveText(): Promise<Server> {
  const body = await readFile(path.join(root, "examples/text/sonnets.txt"));
  const server = createServer((request, response) => {
    const isText = request.url === "/sonnets.txt";
    response.writeHead(isText ? 200 : 404, { "content-type": "text/plain; charset=utf-8" });
    response.end(isText ? body : "not here\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function start(words: readonly string[], kind: "daemon" | "command"): ChildProcess {
  return spawn(process.execPath, [errandPath, ...words], {
    cwd: root,
    detached: true,
    // The daemon's log would drown the rest.
    stdio: kind === "daemon" ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"],
    // The example needs nothing of the internet, and is not to wait for it.
    env: {
      UV_OFFLINE: "1",
      ...process.env,
      ...(kind === "daemon" ? { ERRAND_LOG_LEVEL: "warn" } : {}),
    },
  });
}

async function untilReady(daemon: ChildProcess): Promise<void> {
  const { stdout, stderr } = daemon;
  if (!stdout || !stderr) throw new Error("the daemon has no output to read");
  let said = "";
  stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk).slice(-4_000);
  });
  const late = AbortSignal.any([AbortSignal.timeout(READY_MS), stop.signal]);
  const lines = createInterface({ input: stdout, signal: late });
  for await (const line of lines) {
    if (!line.startsWith("ready ")) continue;
    say(line);
    stdout.resume();
    return;
  }
  throw new Error(`the daemon did not become ready\n${said}`);
}

/** Runs a command to its end; Ctrl-C ends it. */
async function run(words: readonly string[]): Promise<number> {
  if (stop.signal.aborted) throw new Error("interrupted");
  const child = start(words, "command");
  const interrupt = () => child.kill("SIGINT");
  stop.signal.addEventListener("abort", interrupt);
  const [code] = (await once(child, "exit")) as [number | null];
  stop.signal.removeEventListener("abort", interrupt);
  if (stop.signal.aborted) throw new Error("interrupted");
  return code ?? 1;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await gone;
  clearTimeout(timer);
}

/** True when no process of a machine still runs. */
async function sayWhatIsLeft(data: string): Promise<boolean> {
  const left = await listSurvivors(data);
  say(left.length === 0 ? "\nno process is left behind" : `\nstill running: ${left.join(", ")}`);
  return left.length === 0;
}
