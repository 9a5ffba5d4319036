/** Directories for tests, gone when the test is over. */
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";

/** Content of a file, or a link to somewhere, or a mode besides; a path that ends with a slash is a folder. */
export type Tree = Readonly<Record<string, string | { readonly link: string } | TreeFile>>;
export type TreeFile = { readonly content: string; readonly mode: number };

export async function makeDirectory(tree: Tree = {}): Promise<string> {
  const root = await mkdtemp(path.join(tmpdir(), "errand-test-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(tree)) {
    const place = path.join(root, name);
    await mkdir(name.endsWith("/") ? place : path.dirname(place), { recursive: true });
    if (name.endsWith("/")) continue;
    if (typeof content === "string") await writeFile(place, content);
    else if ("link" in content) await symlink(content.link, place);
    else {
      await writeFile(place, content.content);
      await chmod(place, content.mode);
    }
  }
  return root;
}
