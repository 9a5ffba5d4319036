/** After the storm: what the bucket and EC2 hold, and whether that is what they must hold. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DescribeInstancesCommand, type EC2Client } from "@aws-sdk/client-ec2";
import { z } from "zod";
import { downloadArtifacts } from "../../src/cli/download.ts";
import { readChunks } from "../../src/cli/log-reader.ts";
import { readArtifacts } from "../../src/cli/manifests.ts";
import { findView } from "../../src/cli/read-runs.ts";
import { type Launch, launchSchema } from "../../src/core/launches.ts";
import { key } from "../../src/core/layout.ts";
import type { JobView, RunView } from "../../src/core/view.ts";
import { readRun } from "../../src/daemon/records.ts";
import type { Store } from "../../src/ports.ts";

export type Evidence = {
  readonly runs: number;
  readonly attempts: number;
  readonly machines: number;
  /** Machines, or orders without one, that did no work, by why. */
  readonly idle: ReadonlyMap<string, number>;
  readonly logLines: number;
  readonly files: number;
};

export type Bed = {
  readonly store: Store;
  readonly ec2: EC2Client;
  /** How often the command of `<run>/<job>/<attempt>` began. */
  readonly work: ReadonlyMap<string, number>;
  readonly lines: readonly string[];
  readonly fileNames: readonly string[];
};

/** Throws Error with all that is not as it must be. */
export async function gather(bed: Bed, ids: readonly string[]): Promise<Evidence> {
  const problems: string[] = [];
  const views = await Promise.all(ids.map((id) => findView(bed.store, id)));
  const runs = views.flatMap((view) => view ?? []);
  if (runs.length !== ids.length) problems.push(`${ids.length - runs.length} runs have no status`);
  let attempts = 0;
  let logLines = 0;
  let files = 0;
  for (const view of runs) {
    if (view.state !== "succeeded") problems.push(`${view.id} ${view.state}: ${reasonsOf(view)}`);
    attempts += await checkClaims(bed, view.id, problems);
    for (const job of view.jobs.filter(({ state }) => state === "succeeded")) {
      logLines += await checkLog(bed, view.id, job, problems);
      files += await checkFiles(bed, view, job, problems);
    }
  }
  for (const [name, times] of bed.work) {
    if (times > 1) problems.push(`the work of ${name} was begun ${times} times`);
  }
  const { machines, idle } = await checkLaunches(bed, problems);
  if (problems.length > 0) throw new Error(problems.slice(0, 20).join("\n"));
  return { runs: runs.length, attempts, machines, idle, logLines, files };
}

const reasonsOf = (view: RunView): string =>
  [
    ...view.problems,
    ...view.jobs.map(({ name, state, reason }) => `${name} ${state} ${reason}`),
  ].join("; ");

const claimSchema = z.object({
  by: z.enum(["runner", "daemon"]),
  instanceId: z.string().optional(),
});
type Claim = z.infer<typeof claimSchema>;

async function findClaim(store: Store, token: string, index: number): Promise<Claim | undefined> {
  const object = await store.find(key.claim(token, index));
  return object && claimSchema.parse(JSON.parse(new TextDecoder().decode(object.body)));
}

/** Each attempt of the record has its one claim, and work was done only under a runner's. */
async function checkClaims({ store, work }: Bed, id: string, problems: string[]): Promise<number> {
  const saved = await readRun(store, id);
  if (saved === undefined || saved === "unreadable") {
    problems.push(`the record of ${id} cannot be read`);
    return 0;
  }
  for (const { job, number, launch } of saved.run.attempts) {
    const claim = await findClaim(store, launch.token, launch.index);
    const name = `${id}/${job}/${number}`;
    if (!claim) problems.push(`${name} has no claim`);
    if (claim?.by === "daemon" && work.has(name)) problems.push(`${name} was voided, and worked`);
  }
  return saved.run.attempts.length;
}

async function checkLog(
  { store, lines }: Bed,
  run: string,
  job: JobView,
  problems: string[],
): Promise<number> {
  const number = job.attempts.at(-1)?.number ?? 0;
  const found: string[] = [];
  for await (const chunk of readChunks(store, { run, job: job.name, number })()) {
    if (chunk.firstLine !== found.length + 1)
      problems.push(`a gap in the log of ${run}/${job.name}`);
    found.push(...chunk.lines.map(({ text }) => text));
  }
  const own = found.filter((line) => !line.startsWith("errand: "));
  if (own.join("\n") !== lines.join("\n")) {
    problems.push(
      `the log of ${run}/${job.name}/${number} has ${own.length} lines: ${own.slice(0, 3)}`,
    );
  }
  return found.length;
}

/** Verified by its download, which compares each file with its sha256. */
async function checkFiles(
  { store, fileNames }: Bed,
  view: RunView,
  job: JobView,
  problems: string[],
): Promise<number> {
  const [set] = await readArtifacts(store, view, [job]);
  if (!set?.complete) {
    problems.push(`${view.id}/${job.name} has no complete manifest`);
    return 0;
  }
  const folder = await mkdtemp(path.join(tmpdir(), "errand-storm-set-"));
  try {
    const { files } = await downloadArtifacts(store, view.id, { set, folder });
    const names = await readdir(path.join(folder, "out"));
    const missing = fileNames.filter((name) => !names.includes(name));
    if (missing.length > 0) problems.push(`${view.id}/${job.name} lacks ${missing}`);
    return files;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Every order of every launch, whether a record holds it or not: it worked, or it is known why it did not. */
async function checkLaunches(bed: Bed, problems: string[]) {
  const machines = await listMachines(bed.ec2);
  const idle = new Map<string, number>();
  for (const launch of await listLaunches(bed.store)) {
    for (const index of launch.attempts.keys()) {
      const why = await whyIdle(bed, { launch, index, machines }, problems);
      if (why !== undefined) idle.set(why, (idle.get(why) ?? 0) + 1);
    }
  }
  const living = machines.filter(({ state }) => state !== "terminated");
  if (living.length > 0) {
    problems.push(`${living.length} machines live: ${living.map(({ id }) => id)}`);
  }
  return { machines: machines.length, idle };
}

type Machine = { readonly id: string; readonly order: string; readonly state: string | undefined };

/** Undefined of an order that was worked on. */
async function whyIdle(
  { store, work }: Bed,
  { launch, index, machines }: { launch: Launch; index: number; machines: readonly Machine[] },
  problems: string[],
): Promise<string | undefined> {
  const order = `${launch.token}.${index}`;
  const started = machines.filter((each) => each.order === order);
  if (started.length > 1) problems.push(`the order ${order} has ${started.length} machines`);
  const { run, job, number } = launch.attempts[index] ?? { run: "", job: "", number: 0 };
  const claim = await findClaim(store, launch.token, index);
  if (claim?.by === "runner") {
    const hasWorked = work.has(`${run}/${job}/${number}`);
    return hasWorked ? undefined : "claimed, and ended before its command began";
  }
  if (claim) {
    return started.length > 0
      ? "a machine whose order the daemon had voided"
      : "no machine: refused, or voided before it was sent";
  }
  problems.push(`the order ${order} of ${run}/${job}/${number} has no claim`);
  return undefined;
}

async function listLaunches(store: Store): Promise<Launch[]> {
  const infos = (await store.list("launches/")).filter((info) => info.key.endsWith("/launch.json"));
  const objects = await Promise.all(infos.map((info) => store.find(info.key)));
  return objects.flatMap((object) =>
    object ? [launchSchema.parse(JSON.parse(new TextDecoder().decode(object.body)))] : [],
  );
}

async function listMachines(ec2: EC2Client): Promise<readonly Machine[]> {
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({}));
  return Reservations.flatMap(({ Instances = [] }) =>
    Instances.map(({ InstanceId: id = "", ClientToken, AmiLaunchIndex, State }) => ({
      id,
      order: `${ClientToken}.${AmiLaunchIndex}`,
      state: State?.Name,
    })),
  );
}
