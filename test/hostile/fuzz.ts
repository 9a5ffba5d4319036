/** One case of the fuzz: made from its seed, read as the daemon reads it, and judged. */

import { isDeepStrictEqual } from "node:util";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { runSchema } from "../../src/core/run.ts";
import { jobSchema } from "../../src/core/workflow.ts";
import { readTarDotDstack, readZipDotDstack } from "../../src/daemon/archive.ts";
import { takeIn } from "../../src/daemon/intake.ts";
import { UserError } from "../../src/errors.ts";
import { BundleError } from "../../src/workflow/bundle-error.ts";
import { type CompileInput, compileBundle } from "../../src/workflow/compile.ts";
import { Random } from "../simulation/random.ts";
import { Bucket } from "../support/bucket.ts";
import { makeClock, quietLog } from "../support/make.ts";
import { type ArchiveCase, makeTarCase, makeZipCase } from "./archive-cases.ts";
import { type DropCase, makeDropCase } from "./intake-cases.ts";
import { makeYamlCase } from "./yaml-cases.ts";

export type Verdict = "taken" | "refused";
export type Kind = "tar" | "zip" | "yaml" | "drop";

const KINDS: readonly Kind[] = [
  "tar",
  "tar",
  "tar",
  "zip",
  "zip",
  "yaml",
  "yaml",
  "yaml",
  "yaml",
  "drop",
];
/** Far more than any takes: the machine may be busy. */
const CASE_MS = 30_000;
const TEXT_BYTES_MAX = 1_048_576;

/** Throws Error, with what is wrong, for a case that does not end as it must. */
export async function runCase(seed: number): Promise<{ kind: Kind; verdict: Verdict }> {
  const kind = KINDS[seed % KINDS.length] ?? "tar";
  const random = new Random(seed * 2_654_435_761);
  const beganAt = performance.now();
  const verdict = await within(CASE_MS, judge(kind, random));
  const tookMs = performance.now() - beganAt;
  if (tookMs > CASE_MS) throw new Error(`took ${tookMs.toFixed(0)} ms`);
  return { kind, verdict };
}

function judge(kind: Kind, random: Random): Promise<Verdict> {
  switch (kind) {
    case "tar":
      return judgeArchive(makeTarCase(random), (bytes, signal) =>
        readTarDotDstack(inChunks(bytes, random), { signal }),
      );
    case "zip":
      return judgeArchive(makeZipCase(random), (bytes, signal) =>
        readZipDotDstack(
          {
            bytes: bytes.length,
            read: async (start, end) => inChunks(bytes.subarray(start, end + 1), random),
          },
          { signal },
        ),
      );
    case "yaml":
      return judgeYaml(makeYamlCase(random));
    case "drop":
      return judgeDrop(makeDropCase(random));
  }
}

async function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function* inChunks(bytes: Uint8Array, random: Random) {
  const size = 1 << random.between(5, 16);
  for (let start = 0; start < bytes.length; start += size) {
    yield bytes.subarray(start, start + size);
  }
}

async function judgeArchive(
  { bytes, expected }: ArchiveCase,
  read: (bytes: Uint8Array, signal: AbortSignal) => Promise<ReadonlyMap<string, string>>,
): Promise<Verdict> {
  const files = await orRefusal(read(bytes, new AbortController().signal));
  if (files instanceof UserError) {
    if (expected !== undefined && expected !== "refused") {
      throw new Error(`a good archive was refused: ${files.message}`);
    }
    return "refused";
  }
  if (expected === "refused") throw new Error("a hostile archive was taken");
  checkFiles(files);
  const isSame = expected === undefined || sorted(files) === sorted(expected);
  if (!isSame) throw new Error(`other files came out: ${sorted(files)}, not ${sorted(expected)}`);
  return judgeYaml(new Map(files));
}

const sorted = (files: ReadonlyMap<string, string>): string => JSON.stringify([...files].sort());

async function orRefusal<Value>(work: Promise<Value>): Promise<Value | UserError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof UserError && error.message !== "") return error;
    throw new Error(`not a UserError: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function checkFiles(files: ReadonlyMap<string, string>): void {
  let bytes = 0;
  for (const [path, text] of files) {
    bytes += Buffer.byteLength(text);
    if (
      !/^\.dstack\/(?:providers\/)?[^/]+\.ya?ml$/.test(path) ||
      /(?:^|\/)\.\.?(?:\/|$)/.test(path)
    ) {
      throw new Error(`${path} came out`);
    }
  }
  if (bytes > TEXT_BYTES_MAX) throw new Error(`${bytes} bytes came out`);
}

const SETS = { run: "20261101-000000-aaaaaa", sets: [{ job: "score", attempt: 1 }] };

async function judgeYaml(files: ReadonlyMap<string, string>): Promise<Verdict> {
  const input: CompileInput = {
    files,
    request: { workflows: [], variables: {} },
    run: { id: "20261123-211530-k3f9q2", name: "brave-otter-42" },
    tags: { find: () => SETS, list: () => [] },
    limits: { jobsMax: 1_000, maxDurationMs: 86_400_000 },
  };
  try {
    const { jobs } = compileBundle(input);
    // What stands in the record has to be read again.
    const written: unknown = JSON.parse(JSON.stringify(jobs));
    const isSame = isDeepStrictEqual(jobSchema.array().parse(written), written);
    if (!isSame) throw new Error("jobs change in the record");
    return "taken";
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    checkPlaces(error, files);
    return "refused";
  }
}

function checkPlaces({ problems, lines }: BundleError, files: ReadonlyMap<string, string>): void {
  if (problems.length === 0) throw new Error("refused without a reason");
  for (const { file, line, column, message } of problems) {
    const count = (files.get(file) ?? "").split("\n").length;
    const isThere = line === 0 || (line > 0 && line <= count && column > 0);
    if (!isThere) throw new Error(`${message} at ${file}:${line}:${column} of ${count} lines`);
  }
  const broken = lines.find((line) => /[\n\0]/.test(line));
  if (broken !== undefined) throw new Error(`a problem breaks its line: ${JSON.stringify(broken)}`);
}

const AT = Date.UTC(2026, 10, 23, 21, 15, 30);
const KEY_BYTES_MAX = 1_024;

async function judgeDrop({ key, metadata, body }: DropCase): Promise<Verdict> {
  const bucket = new Bucket(() => AT);
  await bucket.put(key, body, { metadata });
  const clock = makeClock(() => AT);
  const intake = { store: bucket, clock, log: quietLog, limits: DEFAULT_LIMITS, providers: [] };
  await takeIn(intake, key);
  await takeIn(intake, key);
  if (body.length === 0 && key.endsWith("/")) return "refused";
  const keys = bucket.keys("");
  const long = keys.find((each) => Buffer.byteLength(each) > KEY_BYTES_MAX);
  if (long !== undefined) throw new Error(`S3 takes no key such as ${long}`);
  const count = (prefix: string) => keys.filter((each) => each.startsWith(prefix)).length;
  const record = keys.find((each) => each.startsWith("records/")) ?? "";
  const run = runSchema.parse(JSON.parse(bucket.read(record) ?? "null"));
  const isRejected = run.rejected !== undefined;
  const found = [count("drops/"), count("records/"), count("open/"), count("rejected/")].join(" ");
  const wanted = isRejected ? "0 1 0 1" : "0 1 1 0";
  if (found !== wanted) throw new Error(`drops, records, markers, rejected: ${found}`);
  if (isRejected && !run.rejected?.some((line) => line.trim() !== "")) throw new Error("no reason");
  if (run.rejected?.some((line) => line.startsWith("a bug"))) throw new Error(String(run.rejected));
  return isRejected ? "refused" : "taken";
}
