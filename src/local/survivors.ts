/** Processes that a local cloud's machines have left behind: for tests and the demo, which count them at their end. */
import { readdirSync, readFileSync } from "node:fs";
import { listProcesses, pickTree } from "./machines-processes.ts";

/**
 * Process ids of machines whose data directories lie in `folder`, or are it; none where the host does not show environments. What shows
 * where it belongs are the cookie, with an instance of such a directory, and paths in the command and the environment; of what has
 * neither cookie nor parent any more, the machine's files that it has open. Descendants count, too.
 */
export async function listSurvivors(folder: string): Promise<readonly number[]> {
  if (process.platform !== "linux") return [];
  const ids = listInstanceIds(folder);
  const processes = await listProcesses();
  const isOurs = (pid: number, cookie: string): boolean =>
    ids.has(cookie.split(":")[0] ?? "") || namesFolder(pid, folder);
  const cookies = new Set(
    processes
      .filter(({ pid, cookie }) => cookie !== "" && isOurs(pid, cookie))
      .map((each) => each.cookie),
  );
  const trees = [...cookies].map((cookie) => pickTree(processes, { cookie }));
  const orphans = processes.filter(({ places }) => places?.some(isMachines(folder)));
  return [...new Set([...trees.flat(), ...orphans].map(({ pid }) => pid))];
}

/** Of a path, which may be gone by now. */
const isMachines = (folder: string) => (path: string) =>
  path.startsWith(`${folder}/`) && /\/instances\/i-[0-9a-f]+(\/|$)/.test(path);

function listInstanceIds(folder: string): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const name of ["", ...list(folder)]) {
    for (const part of ["ec2/instances", "instances"]) {
      for (const id of list(`${folder}/${name}/${part}`)) ids.add(id);
    }
  }
  return ids;
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function namesFolder(pid: number, folder: string): boolean {
  return ["environ", "cmdline"].some((name) => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, "latin1").includes(folder);
    } catch {
      return false;
    }
  });
}
