/**
 * What a sandboxed machine sees of the host: the system, what its tools need of /etc, the toolchains on the PATH, and files that its
 * environment names (certificates, wheels). All of it is read-only, and nothing that holds the user's home or the cloud's data.
 */
import { access, constants, lstat, readlink, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { HostEnvironment } from "./machines.ts";
import { POWER_NAMES } from "./machines-scripts.ts";

/** Kind, source on the host, place in the machine; in this order. `device` may be used as one, `proc` and `dev` are made anew. */
export type Mount = readonly [
  "read-only" | "bind" | "device" | "link" | "proc" | "dev",
  string,
  string,
];

const SYSTEM = ["/usr", "/sys", "/nix/store"];
/** Links into /usr on most systems, folders on some. */
const MAYBE_LINKS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/** No keys, no passwords, nothing that names the host's people. */
const ETC = [
  ...["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone"],
  ...["ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "pki/ca-trust", "pki/tls/certs"],
  ...["pki/tls/cert.pem", "pki/tls/openssl.cnf", "ca-certificates", "ca-certificates.conf"],
  ...["crypto-policies", "protocols", "services", "mime.types", "pip.conf", "uv", "fonts"],
];
const DEVICES = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "dri", "kfd"];
const GPUS_MAX = 16;

/** `hidden` are folders that must not be seen; the PATH that is returned names only what can be. */
export async function planHostMounts(
  host: HostEnvironment,
  hidden: readonly string[],
): Promise<{ readonly mounts: readonly Mount[]; readonly path: string }> {
  const system: Mount[] = [];
  for (const path of SYSTEM) if (await exists(path)) system.push(["read-only", path, path]);
  for (const path of MAYBE_LINKS) system.push(...(await planMaybeLink(path)));
  for (const name of ETC.map((each) => join("/etc", each))) {
    if (await exists(name)) system.push(["read-only", await realpath(name), name]);
  }
  const { folders, path } = await planToolchains(host, [...hidden, homedir()]);
  const files = await listNamedFiles(host, [...hidden, homedir()]);
  const brought = outermost([...folders, ...files]).map((each): Mount => ["read-only", each, each]);
  return {
    mounts: [
      ...system,
      ...brought,
      ["proc", "", "/proc"],
      ["dev", "", "/dev"],
      ...(await planKernel()),
    ],
    path,
  };
}

async function planMaybeLink(path: string): Promise<readonly Mount[]> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSymbolicLink()) return [["link", await readlink(path), path]];
  return found?.isDirectory() ? [["read-only", path, path]] : [];
}

/** GPUs for whoever has them. Root of a machine is root of the host to the kernel's switches, so they are locked. */
async function planKernel(): Promise<readonly Mount[]> {
  const mounts: Mount[] = [];
  const gpus = Array.from({ length: GPUS_MAX }, (_, index) => `nvidia${index}`);
  for (const path of [...DEVICES, ...gpus].map((name) => join("/dev", name))) {
    if (await exists(path)) mounts.push(["device", path, path]);
  }
  if (process.geteuid?.() !== 0) return mounts;
  for (const path of ["/proc/sys", "/proc/sysrq-trigger"]) {
    if (await exists(path)) mounts.push(["read-only", path, path]);
  }
  return mounts;
}

/**
 * The folders of the PATH that are no part of the system, each with the installation that it belongs to: `~/.pyenv` for
 * `~/.pyenv/shims`, but not `~` for `~/bin`.
 */
async function planToolchains(
  host: HostEnvironment,
  hidden: readonly string[],
): Promise<{ readonly folders: readonly string[]; readonly path: string }> {
  const folders: string[] = [];
  const kept: string[] = [];
  for (const entry of host.PATH.split(":").filter((each) => each.startsWith("/"))) {
    if (isSystem(entry)) kept.push(entry);
    else if (await exists(entry)) {
      const folder = await chooseFolder(entry, hidden);
      if (folder === undefined) continue;
      kept.push(entry);
      folders.push(folder, ...(await listLinkedPythons(entry, hidden)));
    }
  }
  return { folders, path: kept.join(":") };
}

const isSystem = (path: string): boolean =>
  [...SYSTEM, ...MAYBE_LINKS].some((system) => isIn(path, system));

async function chooseFolder(entry: string, hidden: readonly string[]): Promise<string | undefined> {
  const parent = dirname(entry);
  const isWhole =
    ["bin", "sbin", "shims"].includes(basename(entry)) &&
    isFit(parent, hidden) &&
    (!isIn(parent, homedir()) || (await isInstallation(parent)));
  if (isWhole) return parent;
  return isFit(entry, hidden) ? entry : undefined;
}

/** In somebody's home `bin` may stand beside much else, such as what `~/.local` and `~/.cargo` hold. */
async function isInstallation(folder: string): Promise<boolean> {
  if (basename(folder) === ".local") return false;
  return (await exists(join(folder, "lib"))) || (await exists(join(folder, "versions")));
}

/** Not what something hidden lies in. */
const isFit = (path: string, hidden: readonly string[]): boolean =>
  !hidden.some((each) => isIn(each, path));

/** A virtual environment's interpreter is a link to an installation elsewhere. */
async function listLinkedPythons(
  entry: string,
  hidden: readonly string[],
): Promise<readonly string[]> {
  const found = await realpath(join(entry, "python3")).catch(() => undefined);
  if (found === undefined || isSystem(found) || isIn(found, dirname(entry))) return [];
  return [(await chooseFolder(dirname(found), hidden)) ?? found];
}

/** Values of the environment that are paths of what there is. */
async function listNamedFiles(
  { PATH: _, ...host }: HostEnvironment,
  hidden: readonly string[],
): Promise<readonly string[]> {
  const paths = Object.entries(host)
    .filter(([name]) => !/^ERRAND_CACHE$|_(CACHE_DIR|LOG)$/.test(name))
    .flatMap(([, value]) => value.split(/[:\s]+/))
    .filter((each) => each.startsWith("/") && !isSystem(each) && isFit(each, hidden));
  const found = await Promise.all(paths.map(async (each) => ((await exists(each)) ? [each] : [])));
  return found.flat();
}

/** Without those that lie in another. */
const outermost = (paths: readonly string[]): readonly string[] =>
  [...new Set(paths)].filter((each) => !paths.some((other) => other !== each && isIn(each, other)));

const isIn = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);

/** The host's `/sbin/shutdown` and its like give way to the machine's own, whatever path they are called by. */
export async function planShims(script: string): Promise<readonly Mount[]> {
  const targets = new Set<string>();
  for (const folder of ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]) {
    for (const name of POWER_NAMES) {
      const target = await realpath(join(folder, name)).catch(() => undefined);
      // Where one program is all of them, the shell is that program, too.
      if (target && (isPowerName(basename(target)) || basename(target) === "systemd")) {
        targets.add(target);
      }
    }
  }
  return [...targets].map((target) => ["read-only", script, target]);
}

const isPowerName = (name: string): boolean => POWER_NAMES.some((each) => each === name);

/** Those that were allowed, and those of package indexes that the environment names on loopback. */
export function listLoopbackPorts(
  host: HostEnvironment,
  allowed: readonly number[],
): ReadonlySet<number> {
  const indexes = Object.entries(host)
    .filter(([name]) => /^(PIP|UV)_/i.test(name))
    .flatMap(([, value]) => value.split(/\s+/).filter((word) => URL.canParse(word)))
    .map((word) => new URL(word))
    .filter(({ hostname }) => hostname === "127.0.0.1" || hostname === "localhost");
  return new Set([...allowed, ...indexes.map(portOf)]);
}

const portOf = ({ port, protocol }: URL): number =>
  Number(port) || (protocol === "https:" ? 443 : 80);

/** The first of a PATH that may be run. */
export async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(":").filter((each) => each.startsWith("/"))) {
    const file = join(folder, name);
    const isThere = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  return undefined;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
