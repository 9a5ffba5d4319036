/**
 * Brings artifacts back: every file verified against its manifest, modes, links and empty folders as they
 * were. A manifest is what a job's machine wrote, so it is not trusted: nothing is written outside the
 * folder that the user named, not even through links that are already there.
 */
import { createHash, randomUUID } from "node:crypto";
import { chmod, lstat, mkdir, open, realpath, rename, rm, symlink } from "node:fs/promises";
import path from "node:path";
import PQueue from "p-queue";
import { key } from "../core/layout.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import type { JobArtifacts, ManifestEntry } from "./manifests.ts";
import { oneLine } from "./render-values.ts";

const DOWNLOADS_AT_ONCE = 8;

export type Downloaded = {
  readonly files: number;
  readonly bytes: number;
  /** Links that lead out of the folder: not made. */
  readonly leftOut: readonly string[];
  /** Files of a partial set that its machine uploaded anew after its last manifest, and then ended: not written. */
  readonly changed: readonly string[];
};

/** Writes a set into `folder`, which is made when there is none. Throws UserError for what is unsafe or not as its manifest says. */
export async function downloadArtifacts(
  store: Store,
  run: string,
  { set, folder }: { readonly set: JobArtifacts; readonly folder: string },
): Promise<Downloaded> {
  for (const entry of set.entries) checkPath(entry.path);
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new UserError(`making the folder ${folder}`, "Check --download.", { cause });
  });
  const root = await realpath(folder);
  const { directories, files, links } = sortEntries(set.entries);

  for (const entry of directories) await makeFolder(root, entry.path);
  for (const entry of [...files, ...links]) await makeFolder(root, path.posix.dirname(entry.path));
  const prefix = key.artifacts(run, set.job, set.attempt);
  const queue = new PQueue({ concurrency: DOWNLOADS_AT_ONCE });
  const changed = new Set<EntryOf<"file">>();
  await Promise.all(
    files.map((entry) =>
      queue.add(async () => {
        const place = { entry, key: prefix + (entry.key ?? entry.path), root };
        if (await writeFile(store, place)) return;
        if (set.complete) throw hasChanged(entry);
        changed.add(entry);
      }),
    ),
  );
  const written = files.filter((entry) => !changed.has(entry));
  // Links after files, so that no file is written through one of them.
  const leftOut: string[] = [];
  for (const entry of links) {
    if (!(await makeLink(root, entry))) leftOut.push(`${entry.path} -> ${entry.target}`);
  }
  // Modes last and from the depth up: a folder that may not be written to is filled first.
  for (const entry of directories.toReversed()) {
    await chmod(onDisk(path.join(root, entry.path)), entry.mode & 0o777);
  }
  return {
    files: written.length,
    bytes: written.reduce((sum, { size }) => sum + size, 0),
    leftOut,
    changed: [...changed].map((entry) => entry.path).sort(),
  };
}

const hasChanged = ({ path: name }: EntryOf<"file">): UserError =>
  new UserError(
    `"${oneLine(name)}" is not what its manifest says: its bytes have changed in the bucket`,
    "Run the job again.",
  );

type EntryOf<Type> = Extract<ManifestEntry, { type: Type }>;

/** Directories with those that hold others first. */
function sortEntries(entries: readonly ManifestEntry[]) {
  const ofType = <Type extends ManifestEntry["type"]>(type: Type) =>
    entries.filter((entry): entry is EntryOf<Type> => entry.type === type);
  const directories = ofType("directory").sort((one, other) => (one.path < other.path ? -1 : 1));
  return { directories, files: ofType("file"), links: ofType("link") };
}

/** A path of a manifest names something below the folder, and nothing else. */
function checkPath(name: string): void {
  const isPlain =
    !name.includes("\0") &&
    name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (isPlain) return;
  throw new UserError(
    `the manifest names "${oneLine(name)}", which is no path inside an artifact`,
    "Nothing was written.",
  );
}

/** Makes the folders of a path one by one, so that none of them is a link to elsewhere. */
async function makeFolder(root: string, below: string): Promise<void> {
  let place = root;
  for (const part of below === "." ? [] : below.split("/")) {
    place = path.join(place, part);
    await mkdir(onDisk(place)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    const status = await lstat(onDisk(place));
    if (!status.isDirectory()) {
      throw new UserError(
        `${place} is there already and is no folder`,
        "Download into an empty folder.",
      );
    }
  }
}

/** False, and nothing is written, when the bytes are not those of the entry. */
async function writeFile(
  store: Store,
  { entry, key: objectKey, root }: { entry: EntryOf<"file">; key: string; root: string },
): Promise<boolean> {
  const place = path.join(root, entry.path);
  await refuseFolder(place);
  // Beside its place and then renamed: what has the name is whole, and a link of that name is replaced, not followed.
  const partial = path.join(path.dirname(place), `.errand-${randomUUID()}`);
  try {
    const file = await open(onDisk(partial), "wx", 0o600);
    const hash = createHash("sha256");
    let bytes = 0;
    try {
      for await (const chunk of await store.open(objectKey)) {
        hash.update(chunk);
        bytes += chunk.length;
        await file.writeFile(chunk);
      }
      await file.chmod(entry.mode & 0o777);
    } finally {
      await file.close();
    }
    if (bytes !== entry.size || hash.digest("hex") !== entry.sha256) return false;
    await rename(onDisk(partial), onDisk(place));
    return true;
  } finally {
    await rm(onDisk(partial), { force: true });
  }
}

/** False for a link that would lead out of the folder. */
async function makeLink(root: string, entry: EntryOf<"link">): Promise<boolean> {
  const { target } = entry;
  const place = path.join(root, entry.path);
  const end = path.resolve(path.dirname(place), target);
  const isInside = end === root || end.startsWith(root + path.sep);
  if (path.isAbsolute(target) || target.includes("\0") || !isInside) return false;
  await refuseFolder(place);
  await rm(onDisk(place), { force: true });
  await symlink(onDisk(target), onDisk(place));
  return true;
}

async function refuseFolder(place: string): Promise<void> {
  const status = await lstat(onDisk(place)).catch(() => undefined);
  if (!status?.isDirectory()) return;
  throw new UserError(`${place} is there already as a folder`, "Download into an empty folder.");
}

/** A name as the file system has it: U+DC80 to U+DCFF, alone, are what manifests write for the bytes 80 to FF where they are no UTF-8. */
function onDisk(name: string): string | Buffer {
  const parts = name.split(/([\u{dc80}-\u{dcff}])/u);
  if (parts.length === 1) return name;
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 1 ? Buffer.from([part.charCodeAt(0) - 0xdc00]) : Buffer.from(part),
    ),
  );
}
