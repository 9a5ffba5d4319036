/**
 * What stays out of a bundle: `.git`, `.errand`, and what `.gitignore` and `.dstackignore` say, in the root and in
 * every folder below. As in git, a deeper file overrules a higher one, and nothing comes back from
 * under a folder that is left out. `.dstackignore` overrules the `.gitignore` beside it.
 */
import ignore, { type Ignore } from "ignore";

export const IGNORE_FILES = [".gitignore", ".dstackignore"] as const;

export type IgnoreRules = {
  /** `path` is relative to the root, with slashes; a folder's is without one at its end. */
  readonly isIgnored: (path: string, isFolder: boolean) => boolean;
  /** The rules that hold below `folder` ("" for the root), whose ignore files say this. */
  readonly enter: (folder: string, contents: readonly string[]) => IgnoreRules;
};

type Level = { readonly folder: string; readonly rules: Ignore };

export const noRules: IgnoreRules = createRules([]);

function createRules(levels: readonly Level[]): IgnoreRules {
  return {
    isIgnored: (path, isFolder) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      // `.errand` is where a local cloud keeps its state and its secret.
      if (name === ".git" || name === ".errand") return true;
      // What to run must come along, whatever git thinks of it.
      if (path === ".dstack" || path.startsWith(".dstack/")) return false;
      return levels.reduce((isOut, { folder, rules }) => {
        const relative = folder === "" ? path : path.slice(folder.length + 1);
        const result = rules.test(isFolder ? `${relative}/` : relative);
        return result.ignored || (isOut && !result.unignored);
      }, false);
    },
    enter: (folder, contents) => {
      if (contents.length === 0) return createRules(levels);
      const rules = ignore({ ignorecase: false });
      for (const content of contents) rules.add(content);
      return createRules([...levels, { folder, rules }]);
    },
  };
}
