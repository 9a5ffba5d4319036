/**
 * `errand tools`: what machines need and may not be able to fetch by themselves, uv and Pythons, put into the bucket's `tools/`,
 * where every machine looks first.
 */
import { key, prefix } from "../../core/layout.ts";
import { UV } from "../../core/uv.ts";
import { UserError } from "../../errors.ts";
import type { ObjectInfo, Store } from "../../ports.ts";
import { OLDEST_MINOR } from "../../providers/python.ts";
import { connect } from "../connect.ts";
import { fetchPython } from "../fetch-python.ts";
import { fetchUv, sha256 } from "../fetch-uv.ts";
import type { Output } from "../output.ts";
import { formatBytes } from "../render-values.ts";
import type { CommonOptions } from "./runs.ts";

export type ToolsAddOptions = CommonOptions & {
  /** As in `resources`: x86_64, arm64. */
  readonly arch?: readonly string[];
  readonly from?: string;
};

type Added = { readonly tool: string; readonly version: string; readonly key: string };

/** `tools add uv`, `tools add python VERSION…`. */
export async function addTools(
  output: Output,
  [tool = "", ...versions]: readonly string[],
  options: ToolsAddOptions,
): Promise<number> {
  const targets = (options.arch ?? ["x86_64"]).map(targetOf);
  const { from } = options;
  check(tool, versions, { from, targets });
  const { store } = await connect(options);
  const { note } = output;
  const added: Added[] = [];
  // The file that is named is a Python's where Pythons are added: uv then comes by itself.
  const file = tool === "uv" ? from : undefined;
  for (const target of targets) added.push(await addUv(store, { target, file, note }));
  added.push(...(await addPythons(store, versions, { targets, from })));
  if (options.json) output.json(added);
  else for (const each of added) output.line(`${each.tool} ${each.version}: ${each.key}`);
  return 0;
}

function check(
  tool: string,
  versions: readonly string[],
  { from, targets }: { from: string | undefined; targets: readonly string[] },
): void {
  if (tool !== "uv" && tool !== "python") {
    throw new UserError(`"${tool}" is no tool`, "There are uv and python.");
  }
  if (tool === "uv" && versions.length > 0) {
    throw new UserError(`uv is pinned to ${UV.version}`, "Name no version: errand tools add uv");
  }
  if (tool === "python" && versions.length === 0) {
    throw new UserError("python needs versions", "As in: errand tools add python 3.10 3.12");
  }
  const wrong = versions.find((version) => !/^3\.\d{1,2}$/.test(version));
  if (wrong !== undefined) {
    throw new UserError(`"${wrong}" is no Python version`, 'Name major and minor, as "3.10".');
  }
  const tooOld = versions.find((version) => Number(version.slice(2)) < OLDEST_MINOR);
  if (tooOld !== undefined) {
    throw new UserError(`Python ${tooOld} is too old`, `Jobs run on 3.${OLDEST_MINOR} or later.`);
  }
  if (from !== undefined && versions.length * targets.length > 1) {
    throw new UserError("--from names one file", "Add one version for one architecture at a time.");
  }
}

function targetOf(arch: string): string {
  if (arch === "x86_64") return "linux-x86_64";
  if (arch === "arm64" || arch === "aarch64") return "linux-aarch64";
  // Machines of the local cloud are this one.
  if (arch === "host") return ownTarget();
  throw new UserError(`"${arch}" is no architecture`, "There are x86_64, arm64 and host.");
}

function ownTarget(): string {
  const machines: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };
  const machine = process.platform === "darwin" && process.arch === "arm64" ? "arm64" : undefined;
  return `${process.platform}-${machine ?? machines[process.arch] ?? process.arch}`;
}

type UvOptions = Omit<Parameters<typeof fetchUv>[0], "pin">;

/** One that is there already is left: machines check it, and take no other. */
async function addUv(store: Store, options: UvOptions): Promise<Added> {
  const place = key.uv(UV.version, options.target);
  const there = options.file === undefined ? await store.findInfo(place) : undefined;
  const sum = UV.targets[options.target]?.sha256;
  if (!there || there.metadata.sha256 !== sum) {
    const uv = await fetchUv({ pin: UV, ...options });
    await store.put(place, uv, { metadata: { sha256: sum ?? "" } });
  }
  return { tool: "uv", version: UV.version, key: place };
}

async function addPythons(
  store: Store,
  versions: readonly string[],
  { targets, from }: { targets: readonly string[]; from: string | undefined },
): Promise<readonly Added[]> {
  if (versions.length === 0) return [];
  const uv = await uvOfHere(store);
  const added: Added[] = [];
  for (const version of versions) {
    for (const target of targets) added.push(await addPython(store, { uv, version, target, from }));
  }
  return added;
}

/** The pinned uv that runs on this machine: the bucket's, where it holds it. */
async function uvOfHere(store: Store): Promise<Uint8Array> {
  const target = ownTarget();
  const kept = await store.find(key.uv(UV.version, target));
  if (kept && sha256(kept.body) === UV.targets[target]?.sha256) return kept.body;
  return fetchUv({ pin: UV, target, note: () => {} });
}

async function addPython(store: Store, source: Parameters<typeof fetchPython>[0]): Promise<Added> {
  const { build, body } = await fetchPython(source);
  const place = key.pythonArchive(build.archive);
  await store.put(place, body);
  // Last, for it is what machines look for.
  const document = `${JSON.stringify(build)}\n`;
  await store.put(key.pythonBuild(source.version, source.target), document, {
    contentType: "application/json",
  });
  return { tool: "python", version: build.version, key: place };
}

/** What the bucket holds for machines, but for our own bootstrap scripts. */
export async function listTools(output: Output, options: CommonOptions): Promise<number> {
  const { store } = await connect(options);
  const objects = await store.list(prefix.tools);
  const shown = objects.filter(({ key: name }) => /^tools\/(uv|python)\//.test(name));
  if (options.json) {
    output.json(shown.map(({ key: name, bytes }) => ({ key: name, bytes })));
    return 0;
  }
  for (const each of shown) output.line(describe(each));
  if (shown.length === 0) {
    output.note(
      "there are none: machines fetch uv and Pythons from the internet (errand tools add)",
    );
  }
  return 0;
}

const describe = ({ key: name, bytes }: ObjectInfo): string => `${name}  ${formatBytes(bytes)}`;
