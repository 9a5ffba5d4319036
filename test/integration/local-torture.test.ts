/**
 * Kills the local cloud with SIGKILL at seeded moments while many write to it, and looks after each start whether all that was
 * acknowledged is there, whole, and nothing else. TORTURE_ROUNDS=40 and SEED=7 make it longer and another.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EC2Client } from "@aws-sdk/client-ec2";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startLocalCloud } from "../../src/local/local-cloud.ts";
import { Random } from "../simulation/random.ts";
import { isAlive, WAIT } from "../support/machine.ts";
import { makeClients } from "../support/test-cloud.ts";
import { actUntilGone, type Clients } from "../support/torture.ts";
import { makeEc2Actor } from "../support/torture-ec2.ts";
import { makeS3Actor } from "../support/torture-s3.ts";
import { type Ledger, makeSqsActor } from "../support/torture-sqs.ts";

const ROUNDS = Number(process.env.TORTURE_ROUNDS ?? 2);
const SEED = Number(process.env.SEED ?? 1);
const S3_ACTORS = 6;
const SQS_ACTORS = 4;
const ACTS_MAX = 600;

let folder: string;
let data: string;
let kill: (() => Promise<void>) | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-torture-"));
  data = join(folder, "data");
  await mkdir(join(folder, "machines"));
});

afterEach(async () => {
  await kill?.();
  // Ends whatever machine is left, also of a test that failed.
  const cloud = await startLocalCloud({ directory: data, port: 0, instanceTypes: [], log() {} });
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

type Host = Clients & { readonly close: () => void; readonly kill: () => Promise<void> };

async function startHost(): Promise<Host> {
  const support = join(import.meta.dirname, "../support");
  const words = [join(support, "run-typescript.mjs"), join(support, "local-cloud-host.ts")];
  const host = spawn(process.execPath, [...words, data], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(host, "exit");
  kill = async () => {
    host.kill("SIGKILL");
    await ended;
  };
  const line = once(createInterface(host.stdout), "line");
  const [text] = await Promise.race([line, ended.then(() => [undefined])]);
  if (typeof text !== "string") throw new Error("the cloud did not start; its output says why");
  const note = JSON.parse(text);
  const { endpoint, region, accessKeyId, secretAccessKey } = note;
  const credentials = { accessKeyId, secretAccessKey };
  const ec2 = new EC2Client({ endpoint, region, credentials, maxAttempts: 1 });
  const { s3, sqs } = makeClients(note);
  const close = () => {
    for (const client of [s3, sqs, ec2]) client.destroy();
  };
  return { s3, sqs, ec2, close, kill };
}

/** What a write that was cut short, and a rewrite that was, leave behind. */
async function damageTails(random: Random): Promise<void> {
  for (const service of ["s3", "sqs"]) {
    const path = join(data, service, "journal");
    const [line = ""] = (await readFile(path, "latin1")).trimEnd().split("\n").slice(-1);
    if (random.chance(0.5)) await appendFile(path, line.slice(0, random.between(1, line.length)));
    if (random.chance(0.3)) await writeFile(`${path}.new`, line.slice(0, line.length / 2));
  }
}

it(`nothing that was acknowledged is lost or torn by ${ROUNDS} kills (seed ${SEED})`, {
  timeout: 60_000 + ROUNDS * 20_000,
}, async () => {
  const random = new Random(SEED);
  const seeds = () => new Random(random.between(0, 2 ** 31));
  const ec2 = makeEc2Actor(join(folder, "machines"), seeds());
  const ledger: Ledger = new Map();
  const ofSqs = Array.from({ length: SQS_ACTORS }, () => makeSqsActor(ledger, seeds()));
  const ofS3 = Array.from({ length: S3_ACTORS }, (_, index) =>
    makeS3Actor(`actor-${index}`, seeds()),
  );
  const verifiers = [...ofS3, ...ofSqs.slice(0, 1), ec2];
  let acts = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const host = await startHost();
    for (const actor of verifiers) await actor.verify(host);
    let left = random.between(1, ACTS_MAX);
    const onActed = () => {
      acts += 1;
      left -= 1;
      if (left === 0) void host.kill();
    };
    const outcomes = await Promise.allSettled(
      [...ofS3, ...ofSqs, ec2].map((actor) => actUntilGone(actor, host, onActed)),
    );
    host.close();
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    if (failure) throw failure.reason;
    await host.kill();
    await damageTails(random);
  }
  const host = await startHost();
  for (const actor of verifiers) await actor.verify(host);
  host.close();
  await host.kill();
  expect(acts).toBeGreaterThanOrEqual(ROUNDS);

  const last = await startLocalCloud({ directory: data, port: 0, instanceTypes: [], log() {} });
  await last.stop();
  const pids = await ec2.listPids();
  expect(pids.length).toBeGreaterThan(0);
  await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), WAIT);
});
