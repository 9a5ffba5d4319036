/** Paths that must stay where they belong, in one spelling, and artifacts. */
import { quote } from "./problem.ts";
import { type Reader, reject, type Wanted } from "./read.ts";
import type { Scalar, Value } from "./value.ts";

/** A path below the folder it is relative to: no leading slash, no `..`. Returned without `./`, doubled or trailing slashes. */
export const innerPath = (of: {
  /** As in "must be a path relative to the working directory". */
  readonly root: string;
  /** "." is the root itself. */
  readonly allowsRoot: boolean;
}): Reader<string> => ({
  schema: { type: "string", minLength: 1, pattern: "^(?!/|~/)(?!(.*/)?\\.\\.(/|$))" },
  read: (value, report) => {
    const wanted = { what: `a path relative to ${of.root}`, hint: "put the path in quotes" };
    if (!isText(value)) return reject(value, wanted, report);
    const wrong = faultOf(value.value);
    if (wrong) {
      return report(value.place, `${quote(value.value)} ${wrong}`, `name a path inside ${of.root}`);
    }
    const path = normalised(value.value);
    if (path !== "." || of.allowsRoot) return path;
    return report(
      value.place,
      `${quote(value.value)} is ${of.root} itself`,
      "name a file or a folder in it",
    );
  },
});

const isText = (value: Value): value is Scalar & { readonly value: string } =>
  value.type === "scalar" && typeof value.value === "string";

function faultOf(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.includes("\0")) return "holds a NUL character";
  if (path.startsWith("/")) return "is absolute";
  if (path.startsWith("~/")) return "begins in a home directory, which nobody expands";
  return path.split("/").includes("..") ? 'leads out of its folder by ".."' : undefined;
}

function normalised(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return parts.length === 0 ? "." : parts.join("/");
}

const WANTED_ARTIFACTS: Wanted = {
  what: "a list of files and folders",
  hint: "write one a line, each after a dash, as in - data",
};

const artifactPath = innerPath({ root: "the working directory", allowsRoot: false });

/** Files, folders and globs; one that is listed twice is a problem. */
export const artifacts: Reader<readonly string[]> = {
  schema: { type: "array", items: artifactPath.schema },
  read: (value, report) => {
    if (value.type !== "list") return reject(value, WANTED_ARTIFACTS, report);
    const paths = new Set<string>();
    for (const item of value.items) {
      const path = artifactPath.read(item, report);
      if (path === undefined) continue;
      if (paths.has(path)) report(item.place, `${quote(path)} is listed twice`, "keep one");
      paths.add(path);
    }
    return paths.size === value.items.length ? [...paths] : undefined;
  },
};

/**
 * Whether a file is an artifact, or lies in one. A glob counts when the path begins as it does up to
 * its first wildcard: enough for a warning, which should rather be missing than wrong.
 */
export function mayBeCovered(path: string, artifactPaths: readonly string[]): boolean {
  return artifactPaths.some((artifact) => {
    const wildcard = artifact.search(/[*?[]/);
    if (wildcard >= 0) return path.startsWith(artifact.slice(0, wildcard));
    return path === artifact || path.startsWith(`${artifact}/`);
  });
}
