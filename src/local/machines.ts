/**
 * The machines of the local cloud: process trees of the host that run user-data, in a sandbox where the host has one.
 *
 * Each has a folder: `user-data`, `boot`, `bin/` (ahead on its PATH), `disk/` (gone when the instance is terminated, as its
 * volume is on EC2: the machine's root in a sandbox, else its home, temporary files and working directory), `flags/` (the markers
 * `started`, `power-off` and `reboot`), `console.log`. The tree has a session of its own, so it outlives the cloud that started it; the
 * next one finds it again by its cookie.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import {
  chmod,
  mkdir,
  open,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  COOKIE_VARIABLE,
  type HostProcess,
  listProcesses,
  pickTree,
  REAPER_VARIABLE,
  type Tree,
} from "./machines-processes.ts";
import {
  BOOT_SCRIPT,
  PER_BOOT_VARIABLE,
  POWER_NAMES,
  renderPowerScript,
} from "./machines-scripts.ts";
import { type Command, makeReady, type Ready } from "./machines-start.ts";
import { enterWords, reaperWords, type Sandbox, sandboxWords } from "./sandbox.ts";
import { INSIDE, layOutSandbox } from "./sandbox-layout.ts";

export type Machine = {
  readonly instanceId: string;
  /** "<instance id>:<random>" */
  readonly cookie: string;
};

export type BootOptions = {
  /** Decoded. */
  readonly userData: Uint8Array;
  /** `http://127.0.0.1:<port>/imds/<id>/<random>`, without a slash at its end. */
  readonly metadataEndpoint: string;
};

export type MachinesOptions = {
  /** Holds one folder for each instance. */
  readonly folder: string;
  readonly environment: HostEnvironment;
  readonly sandbox: Sandbox;
  /**
   * Boots a machine in place of the host's shell, such as a virtual one, and gets the machine's folder as its last word. It writes
   * `flags/started` before all else and `flags/power-off` when the machine is off. Its machines have no sandbox.
   */
  readonly program?: readonly string[] | undefined;
};

/** What a machine takes over of the host's environment, and all of it: neither AWS's variables nor secrets belong here. */
export type HostEnvironment = { readonly PATH: string; readonly [name: string]: string };

export type Machines = {
  /** Makes ready what `boot` would make first, which is then done at once. Nothing of the machine runs yet. */
  prepare(machine: Machine, options: BootOptions): Promise<void>;
  /** Runs the user-data, unless it has run before. Throws when the host cannot start a process. */
  boot(machine: Machine, options: BootOptions): Promise<void>;
  /**
   * Kills its processes as a power cut would, and starts what its disk holds for every boot, once more, unless it is not
   * `isWanted` any more. User-data does not run again.
   */
  reboot(machine: Machine, options: BootOptions, isWanted: () => boolean): Promise<void>;
  /** It was told to reboot from inside. */
  wantsReboot(instanceId: string): Promise<boolean>;
  /** Its processes are there and do nothing any more. */
  freeze(machine: Machine): Promise<void>;
  /**
   * Starts a command inside a machine that has been booted, as the SSM agent does: no shell, stdin closed. In a sandbox it is in all of the
   * machine's namespaces; without one, absolute paths among its arguments are those below the machine's disk. It is one of the machine's processes and ends with it.
   */
  run(machine: Machine, words: readonly string[]): ChildProcessByStdio<null, Readable, Readable>;
  hasStarted(instanceId: string): Promise<boolean>;
  /** It was powered off from inside. */
  hasPoweredOff(instanceId: string): Promise<boolean>;
  /** SIGTERM, 2 s, SIGKILL. Returns how many processes are left after some 10 s more; zero but for a process the kernel does not let go. */
  end(machine: Machine): Promise<number>;
  /** The last 64 KiB that it printed. */
  readConsole(instanceId: string): Promise<Uint8Array>;
  /** Cuts a console that has grown large down to its tail. */
  trimConsole(instanceId: string): Promise<void>;
  discardDisk(instanceId: string): Promise<void>;
  discard(instanceId: string): Promise<void>;
};

const TERM_GRACE_MS = 2_000;
const KILL_TRIES_MAX = 400;
const POLL_MS = 25;
/** What EC2 keeps of a console. */
const CONSOLE_BYTES = 64 * 1024;
const CONSOLE_BYTES_MAX = 4 * 1024 * 1024;

export function createMachines(options: MachinesOptions): Machines {
  const { folder, environment, sandbox } = options;
  const folderOf = (instanceId: string): string => join(folder, instanceId);
  const scan = shareCalls(listProcesses);

  async function listTree(machine: Machine): Promise<readonly HostProcess[]> {
    const leader = await readLeader(folderOf(machine.instanceId));
    const folder = folderOf(machine.instanceId);
    const tree: Tree = { cookie: machine.cookie, leader, folder };
    return pickTree(await scan(), tree);
  }

  /** By instance: those that wait for their boot. */
  const ready = new Map<string, Ready>();

  async function prepare(machine: Machine, bootOptions: BootOptions): Promise<Ready> {
    const at = folderOf(machine.instanceId);
    if (sandbox.mode !== "none") {
      // What a cloud that ended before the boot has laid out.
      await discard(join(at, "disk"));
      await prepareFolder(at, machine, bootOptions, sandbox);
      const { instanceId, cookie } = machine;
      const { metadataEndpoint } = bootOptions;
      const own = { [COOKIE_VARIABLE]: cookie, [PER_BOOT_VARIABLE]: INSIDE.perBoot };
      const place = { instanceId, at, metadataEndpoint, host: environment, own };
      // Once: what the machine has had its hands on is not written to from outside.
      await layOutSandbox(sandbox, place);
    } else await prepareFolder(at, machine, bootOptions, sandbox);
    const command = machineCommand(at, machine, bootOptions, options);
    return makeReady(command, join(at, "console.log"));
  }

  return {
    prepare: async (machine, options) => {
      ready.set(machine.instanceId, await prepare(machine, options));
    },
    boot: async (machine, options) => {
      const prepared = ready.get(machine.instanceId);
      ready.delete(machine.instanceId);
      await (prepared ?? (await prepare(machine, options))).go();
    },
    reboot: async (machine, bootOptions, isWanted) => {
      const at = folderOf(machine.instanceId);
      const left = await killTree(() => listTree(machine));
      if (left > 0) throw new Error(`${left} processes do not end`);
      await rm(join(at, "flags/scheduled"), { force: true });
      await rm(join(at, "flags/reboot"), { force: true });
      if (!isWanted()) return;
      const command = machineCommand(at, machine, bootOptions, options);
      const again = { ...command, words: [...command.words, "again"] };
      await (await makeReady(again, join(at, "console.log"))).go();
    },
    wantsReboot: (instanceId) => exists(join(folderOf(instanceId), "flags/reboot")),
    freeze: (machine) => freezeTree(() => listTree(machine)),
    run: (machine, words) =>
      runInside(folderOf(machine.instanceId), machine, { environment, sandbox }, words),
    // What a sandboxed machine might take away again is not relied on.
    hasStarted: async (instanceId) =>
      (await exists(join(folderOf(instanceId), "flags/started"))) ||
      (await exists(join(folderOf(instanceId), "booted"))),
    hasPoweredOff: (instanceId) => exists(join(folderOf(instanceId), "flags/power-off")),
    end: (machine) => {
      ready.delete(machine.instanceId);
      return endTree(() => listTree(machine));
    },
    readConsole: (instanceId) => readTail(join(folderOf(instanceId), "console.log")),
    trimConsole: (instanceId) => trimConsole(join(folderOf(instanceId), "console.log")),
    discardDisk: (instanceId) => discard(join(folderOf(instanceId), "disk")),
    discard: (instanceId) => discard(folderOf(instanceId)),
  };
}

function runInside(
  at: string,
  { cookie }: Machine,
  { environment: host, sandbox }: Pick<MachinesOptions, "environment" | "sandbox">,
  words: readonly string[],
): ChildProcessByStdio<null, Readable, Readable> {
  const disk = join(at, "disk");
  const mark = { [COOKIE_VARIABLE]: cookie };
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  if (sandbox.mode !== "none") {
    const env = { PATH: host.PATH, ...mark };
    return spawn(sandbox.python, enterWords(cookie, words), { cwd: at, env, stdio });
  }
  const [program = "", ...rest] = words.map((word, index) =>
    index > 0 && isAbsolute(word) ? join(disk, word) : word,
  );
  return spawn(program, rest, { cwd: disk, env: { ...host, ...mark }, stdio });
}

async function prepareFolder(
  at: string,
  machine: Machine,
  options: BootOptions,
  { mode }: Sandbox,
): Promise<void> {
  const bin = join(at, "bin");
  for (const name of ["bin", "flags", "disk/home", "disk/tmp", "disk/per-boot"]) {
    await mkdir(join(at, name), { recursive: true });
  }
  await writeFile(join(at, "user-data"), options.userData, { mode: 0o600 });
  await writeFile(join(at, "boot"), BOOT_SCRIPT);
  const script = renderPowerScript({
    cookie: machine.cookie,
    ...(mode === "none"
      ? { folder: join(at, "flags"), bin, metadataEndpoint: options.metadataEndpoint }
      : { folder: INSIDE.flags, bin: INSIDE.bin, metadataEndpoint: INSIDE.metadataEndpoint }),
    hasInit: mode !== "none",
  });
  await writeFile(join(bin, ".power"), script);
  await chmod(join(bin, ".power"), 0o755);
  for (const name of POWER_NAMES) {
    await rm(join(bin, name), { force: true });
    await symlink(".power", join(bin, name));
  }
}

/** The one place that says how a machine's first process is started; at a later boot it gets the word `again`. */
function machineCommand(
  at: string,
  machine: Machine,
  { metadataEndpoint }: BootOptions,
  { environment: host, sandbox, program: boots }: MachinesOptions,
): Command {
  const cookie = { [COOKIE_VARIABLE]: machine.cookie };
  if (sandbox.mode !== "none") {
    return {
      program: sandbox.python,
      words: sandboxWords(join(at, "sandbox.json")),
      environment: { PATH: host.PATH, ...cookie },
      workingDir: at,
      isHeld: true,
    };
  }
  const environment = {
    ...host,
    PATH: `${join(at, "bin")}:${host.PATH}`,
    HOME: join(at, "disk/home"),
    TMPDIR: join(at, "disk/tmp"),
    AWS_EC2_METADATA_SERVICE_ENDPOINT: metadataEndpoint,
    [PER_BOOT_VARIABLE]: join(at, "disk/per-boot"),
    // What `/` is on a real machine.
    ERRAND_LOCAL_ROOT: join(at, "disk"),
    ...cookie,
  };
  const words = ["boot", "flags", "user-data", "disk"].map((name) => join(at, name));
  const workingDir = join(at, "disk");
  if (boots) {
    const [program = "", ...first] = boots;
    return { program, words: [...first, at], environment, workingDir, isHeld: false };
  }
  if (sandbox.reaper === "") {
    return { program: "/bin/sh", words, environment, workingDir, isHeld: false };
  }
  const { [COOKIE_VARIABLE]: called, ...rest } = environment;
  return {
    program: sandbox.reaper,
    words: [...reaperWords(join(at, "flags/reaper")), "/bin/sh", ...words],
    environment: { ...rest, [REAPER_VARIABLE]: called },
    workingDir,
    isHeld: true,
  };
}

async function endTree(list: () => Promise<readonly HostProcess[]>): Promise<number> {
  let tree = await list();
  const told = new Set<number>();
  for (let waitedMs = 0; tree.length > 0 && waitedMs < TERM_GRACE_MS; waitedMs += POLL_MS) {
    // What has just been forked is told, too; nobody is told twice, who may be putting things in order.
    const news = tree.filter(({ pid }) => !told.has(pid));
    signalAll(news, "SIGTERM");
    for (const { pid } of news) told.add(pid);
    await sleep(POLL_MS);
    tree = await list();
  }
  return killTree(list);
}

async function killTree(list: () => Promise<readonly HostProcess[]>): Promise<number> {
  let tree = await list();
  // A process may fork while it is being killed, so one round is not enough.
  for (let tries = 0; tree.length > 0 && tries < KILL_TRIES_MAX; tries++) {
    const others = tree.filter(({ isReaper }) => !isReaper);
    signalAll(others.length > 0 ? others : tree, "SIGKILL");
    await sleep(POLL_MS);
    tree = await list();
  }
  return tree.length;
}

/** A process may fork before it is told, so one round is not enough. */
async function freezeTree(list: () => Promise<readonly HostProcess[]>): Promise<void> {
  const told = new Set<number>();
  for (let tries = 0; tries < KILL_TRIES_MAX; tries++) {
    const news = (await list()).filter(({ pid }) => !told.has(pid));
    if (news.length === 0) return;
    signalAll(news, "SIGSTOP");
    for (const { pid } of news) told.add(pid);
  }
}

function signalAll(tree: readonly HostProcess[], signal: NodeJS.Signals): void {
  for (const { pid } of tree) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // It has ended since, or runs as somebody else; whoever is left is counted.
      if (!hasCode(error, "ESRCH", "EPERM")) throw error;
    }
  }
}

/** Calls made in one turn of the event loop share one answer, which begins after all of them. */
function shareCalls<Value>(call: () => Promise<Value>): () => Promise<Value> {
  let next: Promise<Value> | undefined;
  return () => {
    next ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      next = undefined;
      return call();
    });
    return next;
  };
}

async function readLeader(at: string): Promise<Tree["leader"]> {
  try {
    const path = join(at, "flags/started");
    const [pid, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    return { pid: Number(pid), startedAt: mtimeMs };
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function readTail(path: string): Promise<Uint8Array> {
  if (!(await exists(path))) return new Uint8Array();
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, CONSOLE_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The machine writes at the file's end wherever that is, so it can be cut under it. */
async function trimConsole(path: string): Promise<void> {
  if (!(await exists(path)) || (await stat(path)).size <= CONSOLE_BYTES_MAX) return;
  const tail = await readTail(path);
  await truncate(path, 0);
  await writeFile(path, tail, { flag: "a" });
}

const discard = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));
