/**
 * How many small objects a second the local cloud takes at 50 at once, beside moto in the same run. The links are signed before the
 * clock starts, and plain HTTP sends them: what the SDK costs its user is not the server's, and has a line of its own.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const PUTS = Number(process.env.PUTS ?? 4000);
const AT_ONCE = 50;
const BODY = Buffer.alloc(1024, "x");

type Server = {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly pid: number | undefined;
  readonly stop: () => Promise<void>;
};

export async function benchS3(): Promise<void> {
  console.log(
    `\nPUTs of ${BODY.length} B, ${AT_ONCE} at once, ${PUTS} of them, load ${loadavg()[0]?.toFixed(1)}:`,
  );
  const local = await startLocal();
  const ours = await measure("local cloud", local);
  const moto = await startMoto();
  if (typeof moto === "string") {
    console.log(`moto: not measured: ${moto}`);
    return;
  }
  const theirs = await measure("moto", moto);
  console.log(`the local cloud takes ${(ours / theirs).toFixed(1)} times as many (aim 1,000/s)`);
}

/** PUTs a second by plain HTTP. */
async function measure(name: string, server: Server): Promise<number> {
  const { endpoint, accessKeyId, secretAccessKey } = server;
  const s3 = new S3Client({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  try {
    const Bucket = `bench-${randomUUID()}`;
    await s3.send(new CreateBucketCommand({ Bucket }));
    const sign = (Key: string) => getSignedUrl(s3, new PutObjectCommand({ Bucket, Key }));
    const warm = await signAll(sign, "warm", 500);
    await atOnce(warm, (url) => put(url, agent));
    const urls = await signAll(sign, "put", PUTS);
    const cpuBefore = readCpuMs(server.pid);
    const plain = await atOnce(urls, (url) => put(url, agent));
    // What a busy machine does not spoil.
    const cpuMs = (readCpuMs(server.pid) - cpuBefore) / urls.length;
    const keys = urls.map((_, index) => `sdk/${index}`);
    const bySdk = await atOnce(keys, (Key) =>
      s3.send(new PutObjectCommand({ Bucket, Key, Body: BODY })),
    );
    console.log(
      `${name}: ${plain.toFixed(0)}/s by plain HTTP, for ${cpuMs.toFixed(2)} ms of the server's CPU time each; ${bySdk.toFixed(0)}/s by the SDK`,
    );
    return plain;
  } finally {
    agent.destroy();
    s3.destroy();
    await server.stop();
  }
}

/** Of all its threads; NaN where there is no /proc. */
function readCpuMs(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return Number.NaN;
  }
}

async function signAll(
  sign: (key: string) => Promise<string>,
  prefix: string,
  count: number,
): Promise<readonly string[]> {
  const urls: string[] = [];
  for (let index = 0; index < count; index += 1) urls.push(await sign(`${prefix}/${index}`));
  return urls;
}

/** Works through all items, AT_ONCE of them at a time; returns items a second. */
async function atOnce<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<number> {
  const left = items[Symbol.iterator]();
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of left) await work(item);
    }),
  );
  return items.length / ((performance.now() - begun) / 1000);
}

function put(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { "content-length": BODY.length };
    const sent = request(url, { method: "PUT", agent, headers }, (response) => {
      response.resume();
      response.once("end", () =>
        response.statusCode === 200
          ? resolve()
          : reject(new Error(`PUT was answered with ${response.statusCode}`)),
      );
    });
    sent.once("error", reject);
    sent.end(BODY);
  });
}

async function startLocal(): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), "errand-bench-s3-"));
  const words = ["dist/src/cli/main.js", "local", "--data", directory, "--port", "0"];
  const child = spawn(process.execPath, [...words, "--log-level", "error"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  await untilLine(child, "stdout", /^ready /);
  const note = JSON.parse(readFileSync(join(directory, "local.json"), "utf8")) as Server;
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  return { ...note, pid: child.pid, stop };
}

/** Returns why not where it cannot be had. */
async function startMoto(): Promise<Server | string> {
  const tool = spawnSync("bash", ["scripts/tools.sh", "moto"], { encoding: "utf8" });
  if (tool.status !== 0) return tool.stderr.trim().split("\n").at(-1) ?? "it cannot be installed";
  const program = join(tool.stdout.trim(), "moto_server");
  const child = spawn(program, ["-H", "127.0.0.1", "-p", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "exit");
  const [, endpoint = ""] = await untilLine(child, "stderr", /Running on (http:\S+)/);
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return { endpoint, accessKeyId: "moto", secretAccessKey: "moto", pid: child.pid, stop };
}

/** Reads on after the line was found: a full pipe would stop the process. */
async function untilLine(
  child: ChildProcess,
  from: "stdout" | "stderr",
  pattern: RegExp,
): Promise<RegExpExecArray> {
  const output = child[from];
  if (!output) throw new Error("the process has no output");
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: output });
    lines.on("line", (line) => {
      const match = pattern.exec(line);
      if (match) resolve(match);
    });
    lines.once("close", () => reject(new Error(`the process ended before it said ${pattern}`)));
  });
}
