/** What the key of a drop says: `drops/<workflow>/<name>.tar.gz`, `drops/<name>.zip`. */
import { prefix } from "../core/layout.ts";

export type DropName = {
  /** The folder below `drops/`, if there is one. */
  readonly workflow: string | undefined;
  /** Without its extension. */
  readonly name: string;
  readonly isZip: boolean;
  /** Why nothing can be made of it, with the cure; undefined when all is well. */
  readonly problem: string | undefined;
};

export function parseDropKey(dropKey: string): DropName {
  const parts = dropKey.slice(prefix.drops.length).split("/");
  const file = parts.at(-1) ?? "";
  const match = /^(?<name>.+?)\.(?<extension>tar\.gz|tgz|zip)$/i.exec(file);
  const isZip = match?.groups?.extension?.toLowerCase() === "zip";
  const name = match?.groups?.name ?? file;
  const workflow = parts.length > 1 ? parts.slice(0, -1).join("/") : undefined;
  return { workflow, name, isZip, problem: problemOf(dropKey, parts, match !== null) };
}

function problemOf(
  dropKey: string,
  parts: readonly string[],
  isArchive: boolean,
): string | undefined {
  if (!isArchive) {
    return `${dropKey} is not a bundle; pack the project's directory as .tar.gz, .tgz or .zip`;
  }
  if (parts.length > 2) {
    return `${dropKey} lies too deep; put it at ${prefix.drops}<name> or ${prefix.drops}<workflow>/<name>`;
  }
  return undefined;
}
