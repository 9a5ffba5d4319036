/** Packs a directory as the bundle that a drop carries: one .tar.gz, the same bytes for the same files. */
import { open } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type Pack, pack } from "tar-stream";
import { UserError } from "../errors.ts";
import { type BundleEntry, unreadable } from "./bundle-files.ts";
import { formatBytes, oneLine } from "./render-values.ts";

/** A bundle is code: what is larger is data, and belongs into a workflow that downloads it. */
export const BUNDLE_BYTES_MAX = 1024 ** 3;

/** Throws UserError when a file changes while it is read, or the whole is larger than a bundle may be. */
export async function packBundle(
  directory: string,
  entries: readonly BundleEntry[],
): Promise<Uint8Array> {
  const archive = pack();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const collect = async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > BUNDLE_BYTES_MAX) {
        throw new UserError(
          `the bundle is larger than ${formatBytes(BUNDLE_BYTES_MAX)}`,
          "List what a job does not need in .dstackignore; have a workflow download the data.",
        );
      }
      chunks.push(chunk);
    }
  };
  await Promise.all([
    pipeline(archive, createGzip(), collect),
    addAll(archive, directory, entries).catch((error: Error) => archive.destroy(error)),
  ]);
  return Buffer.concat(chunks);
}

async function addAll(archive: Pack, directory: string, entries: readonly BundleEntry[]) {
  for (const entry of entries) {
    if (archive.destroyed) return;
    await addEntry(archive, directory, entry);
  }
  archive.finalize();
}

async function addEntry(archive: Pack, directory: string, entry: BundleEntry): Promise<void> {
  const header = {
    name: entry.path,
    mode: entry.mode,
    // Whole seconds: what an archive without extensions can say.
    mtime: new Date(Math.floor(entry.modifiedAt / 1000) * 1000),
  };
  if (entry.type === "file") {
    await addFile(archive, path.join(directory, entry.path), { ...header, size: entry.bytes });
    return;
  }
  const rest =
    entry.type === "folder"
      ? { type: "directory" as const }
      : { type: "symlink" as const, linkname: entry.target };
  await new Promise<void>((resolve, reject) => {
    archive.entry({ ...header, ...rest }, (error) => (error ? reject(error) : resolve()));
  });
}

async function addFile(
  archive: Pack,
  file: string,
  header: { readonly name: string; readonly size: number },
): Promise<void> {
  const handle = await open(file).catch((cause: unknown) => {
    throw unreadable(header.name, cause);
  });
  try {
    const source = handle.createReadStream({
      autoClose: false,
      ...(header.size > 0 ? { end: header.size - 1 } : {}),
    });
    let bytes = 0;
    const counted = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        bytes += chunk.length;
        if (bytes <= header.size) yield chunk;
      }
      if (bytes !== header.size) throw changed(header.name);
    };
    const entry = archive.entry(header);
    await pipeline(source, counted, entry);
  } finally {
    await handle.close();
  }
}

const changed = (name: string): UserError =>
  new UserError(`"${oneLine(name)}" changed while it was packed`, "Submit again when it rests.");

export type LargeFile = { readonly path: string; readonly bytes: number };

/** Above this a user should know what is sent. */
export const LARGE_BUNDLE_BYTES = 100_000_000;

/** The ten largest files of a large bundle; none of a small one. */
export function largestFiles(entries: readonly BundleEntry[]): readonly LargeFile[] {
  const files = entries.flatMap((entry) =>
    entry.type === "file" ? [{ path: entry.path, bytes: entry.bytes }] : [],
  );
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes <= LARGE_BUNDLE_BYTES) return [];
  return files.sort((one, other) => other.bytes - one.bytes).slice(0, 10);
}
