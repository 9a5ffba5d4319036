/**
 * `npm run bench:transfers`: what the runner needs to move 1 GiB in one file and 10,000 files of 10 KiB, up and down, on the
 * local cloud, and beside it in the same run the aws command and s5cmd, which scripts/tools.sh installs. The files go a second
 * time over a cloud that is as far away as S3. SET=big, many or far plays one of these alone. ROUNDS sets how often, 3 by
 * default, after one that does not count; each round another one is first, and the median counts. A whole process is timed,
 * with what it takes to start. Needs 25 GiB of disk.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROUNDS = Number(process.env.ROUNDS ?? 3);
/** How long S3 takes to begin an answer, about. */
const FAR_MS = 20;
const SETS = {
  big: "1 GiB in one file",
  many: "10,000 files of 10 KiB",
  far: `10,000 files of 10 KiB, each request ${FAR_MS} ms`,
} as const;
/** More than a copy writes. */
const WARM_BYTES = 2 << 30;
const MEMORY_MIB = 200;
type SetName = keyof typeof SETS;

type Copy = { readonly way: "up" | "down"; readonly set: SetName; readonly round: number };
type Folders = { readonly files: string; readonly into: string };
type Tool = { readonly name: string; readonly copy: (what: Copy) => void };

async function main(): Promise<void> {
  console.log(`node ${process.version}, load ${loadavg()[0]?.toFixed(1)}`);
  const directory = mkdtempSync(join(tmpdir(), "errand-bench-"));
  const cloud = spawn(
    process.execPath,
    ["dist/src/cli/main.js", "local", "--no-daemon", "--data", join(directory, "data"), "--port=0"],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  try {
    const environment = await readEnvironment(cloud, join(directory, "data"));
    writeSets(directory);
    const into = join(directory, "into");
    const tools = findTools({ files: join(directory, "files"), into }, environment);
    for (const set of ["big", "many", "far"] as const) {
      if (process.env.SET !== undefined && process.env.SET !== set) continue;
      if (set === "far") moveAway(join(directory, "data"));
      for (const way of ["up", "down"] as const) compare(tools, { way, set, into });
    }
  } finally {
    cloud.kill("SIGTERM");
    await new Promise((resolve) => cloud.once("exit", resolve));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function readEnvironment(cloud: ChildProcess, data: string): Promise<NodeJS.ProcessEnv> {
  if (!cloud.stdout) throw new Error("the local cloud has no output");
  for await (const line of createInterface({ input: cloud.stdout })) {
    if (!line.startsWith("ready ")) continue;
    const ready = JSON.parse(line.slice("ready ".length)) as { endpoint: string; bucket: string };
    const keys = JSON.parse(readFileSync(join(data, "local.json"), "utf8")) as {
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
    };
    return {
      ...process.env,
      AWS_ENDPOINT_URL: ready.endpoint,
      // Of s5cmd, which knows the other not.
      S3_ENDPOINT_URL: ready.endpoint,
      ERRAND_BUCKET: ready.bucket,
      AWS_REGION: "us-east-1",
      AWS_DEFAULT_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    };
  }
  throw new Error("the local cloud ended before it was ready");
}

function moveAway(data: string): void {
  const words = ["local", "faults", "add", "delay", "operation=s3:*", `ms=${FAR_MS}`];
  execFileSync(process.execPath, ["dist/src/cli/main.js", ...words, "--data", data]);
}

function writeSets(directory: string): void {
  for (const set of ["big", "many"]) mkdirSync(join(directory, "files", set), { recursive: true });
  const big = join(directory, "files/big/file");
  for (let count = 0; count < 64; count += 1) appendFileSync(big, randomBytes(16 << 20));
  for (let count = 0; count < 10_000; count += 1) {
    writeFileSync(join(directory, "files/many", String(count)), randomBytes(10_240));
  }
}

function findTools({ files, into }: Folders, env: NodeJS.ProcessEnv): Tool[] {
  const run = (program: string, words: readonly string[]): string =>
    execFileSync(program, words, {
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      // s5cmd has a line for each file.
      maxBuffer: 64 << 20,
    });
  // As on a machine, where no version manager's shim comes first.
  const python = run("python3", ["-c", "import sys; print(sys.executable)"]).trim();
  const goal = (name: string, { set, round }: Pick<Copy, "set" | "round">): string =>
    join(into, name, set, String(round));
  // A place of its own for each copy, so that there is nothing that need not be copied, and nothing to be removed first.
  const runner: Tool = {
    name: "runner",
    copy: ({ way, set, round }) => {
      const folder = way === "up" ? files : goal("runner", { set, round });
      const words = [way, folder, folderOf(set), `bench-runner/${round}/${set}`];
      const used = JSON.parse(run(python, ["src/runner/bench_transfers.py", ...words]));
      console.log(
        `  the runner used ${used.cpuSeconds.toFixed(1)} s of CPU and ${used.memoryMib} MiB (aim ${MEMORY_MIB} MiB)`,
      );
    },
  };
  const tool = (name: string, program: string, words: readonly string[]): Tool => ({
    name,
    copy: ({ way, set, round }) => {
      const there = `s3://${env.ERRAND_BUCKET}/bench-${name}/${round}/${set}/`;
      const [from, to] =
        way === "up" ? [join(files, folderOf(set)), there] : [there, goal(name, { set, round })];
      const source = name === "s5cmd" && way === "down" ? `${from}*` : from;
      run(program, [...words, source, `${to.replace(/\/$/, "")}/`]);
    },
  });
  // What comes to the runner is compared with its manifest's CRC-32; aws looks at S3's checksums, s5cmd at nothing.
  const verified = ({ name, copy }: Tool): Tool => ({
    name: `${name} and sha256sum`,
    copy: ({ way, set, ...rest }) => {
      // From and to places of its own.
      const round = rest.round + 1_000;
      copy({ way, set, round });
      if (way === "up") return;
      const folder = goal(name, { set, round });
      run("bash", ["-c", `find "${folder}" -type f -exec sha256sum {} + > "${into}/sums"`]);
    },
  });
  const tools = [runner];
  const others = { aws: ["s3", "sync", "--only-show-errors"], s5cmd: ["cp"] };
  for (const [name, words] of Object.entries(others)) {
    try {
      const folder = run("bash", ["scripts/tools.sh", name]).trim();
      const copier = tool(name, join(folder, name), words);
      tools.push(copier);
      if (name === "s5cmd") tools.push(verified(copier));
    } catch {
      console.log(`without ${name}: scripts/tools.sh could not install it`);
    }
  }
  return tools;
}

function compare(
  tools: readonly Tool[],
  { way, set, into }: { way: "up" | "down"; set: SetName; into: string },
): void {
  const seconds = new Map(tools.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    const first = round % tools.length;
    for (const tool of [...tools.slice(first), ...tools.slice(0, first)]) {
      makeReady();
      const begin = performance.now();
      tool.copy({ way, set, round });
      const took = (performance.now() - begin) / 1000;
      // The first round warms caches: memory that a virtual machine has not used yet costs whoever comes first.
      if (round > 0) seconds.get(tool.name)?.push(took);
      // Ext4 looks for a while for inodes that were not freed just now: whoever creates files after many were removed pays for it.
      if (set === "big") rmSync(into, { recursive: true, force: true });
    }
  }
  const medians = [...seconds].map(([name, all]) => {
    const median = all.toSorted((one, other) => one - other)[Math.floor(all.length / 2)] ?? NaN;
    return `  ${name} ${median.toFixed(2)} s (${all.map((each) => each.toFixed(2)).join(" ")})`;
  });
  console.log(`${SETS[set]}, ${way}, median of ${ROUNDS}:\n${medians.join("\n")}`);
}

const folderOf = (set: SetName): "big" | "many" => (set === "big" ? "big" : "many");

/**
 * What the one before has written is on the disk, and nobody waits for another's. There is free memory that has just been used: the host of a
 * virtual machine takes back what lies idle, and whoever touches that first pays several times what the copy costs.
 */
function makeReady(): void {
  execFileSync("sync");
  execFileSync("python3", ["-c", `b"1" * ${WARM_BYTES}`]);
}

await main();
