/**
 * What a machine has in its sandbox: the host's system read-only, a disk of its own as everything else, and an environment that
 * names the ways out. Written into the machine's folder: `disk/` (the root), `bin/`, `flags/` (the markers, the one folder beside the disk
 * that the machine may write to) `sandbox.json`, by which `sandbox.py` makes it,
 * and `booted`, by which that says so.
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HostEnvironment } from "./machines.ts";
import type { RealSandbox } from "./sandbox.ts";
import { listLoopbackPorts, type Mount, planHostMounts, planShims } from "./sandbox-mounts.ts";

export type MachinePlace = {
  readonly instanceId: string;
  /** The machine's folder. */
  readonly at: string;
  /** `http://127.0.0.1:<port>/imds/<id>/<secret>`. */
  readonly metadataEndpoint: string;
  readonly host: HostEnvironment;
  /** What the machine has in its environment besides. */
  readonly own: Readonly<Record<string, string>>;
};

/** Where things are inside. `temporary` is root's alone, so that the runner's folder in it is, too. */
export const INSIDE = {
  bin: "/run/errand/bin",
  flags: "/run/errand/flags",
  boot: "/run/errand/boot",
  userData: "/run/errand/user-data",
  scripts: "/run/errand/host",
  jobRoot: "/run/errand/job-root",
  home: "/root",
  perBoot: "/root/per-boot",
  temporary: "/var/lib/errand",
  cache: "/var/cache/errand",
  metadataEndpoint: "http://169.254.169.254",
} as const;

const PROXY_PORT = 3128;
const JOB_USER = "errand-job";
/** As in sandbox.py. */
const JOB_ID = 59_999;
/** What sandbox.py leaves to a machine's root, and what its first process needs to raise the network and to give the rest up. */
const CAPABILITIES =
  "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP NET_ADMIN".split(
    " ",
  );
const SCRIPTS = ["sandbox.py", "relay.py"];

/** Returns the path of `sandbox.json`. The command is run as the machine's root. */
export async function layOutSandbox(
  sandbox: RealSandbox,
  place: MachinePlace,
  command: readonly string[] = ["/bin/sh", INSIDE.boot, INSIDE.flags, INSIDE.userData, INSIDE.home],
): Promise<string> {
  const { at, instanceId, host } = place;
  const url = new URL(place.metadataEndpoint);
  const cloudPort = Number(url.port);
  const proxyPort = cloudPort === PROXY_PORT ? PROXY_PORT + 1 : PROXY_PORT;
  const ports = listLoopbackPorts(host, sandbox.allowLoopback);
  const loopback = [...ports].filter((port) => port !== cloudPort && port !== proxyPort);
  await layOutFolder(sandbox, at, [cloudPort, proxyPort, ...loopback]);
  const { mounts: hostMounts, path } = await planHostMounts(host, [at, ...sandbox.shares]);
  const mounts = [
    ...hostMounts,
    ...(await planOwnMounts(sandbox, at)),
    ...planCache(host.ERRAND_CACHE),
  ];
  await makePlaces(join(at, "disk"), mounts);
  const environment = machineEnvironment(sandbox, place, { path, proxyPort });
  const config = {
    mode: sandbox.mode,
    isRoot: sandbox.isRoot,
    root: join(at, "disk"),
    mounts,
    scripts: INSIDE.scripts,
    bwrap: bwrapWords(sandbox, { at, instanceId, mounts }),
    environment,
    inside: {
      name: instanceId,
      services: [cloudPort, "imds", "proxy", ...loopback],
      proxyPort,
      folder: "/",
      command,
      environment,
    },
    relay: {
      cloudPort,
      imdsPath: url.pathname,
      egress: sandbox.egress,
      proxies: pickProxies(host),
    },
  };
  const file = join(at, "sandbox.json");
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

const FOLDERS = ["etc", "root", "home", "opt", "srv", "var/log", "var/cache", "tmp", "var/tmp"];

const TEMPORARY: ReadonlySet<string> = new Set(["/tmp", "/var/tmp"]);

async function layOutFolder(
  sandbox: RealSandbox,
  at: string,
  ports: readonly number[],
): Promise<void> {
  const disk = join(at, "disk");
  const inside = [INSIDE.temporary, INSIDE.jobRoot, INSIDE.perBoot];
  for (const name of [...FOLDERS, ...inside]) await mkdir(join(disk, name), { recursive: true });
  for (const name of ["flags", "bin"]) await mkdir(join(at, name), { recursive: true });
  // Not by mkdir, which heeds the umask. Whoever is not root shall get through, and the machine's folder is closed anyway.
  for (const name of FOLDERS) {
    await chmod(join(disk, name), TEMPORARY.has(`/${name}`) ? 0o1777 : 0o755);
  }
  await chmod(disk, 0o755);
  for (const [name, text] of Object.entries(ETC)) await writeFile(join(disk, "etc", name), text);
  await writeFile(join(at, "bin/as-job"), renderAsJob(sandbox, ports));
  await chmod(join(at, "bin/as-job"), 0o755);
}

const ETC = {
  passwd: [
    "root:x:0:0:root:/root:/bin/bash",
    `${JOB_USER}:x:${JOB_ID}:${JOB_ID}::/nonexistent:/bin/bash`,
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    "",
  ].join("\n"),
  group: `root:x:0:\n${JOB_USER}:x:${JOB_ID}:\nnogroup:x:65534:\n`,
  hosts: "127.0.0.1 localhost\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/** The folders that mounts lie in. bubblewrap would make them for root alone, and the job is somebody else. */
async function makePlaces(disk: string, mounts: readonly Mount[]): Promise<void> {
  const folders = new Set<string>();
  for (const [, , target] of mounts) {
    for (let above = dirname(target); above !== "/"; above = dirname(above)) folders.add(above);
  }
  for (const folder of [...folders].toSorted()) {
    await mkdir(join(disk, folder), { recursive: true });
    // What is mounted below /tmp leaves it open to all.
    await chmod(join(disk, folder), TEMPORARY.has(folder) ? 0o1777 : 0o755);
  }
}

/** `as-job BASE SPEC`, for a runner that has no second user: see sandbox.py. */
const renderAsJob = ({ python }: RealSandbox, ports: readonly number[]): string =>
  `#!/bin/sh\nexec '${python}' -I -S ${INSIDE.scripts}/sandbox.py job '${JSON.stringify(ports)}' "$@"\n`;

async function planOwnMounts({ shares }: RealSandbox, at: string): Promise<readonly Mount[]> {
  const scripts = SCRIPTS.map((name): Mount => {
    const path = fileURLToPath(new URL(name, import.meta.url));
    return ["read-only", path, `${INSIDE.scripts}/${name}`];
  });
  const boot = join(at, "boot");
  return [
    ["read-only", join(at, "bin"), INSIDE.bin],
    ["bind", join(at, "flags"), INSIDE.flags],
    ["read-only", boot, INSIDE.boot],
    ["read-only", join(at, "user-data"), INSIDE.userData],
    ...scripts,
    ...(await planShims(join(at, "bin/.power"))),
    ...shares.map((path): Mount => ["bind", path, path]),
  ];
}

/** What machines fetch once for all. The runner gives folders in it to the job's user, whose uv writes there. */
const planCache = (path: string | undefined): readonly Mount[] =>
  path === undefined ? [] : [["bind", path, INSIDE.cache]];

type BwrapOptions = {
  readonly at: string;
  readonly instanceId: string;
  readonly mounts: readonly Mount[];
};

/** As its options; what it starts is told by sandbox.py. */
function bwrapWords(sandbox: RealSandbox, { at, instanceId, mounts }: BwrapOptions): string[] {
  const options = {
    "read-only": "--ro-bind",
    bind: "--bind",
    device: "--dev-bind",
    link: "--symlink",
  } as const;
  return [
    sandbox.bwrap,
    ...["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"],
    ...(sandbox.isRoot ? [] : ["--unshare-user", "--uid", "0", "--gid", "0"]),
    ...["--as-pid-1", "--die-with-parent", "--hostname", instanceId],
    ...["--cap-drop", "ALL", ...CAPABILITIES.flatMap((name) => ["--cap-add", `CAP_${name}`])],
    ...["--bind", join(at, "disk"), "/"],
    // By itself it would make them for root alone, and the job is somebody else.
    ...foldersAbove(mounts).flatMap((folder) => ["--perms", "0755", "--dir", folder]),
    ...mounts.flatMap(([kind, source, target]) =>
      kind === "proc" || kind === "dev" ? [`--${kind}`, target] : [options[kind], source, target],
    ),
    ...["--chdir", "/", "--"],
  ];
}

/** Of all places, the upper ones first. */
function foldersAbove(mounts: readonly Mount[]): readonly string[] {
  const folders = new Set<string>();
  for (const [, , target = "/"] of mounts) {
    for (let folder = dirname(target); folder !== "/" && folder !== "."; folder = dirname(folder)) {
      folders.add(folder);
    }
  }
  return [...folders].sort();
}

type Ways = { readonly path: string; readonly proxyPort: number };

function machineEnvironment(
  { jobUser }: RealSandbox,
  { host, own }: MachinePlace,
  { path, proxyPort }: Ways,
): Record<string, string> {
  const kept = Object.entries(host).filter(
    // Proxies are the relay's to know, and the host's caches nobody's to write to.
    ([name]) => !/_proxy$/i.test(name) && !/_(CACHE_DIR|LOG)$/.test(name),
  );
  const proxy = `http://127.0.0.1:${proxyPort}`;
  const ways = {
    http_proxy: proxy,
    https_proxy: proxy,
    no_proxy: "localhost,127.0.0.1,169.254.169.254",
  };
  return {
    ...Object.fromEntries(kept),
    ...ways,
    ...Object.fromEntries(Object.entries(ways).map(([name, value]) => [name.toUpperCase(), value])),
    PATH: `${INSIDE.bin}:${path}`,
    HOME: INSIDE.home,
    TMPDIR: INSIDE.temporary,
    ERRAND_LOCAL_ROOT: "/",
    ...(host.ERRAND_CACHE === undefined ? {} : { ERRAND_CACHE: INSIDE.cache }),
    AWS_EC2_METADATA_SERVICE_ENDPOINT: INSIDE.metadataEndpoint,
    ...(jobUser === "own-user" ? { ERRAND_LOCAL_JOB_USER: JOB_USER } : {}),
    ...(jobUser === "own-sandbox" ? { ERRAND_LOCAL_AS_JOB: `${INSIDE.bin}/as-job` } : {}),
    ...own,
  };
}

/** The host's own proxies, by `http`, `https`, `all` and `no`. */
function pickProxies(host: HostEnvironment): Record<string, string> {
  const names = ["http", "https", "all", "no"];
  const entries = names.map((name) => {
    const value = host[`${name}_proxy`] ?? host[`${name.toUpperCase()}_PROXY`] ?? "";
    return [name, value] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== ""));
}
