/**
 * A CPython for the machines, fetched and verified by the pinned uv: it holds the addresses and the checksums of the builds
 * that it installs, so that what goes into the bucket is what uv would install from the internet.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import type { PythonBuild } from "../core/uv.ts";
import { UserError } from "../errors.ts";
import { sha256 } from "./fetch-uv.ts";

const run = promisify(execFile);
const INSTALL_MS = 600_000;

const listedSchema = z.array(z.looseObject({ version: z.string(), url: z.string() }));

export type PythonSource = {
  /** The pinned one, of this machine. */
  readonly uv: Uint8Array;
  /** Major and minor, as "3.10". */
  readonly version: string;
  /** As "linux-x86_64", where it will run. */
  readonly target: string;
  /** The build's archive, or a folder that holds it under its own name; from the internet without it. */
  readonly from?: string | undefined;
};

export type FetchedPython = { readonly build: PythonBuild; readonly body: Buffer };

/** Throws UserError when uv knows no such build, or it cannot be had or verified. */
export async function fetchPython(source: PythonSource): Promise<FetchedPython> {
  const folder = await mkdtemp(path.join(tmpdir(), "errand-python-"));
  try {
    const uv = path.join(folder, "uv");
    await writeFile(uv, source.uv, { mode: 0o755 });
    return await fetchBy(uv, folder, source);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fetchBy(
  uv: string,
  folder: string,
  { version, target, from }: PythonSource,
): Promise<FetchedPython> {
  const name = nameForUv(version, target);
  const [listed] = await listBuilds(uv, name);
  if (!listed || !RELEASE.test(listed.version)) {
    const fault = listed
      ? `Python ${version} is not released yet for ${target}: uv has ${listed.version}`
      : `uv has no Python ${version} for ${target}`;
    throw new UserError(fault, knownVersions(await listBuilds(uv, nameForUv("", target))));
  }
  const archive = decodeURIComponent(new URL(listed.url).pathname.split("/").at(-1) ?? "");
  const mirror = from === undefined ? {} : await makeMirror(folder, { archive, from, listed });
  const archives = path.join(folder, "archives");
  const install = ["python", "install", "--no-bin", "--install-dir", path.join(folder, "python")];
  const cure =
    from === undefined
      ? `Bring ${listed.url} here and name it: --from FILE`
      : `Check --from: the build is ${listed.url}`;
  await runUv(uv, [...install, name], {
    settings: { ...mirror, UV_PYTHON_CACHE_DIR: archives },
    cure,
  });
  const [kept = ""] = await readdir(archives);
  const body = await readFile(path.join(archives, kept));
  return { build: { format: 1, version: listed.version, archive, sha256: sha256(body) }, body };
}

const RELEASE = /^(3\.\d+)\.\d+$/;

type Listed = z.infer<typeof listedSchema>;

const listBuilds = async (uv: string, name: string): Promise<Listed> => {
  const words = ["python", "list", "--only-downloads", "--output-format", "json", name];
  return listedSchema.parse(JSON.parse(await runUv(uv, words)));
};

function knownVersions(builds: Listed): string {
  const minors = builds.flatMap((each) => RELEASE.exec(each.version)?.[1] ?? []);
  return minors.length === 0
    ? "It has none at all."
    : `Ask for ${[...new Set(minors)].join(", ")}.`;
}

/** Without a version, all that there are. */
function nameForUv(version: string, target: string): string {
  const [system = "", machine = ""] = target.split("-");
  const isLinux = system === "linux";
  const arch = machine === "arm64" ? "aarch64" : machine;
  return `cpython-${version === "" ? "" : `${version}-`}${isLinux ? "linux" : "macos"}-${arch}-${isLinux ? "gnu" : "none"}`;
}

/** uv takes a folder of files for the place of the releases: `<release>/<archive>`, percent-encoded as in the address. */
async function makeMirror(
  folder: string,
  { archive, from, listed }: { archive: string; from: string; listed: Listed[number] },
): Promise<Record<string, string>> {
  const isFolder = await stat(from).then(
    (status) => status.isDirectory(),
    () => false,
  );
  const file = path.resolve(isFolder ? path.join(from, archive) : from);
  if (!(await isThere(file))) {
    throw new UserError(`${file} is not there`, `It comes from ${listed.url}`);
  }
  const release = new URL(listed.url).pathname.split("/").at(-2) ?? "";
  const place = path.join(folder, "mirror", release);
  await mkdir(place, { recursive: true });
  for (const name of new Set([archive, encodeURIComponent(archive)])) {
    await symlink(file, path.join(place, name));
  }
  const mirror = pathToFileURL(path.join(folder, "mirror")).href;
  return { UV_PYTHON_INSTALL_MIRROR: mirror, UV_OFFLINE: "0", UV_HTTP_RETRIES: "0" };
}

const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    (status) => status.isFile(),
    () => false,
  );

/** uv also has the operator's own settings: proxies, certificates, mirrors. */
async function runUv(
  uv: string,
  words: readonly string[],
  { settings = {}, cure = "" }: { settings?: Readonly<Record<string, string>>; cure?: string } = {},
): Promise<string> {
  const assignments = Object.entries({ UV_SYSTEM_CERTS: "1", ...settings });
  const given = assignments.map(([name, value]) => `${name}=${value}`);
  try {
    const { stdout } = await run("env", [...given, uv, ...words], {
      timeout: INSTALL_MS,
      maxBuffer: 16 << 20,
    });
    return stdout;
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    // uv begins with the word that our own messages begin with.
    const said = stderr.trim().replace(/^error: /, "") || String(error);
    throw new UserError(`uv ${words.slice(0, 2).join(" ")}: ${said}`, cure);
  }
}
