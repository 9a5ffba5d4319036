/** `errand artifacts` for people: each job's artifacts as an indented tree. */
import type { JobArtifacts, ManifestEntry } from "./manifests.ts";
import type { Palette } from "./palette.ts";
import { renderTable } from "./render-table.ts";
import { formatBytes, formatCount, oneLine } from "./render-values.ts";

/** Trees above this are cut, because nobody reads them. `--json` has all. */
export const ENTRIES_SHOWN_MAX = 200;

export function renderArtifactTree(set: JobArtifacts, palette: Palette): string[] {
  const partial = set.complete ? "" : palette.warn(" partial");
  const rows = [...set.artifacts.flatMap((artifact) => treeRows(set, artifact)), ...strayRows(set)];
  const shown = rows.slice(0, ENTRIES_SHOWN_MAX);
  const hidden = rows.length - shown.length;
  return [
    `${palette.strong(set.job)}${partial}`,
    ...renderTable([{ title: "" }, { title: "", align: "right" }, { title: "" }], shown).map(
      (line) => `  ${line}`,
    ),
    ...(rows.length === 0 ? [palette.faint("  no artifacts")] : []),
    ...(hidden > 0 ? [palette.faint(`  and ${hidden} more; --json lists all`)] : []),
  ];
}

const isIn = (entry: string, artifact: string): boolean =>
  entry === artifact || entry.startsWith(`${artifact}/`);

/** What a glob matched lies in no folder that an artifact names: it stands alone, by its whole path. */
function strayRows(set: JobArtifacts): string[][] {
  return set.entries
    .filter((entry) => !set.artifacts.some((artifact) => isIn(entry.path, artifact.path)))
    .map((entry) => [nameOf(entry, entry.path), sizeOf(entry), ""]);
}

function treeRows(set: JobArtifacts, artifact: JobArtifacts["artifacts"][number]): string[][] {
  const sum = [formatBytes(artifact.bytes), formatCount(artifact.files, "file")];
  const entries = set.entries.filter((entry) => isIn(entry.path, artifact.path));
  if (entries.length === 0) return [[oneLine(artifact.path), ...sum]];
  const depth = artifact.path.split("/").length;
  return entries
    .toSorted((one, other) => (one.path < other.path ? -1 : 1))
    .map((entry) => {
      const parts = entry.path.split("/");
      if (entry.path === artifact.path)
        return [nameOf(entry, entry.path), ...rootCells(entry, sum)];
      const indent = "  ".repeat(parts.length - depth);
      return [indent + nameOf(entry, parts.at(-1) ?? ""), sizeOf(entry), ""];
    });
}

const rootCells = (entry: ManifestEntry, sum: readonly string[]): string[] =>
  entry.type === "directory" ? [...sum] : [sizeOf(entry), ""];

function nameOf(entry: ManifestEntry, name: string): string {
  if (entry.type === "directory") return `${oneLine(name)}/`;
  return entry.type === "link" ? `${oneLine(name)} -> ${oneLine(entry.target)}` : oneLine(name);
}

const sizeOf = (entry: ManifestEntry): string =>
  entry.type === "file" ? formatBytes(entry.size) : "";
