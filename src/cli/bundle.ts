/** A user's directory, listed and compiled as the daemon will compile it, so that its mistakes show at once. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Limits } from "../core/limits.ts";
import { readTags } from "../daemon/tags.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import type { Provider } from "../providers/provider.ts";
import { type Compiled, compileBundle, listTagReferences } from "../workflow/compile.ts";
import type { Tags } from "../workflow/inputs.ts";
import type { Request } from "../workflow/request.ts";
import { type BundleFiles, listBundleFiles } from "./bundle-files.ts";

export type Bundle = BundleFiles & {
  readonly directory: string;
  /** Text by path, of what `.dstack/` says. */
  readonly texts: ReadonlyMap<string, string>;
};

/** Throws UserError where the directory cannot be packed. */
export async function readBundle(directory: string): Promise<Bundle> {
  const files = await listBundleFiles(directory);
  const texts = new Map<string, string>();
  for (const entry of files.entries) {
    if (!/^\.dstack\/.*\.ya?ml$/.test(entry.path)) continue;
    if (entry.type === "folder") continue;
    texts.set(entry.path, await readText(path.join(directory, entry.path), entry.path));
  }
  return { ...files, directory, texts };
}

async function readText(place: string, name: string): Promise<string> {
  try {
    return await readFile(place, "utf8");
  } catch (cause) {
    throw new UserError(`${name} cannot be read`, "Is it a link to nowhere?", { cause });
  }
}

/** Where tags stand; `assumed` takes each for there, for a check that asks no bucket. */
export type TagLookup = (() => Promise<Store>) | "assumed";

/** Throws BundleError with everything that is wrong. Tags are read only where a workflow names one. */
export async function compile(
  bundle: Bundle,
  options: {
    readonly request: Request;
    readonly run: { readonly id: string; readonly name: string };
    readonly tags: TagLookup;
    readonly limits: Limits;
    readonly providers: readonly Provider[];
  },
): Promise<Compiled> {
  const { request, run, limits, providers } = options;
  const input = { files: bundle.texts, request, run, limits, providers };
  return compileBundle({ ...input, tags: await lookUp(options.tags, input) });
}

async function lookUp(tags: TagLookup, input: Parameters<typeof listTagReferences>[0]) {
  if (tags === "assumed") return anyTag;
  const references = listTagReferences(input);
  return references.length === 0 ? anyTag : readTags(await tags(), references);
}

const anyTag: Tags = {
  find: (workflow) => ({ run: "assumed", sets: [{ job: workflow, attempt: 1 }] }),
  list: () => [],
};
