/**
 * The pinned uv on the operator's machine: out of a file that she has, from its maker's release, or from the package index that
 * pip is set up for. Whatever brings it, it is the pinned executable or it is refused.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { extract } from "tar-stream";
import { fromBufferPromise } from "yauzl";
import type { UvPin } from "../core/uv.ts";
import { UserError } from "../errors.ts";

const run = promisify(execFile);
const DOWNLOAD_MS = 120_000;
const BYTES_MAX = 256 << 20;

/** What pip calls the systems of our targets. */
const PIP_PLATFORMS: Readonly<Record<string, string>> = {
  "linux-x86_64": "manylinux2014_x86_64",
  "linux-aarch64": "manylinux2014_aarch64",
  "darwin-x86_64": "macosx_10_12_x86_64",
  "darwin-arm64": "macosx_11_0_arm64",
};

export type UvSource = {
  readonly pin: UvPin;
  /** One of the pin's. */
  readonly target: string;
  /** A wheel, a tar.gz or the executable itself. */
  readonly file?: string | undefined;
  /** Where it came from. */
  readonly note: (text: string) => void;
};

/** The executable. Throws UserError when it cannot be had, or is another. */
export async function fetchUv({ pin, target, file, note }: UvSource): Promise<Buffer> {
  const wanted = pin.targets[target];
  if (!wanted) {
    const known = Object.keys(pin.targets).join(", ");
    throw new UserError(`uv ${pin.version} is not pinned for ${target}`, `There are ${known}.`);
  }
  const check = (uv: Buffer, from: string): Buffer => {
    const found = sha256(uv);
    if (found === wanted.sha256) return uv;
    throw new UserError(
      `${from} is not uv ${pin.version} for ${target}`,
      `Its sha256 is ${found}, not ${wanted.sha256}.`,
    );
  };
  if (file !== undefined) return check(await unwrap(await readGiven(file), file), file);
  const failures: string[] = [];
  for (const [from, get] of [
    [wanted.url, () => download(wanted.url)],
    ["pip", () => downloadByPip(pin.version, target)],
  ] as const) {
    try {
      const uv = check(await unwrap(await get(), from), from);
      note(`uv ${pin.version} for ${target} comes from ${from}`);
      return uv;
    } catch (error) {
      failures.push(`${from}: ${messageOf(error)}`);
    }
  }
  throw new UserError(
    `uv ${pin.version} for ${target} cannot be fetched:\n${failures.join("\n")}`,
    `Bring ${wanted.url} here and name it: --from FILE`,
  );
}

export const sha256 = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("hex");

async function readGiven(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new UserError(`reading ${file}`, "Check --from.", { cause });
  }
}

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
  if (!response.ok) throw new UserError(`HTTP ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

async function downloadByPip(version: string, target: string): Promise<Buffer> {
  const folder = await mkdtemp(path.join(tmpdir(), "errand-uv-"));
  try {
    const options = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1"];
    const wanted = ["--no-deps", "--only-binary=:all:", `--platform=${PIP_PLATFORMS[target]}`];
    const words = ["-m", "pip", "download", ...options, ...wanted, "-d", folder, `uv==${version}`];
    await run("python3", words, { timeout: DOWNLOAD_MS });
    const [name = ""] = await readdir(folder);
    return await readFile(path.join(folder, name));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The last line of what a program said, or the cause of what `fetch` did not manage. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stderr, cause } = error as { stderr?: string; cause?: unknown };
  if (stderr) return stderr.trim().split("\n").at(-1) ?? "";
  return cause instanceof Error && cause.message !== "" ? cause.message : error.message;
}

/** By the first bytes: a wheel is a zip. */
async function unwrap(bytes: Buffer, from: string): Promise<Buffer> {
  try {
    if (bytes.subarray(0, 2).toString("latin1") === "PK") return await fromZip(bytes);
    if (bytes.subarray(0, 2).toString("hex") === "1f8b") return await fromTar(bytes);
    return bytes;
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    throw new UserError(`unpacking ${from}`, "", { cause });
  }
}

async function fromZip(bytes: Buffer): Promise<Buffer> {
  const zip = await fromBufferPromise(bytes);
  for await (const entry of zip.eachEntry()) {
    if (!entry.fileName.endsWith(".data/scripts/uv")) continue;
    return await readAll((await zip.openReadStreamPromise(entry)) as AsyncIterable<Uint8Array>);
  }
  throw new UserError("there is no uv in this wheel");
}

async function fromTar(bytes: Buffer): Promise<Buffer> {
  // Unpacked as a whole, so that an archive that is cut off is an error and not a stream without an end.
  const entries = extract();
  entries.end(await promisify(gunzip)(bytes, { maxOutputLength: BYTES_MAX }));
  for await (const entry of entries) {
    if (entry.header.type === "file" && /(^|\/)uv$/.test(entry.header.name)) {
      return await readAll(entry as AsyncIterable<Uint8Array>);
    }
    entry.resume();
  }
  throw new UserError("there is no uv in this archive");
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    if (bytes > BYTES_MAX) throw new UserError("what should be uv is larger than it can be");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
