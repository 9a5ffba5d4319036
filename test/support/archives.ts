/** Bundles as archives. Zips are made by Python, which is on every machine that runs the tests. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";

/** A .tar.gz of these files, by path. */
export async function makeTarGz(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name }, text);
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  return gzipSync(Buffer.concat(parts));
}

const ZIP = `
import os, sys, zipfile
folder, target, method = sys.argv[1:4]
with zipfile.ZipFile(target, "w", getattr(zipfile, method)) as archive:
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, folder)
            if os.path.islink(path):
                info = zipfile.ZipInfo(inside)
                info.create_system, info.external_attr = 3, 0o120777 << 16
                archive.writestr(info, os.readlink(path))
            elif path != target:
                archive.write(path, inside)
`;

/** A .zip of what a folder holds, links as links. */
export function zipFolder(folder: string, method: "ZIP_DEFLATED" | "ZIP_STORED" = "ZIP_DEFLATED") {
  const target = join(folder, "bundle.zip");
  execFileSync("python3", ["-c", ZIP, folder, target, method]);
  return readFileSync(target);
}

/** A .zip of these files, by path. */
export function makeZip(files: Readonly<Record<string, string>>): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "errand-zip-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return zipFolder(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
