/**
 * Which processes of the host belong to which local machine.
 *
 * A machine's processes carry its cookie in their environment. A process may start children with another
 * environment, so whatever descends from one of them, or shares a session that one of them leads, belongs to the machine too.
 * What clears its environment, calls setsid and loses its parent, all three, still descends from the machine's reaper
 * (`sandbox.py reap`). Where there is none, or it was killed, such a process belongs to the machine whose files it has open.
 * macOS shows none of that; there a machine is its process group.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * The variable in a machine's environment. The sweeper of its `poweroff` has the second, so that it does not find itself, and its
 * reaper the third, for it ends last.
 */
export const COOKIE_VARIABLE = "ERRAND_LOCAL_INSTANCE";
export const SWEEPER_VARIABLE = "ERRAND_LOCAL_SWEEPER";
export const REAPER_VARIABLE = "ERRAND_LOCAL_REAPER";

const COOKIE = new RegExp(
  `(?:^|\\0)(${COOKIE_VARIABLE}|${SWEEPER_VARIABLE}|${REAPER_VARIABLE})=([^\\0]*)`,
);

export type HostProcess = {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** Where the host does not tell, the group. */
  readonly session: number;
  /** Empty when it has none, or when the host does not show it to us. */
  readonly cookie: string;
  /** Its end lets the others go, so it is killed last. */
  readonly isReaper?: boolean;
  /** Where it works and what it has open; only of those that have lost their parent and have no cookie. */
  readonly places?: readonly string[];
  /** Milliseconds since 1970; only where cookies cannot be read. */
  readonly startedAt?: number;
};

export type Tree = {
  readonly cookie: string;
  /** The machine's own. */
  readonly folder?: string;
  /** The first process; it leads a group and a session of its own. */
  readonly leader?: { readonly pid: number; readonly startedAt: number } | undefined;
};

/** Every process of the host that is not dead already. */
export async function listProcesses(): Promise<readonly HostProcess[]> {
  return process.platform === "linux" ? readProc() : await readPs();
}

/** What belongs to a machine. Never this process itself. */
export function pickTree(processes: readonly HostProcess[], tree: Tree): readonly HostProcess[] {
  const found = new Map<number, HostProcess>();
  const living = new Set(processes.map(({ pid }) => pid));
  const others = processes.filter(({ pid }) => pid !== process.pid);
  for (let grown = true; grown; ) {
    // A session whose leader lives and is not ours is the terminal of somebody who borrowed the cookie.
    const sessions = new Set(
      [...found.values()]
        .map(({ session }) => session)
        .filter((session) => session > 1 && (found.has(session) || !living.has(session))),
    );
    const next = others.filter(
      (each) =>
        !found.has(each.pid) &&
        (found.has(each.parent) || sessions.has(each.session) || isSeed(each, tree, processes)),
    );
    for (const each of next) found.set(each.pid, each);
    grown = next.length > 0;
  }
  return [...found.values()];
}

/** A moment of clock and scheduler between the leader's start and the file that it wrote. */
const START_TOLERANCE_MS = 5_000;

function isSeed(each: HostProcess, tree: Tree, processes: readonly HostProcess[]): boolean {
  if (each.cookie !== "") return each.cookie === tree.cookie;
  const { folder } = tree;
  if (folder && each.places?.some((place) => place.startsWith(`${folder}/`))) return true;
  const { leader } = tree;
  // Without `startedAt` cookies can be read, and a number that may have been given away again is no proof.
  if (leader === undefined || each.startedAt === undefined || each.group !== leader.pid)
    return false;
  const now = processes.find(({ pid }) => pid === leader.pid)?.startedAt;
  return now === undefined || Math.abs(now - leader.startedAt) <= START_TOLERANCE_MS;
}

/** Read in one go and not by promises: some hundred small reads take a few milliseconds so, and far more otherwise. */
function readProc(): readonly HostProcess[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.flatMap((pid) => readProcess(pid) ?? []);
  const managers = new Set(found.filter(({ isManager }) => isManager).map(({ pid }) => pid));
  return found.map(({ isManager: _, ...each }) => {
    const isOrphan = each.cookie === "" && (each.parent === 1 || managers.has(each.parent));
    return isOrphan ? { ...each, places: listPlaces(each.pid) } : each;
  });
}

/** `isManager`: a systemd, of the system or of a user, to which orphans go. */
function readProcess(pid: string): (HostProcess & { readonly isManager: boolean }) | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything, so fields are counted from its end: state, parent, group, session.
  const [state, parent, group, session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (stat === "" || state === "Z" || state === "X") return undefined;
  const [, variable, cookie = ""] = COOKIE.exec(readIfThere(`/proc/${pid}/environ`)) ?? [];
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    cookie,
    isReaper: variable === REAPER_VARIABLE,
    isManager: stat.includes(" (systemd) "),
  };
}

/** Nothing of a process that has ended, or belongs to somebody else. */
function listPlaces(pid: number): readonly string[] {
  try {
    const descriptors = readdirSync(`/proc/${pid}/fd`).map((name) => `fd/${name}`);
    return ["cwd", ...descriptors].flatMap((name) => readLinkIfThere(`/proc/${pid}/${name}`) ?? []);
  } catch {
    return [];
  }
}

function readLinkIfThere(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Empty when the process has ended, or belongs to somebody else. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

async function readPs(): Promise<readonly HostProcess[]> {
  const { stdout } = await run("ps", ["-axo", "pid=,ppid=,pgid=,stat=,lstart="]);
  return stdout.split("\n").flatMap((line) => {
    const [pid, parent, group, state = "Z", ...started] = line.trim().split(/\s+/);
    if (state.startsWith("Z")) return [];
    const ids = { pid: Number(pid), parent: Number(parent), group: Number(group) };
    const startedAt = Date.parse(started.join(" "));
    return [{ ...ids, session: ids.group, cookie: "", startedAt }];
  });
}

/**
 * Changes when every process of the host has ended since: another boot, or another first process of this container.
 */
export async function readBootId(): Promise<string> {
  if (process.platform !== "linux") {
    const { stdout } = await run("sysctl", ["-n", "kern.bootsessionuuid"]);
    return stdout.trim();
  }
  const boot = readIfThere("/proc/sys/kernel/random/boot_id").trim();
  const first = readIfThere("/proc/1/stat");
  // Field 22, counted from the state, is the start in clock ticks since boot.
  const started = first.slice(first.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${boot}:${started}`;
}
