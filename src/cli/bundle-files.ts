/** Which files of a directory go into a bundle. */
import { isUtf8 } from "node:buffer";
import type { Stats } from "node:fs";
import { lstat, readdir, readFile, readlink, realpath } from "node:fs/promises";
import path from "node:path";
import { UserError } from "../errors.ts";
import { IGNORE_FILES, type IgnoreRules, noRules } from "./ignore-rules.ts";
import { oneLine } from "./render-values.ts";

export type BundleEntry = {
  /** Relative to the bundle's root, with slashes. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** Milliseconds. */
  readonly modifiedAt: number;
} & (
  | { readonly type: "file"; readonly bytes: number }
  | { readonly type: "folder" }
  | { readonly type: "link"; readonly target: string }
);

export type BundleFiles = {
  /** `.dstack` first, then by path in byte order: the same directory always gives the same list. */
  readonly entries: readonly BundleEntry[];
  /** Sockets, pipes and devices, which no archive can hold. */
  readonly leftOut: readonly string[];
};

export const ENTRIES_MAX = 200_000;

/** Throws UserError for what cannot be packed: links that leave the directory, names that are not UTF-8, too many files. */
export async function listBundleFiles(directory: string): Promise<BundleFiles> {
  const walk: Walk = { root: await realpath(directory), entries: [], leftOut: [] };
  await visit(walk, "", noRules);
  const rank = (entry: BundleEntry) => (/^\.dstack(\/|$)/.test(entry.path) ? 0 : 1);
  const entries = walk.entries.sort(
    (one, other) =>
      rank(one) - rank(other) || Buffer.compare(Buffer.from(one.path), Buffer.from(other.path)),
  );
  return { entries, leftOut: walk.leftOut };
}

type Walk = { readonly root: string; readonly entries: BundleEntry[]; readonly leftOut: string[] };

async function visit(walk: Walk, folder: string, above: IgnoreRules): Promise<void> {
  const found = await readdir(path.join(walk.root, folder), { encoding: "buffer" }).catch(
    (cause: unknown) => {
      throw unreadable(folder || ".", cause);
    },
  );
  const names = found.map((name) => decodeName(name, folder));
  const rules = above.enter(folder, await readIgnoreFiles(walk.root, folder, names));
  for (const name of names.sort()) {
    const below = folder === "" ? name : `${folder}/${name}`;
    const status = await lstat(path.join(walk.root, below));
    if (rules.isIgnored(below, status.isDirectory())) continue;
    if (walk.entries.length === ENTRIES_MAX) throw tooMany(walk.root);
    const entry = await entryOf(walk.root, below, status);
    if (entry) walk.entries.push(entry);
    else walk.leftOut.push(below);
    if (entry?.type === "folder") await visit(walk, below, rules);
  }
}

export const unreadable = (name: string, cause: unknown): UserError =>
  new UserError(
    `reading "${oneLine(name)}"`,
    "Make it readable, or list it in .dstackignore if no job needs it.",
    { cause },
  );

const tooMany = (root: string): UserError =>
  new UserError(
    `${root} has more than ${ENTRIES_MAX.toLocaleString("en")} files to send`,
    "List what a job does not need in .dstackignore.",
  );

async function entryOf(
  root: string,
  below: string,
  status: Stats,
): Promise<BundleEntry | undefined> {
  const common = { path: below, mode: status.mode & 0o777, modifiedAt: status.mtimeMs };
  if (status.isDirectory()) return { ...common, type: "folder" };
  if (status.isFile()) return { ...common, type: "file", bytes: status.size };
  if (!status.isSymbolicLink()) return undefined;
  return { ...common, type: "link", target: await readTarget(root, below) };
}

function decodeName(name: Buffer, folder: string): string {
  if (isUtf8(name)) return name.toString();
  throw new UserError(
    `the name of a file in "${folder || "."}" is not UTF-8: ${oneLine(name.toString("latin1"))}`,
    "Rename it.",
  );
}

async function readIgnoreFiles(
  root: string,
  folder: string,
  names: readonly string[],
): Promise<string[]> {
  const there = IGNORE_FILES.filter((name) => names.includes(name));
  return Promise.all(there.map((name) => readFile(path.join(root, folder, name), "utf8")));
}

/** A link is kept as it is, if it stays inside: by its words, and by where it really leads. */
async function readTarget(root: string, link: string): Promise<string> {
  const target = await readlink(path.join(root, link));
  const refuse = (): never => {
    throw new UserError(
      `the link "${oneLine(link)}" points out of the bundle, to "${oneLine(target)}"`,
      "Copy what it points to, or list the link in .dstackignore.",
    );
  };
  const isInside = (place: string) => place === root || place.startsWith(root + path.sep);
  if (path.isAbsolute(target)) refuse();
  if (!isInside(path.resolve(root, path.dirname(link), target))) refuse();
  const real = await realpath(path.join(root, link)).catch(() => undefined);
  if (real !== undefined && !isInside(real)) refuse();
  return target;
}
