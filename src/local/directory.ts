/** The data directory of a local cloud: its lock, its secret, its port, and the note by which other commands find it. */
import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

export type DataDirectory = {
  /** Absolute. */
  readonly path: string;
  /** 32 random bytes, made at the first start. */
  readonly secret: Buffer;
  /** The port of the last start; 0 at the first. Running instances know it. */
  readonly lastPort: number;
  keepPort(port: number): Promise<void>;
  /** Writes `local.json`, readable by the owner alone. */
  announce(note: Readonly<Record<string, unknown>>): Promise<void>;
  /** Removes `local.json` and the lock. */
  release(): Promise<void>;
};

type Holder = {
  readonly pid: number;
  /** When the process started, as the kernel counts; empty where there is no /proc. It tells a reused pid. */
  readonly startedAt: string;
  readonly nonce: string;
};

/** Makes the directory (0700) when there is none. Throws Error when a living process holds it. */
export async function openDataDirectory(name: string): Promise<DataDirectory> {
  const path = resolve(name);
  await makeFolder(path);
  await chmod(path, 0o700);
  const own = await lock(path);
  const portPath = join(path, "port");
  const notePath = join(path, "local.json");
  return {
    path,
    secret: await readSecret(join(path, "secret")),
    lastPort: Number(await readIfThere(portPath)) || 0,
    keepPort: (port) => writeWhole(portPath, String(port)),
    announce: (note) => writeWhole(notePath, `${JSON.stringify(note, null, 2)}\n`),
    async release() {
      await rm(notePath, { force: true });
      const holder = await readHolder(join(path, "lock"));
      if (holder?.nonce === own.nonce) await rm(join(path, "lock"), { force: true });
    },
  };
}

/** One by one: Node's own recursion never ends where a file system such as /proc refuses with ENOENT. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return;
    const parent = dirname(path);
    const hasParent = await stat(parent).then(
      (status) => status.isDirectory(),
      () => false,
    );
    if (code !== "ENOENT" || hasParent || parent === path) throw error;
    await makeFolder(parent);
    await mkdir(path, { mode: 0o700 });
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

const TRIES_MAX = 5;

/** `link` makes the lock appear whole or not at all, for one process alone. */
async function lock(directory: string): Promise<Holder> {
  const path = join(directory, "lock");
  const own: Holder = {
    pid: process.pid,
    startedAt: (await readStartTime(process.pid)) ?? "",
    nonce: randomBytes(8).toString("hex"),
  };
  const ownPath = `${path}.${own.nonce}`;
  await writeFile(ownPath, JSON.stringify(own), { mode: 0o600 });
  try {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      if (await linkIfFree(ownPath, path)) return own;
      const holder = await readHolder(path);
      if (holder && (await isAlive(holder))) throw inUse(directory, holder);
      await setAside(path, holder);
    }
  } finally {
    await rm(ownPath, { force: true });
  }
  throw new Error(`locking ${directory}: others keep taking ${path}; try again`);
}

const inUse = (directory: string, holder: Holder): Error =>
  new Error(`${directory} is in use by process ${holder.pid}: stop it, or give another directory`);

/** Between our reading of a dead one's lock and its renaming another process may have taken over: then it gets its lock back. */
async function setAside(path: string, dead: Holder | undefined): Promise<void> {
  const aside = `${path}.${randomBytes(8).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw error;
  }
  const moved = await readHolder(aside);
  if (moved?.nonce !== dead?.nonce) await linkIfFree(aside, path);
  await rm(aside, { force: true });
}

async function linkIfFree(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    return JSON.parse((await readIfThere(path)) ?? "") as Holder;
  } catch {
    return undefined;
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (hasCode(error, "ESRCH")) return false;
  }
  const startedAt = await readStartTime(holder.pid);
  return startedAt === undefined || holder.startedAt === "" || startedAt === holder.startedAt;
}

/** Field 22 of /proc/<pid>/stat; the second is the command in brackets and may hold spaces. */
async function readStartTime(pid: number): Promise<string | undefined> {
  const stat = await readIfThere(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

async function readSecret(path: string): Promise<Buffer> {
  const text = await readIfThere(path);
  if (text !== undefined) {
    if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, "hex");
    throw new Error(`${path} does not hold 64 hex digits: restore it, or start in a new directory`);
  }
  const fresh = randomBytes(32);
  await writeWhole(path, fresh.toString("hex"));
  return fresh;
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;
