import { describe, expect, it } from "vitest";
import { listBundleFiles } from "../../../src/cli/bundle-files.ts";
import { makeDirectory, type Tree } from "../../support/directory.ts";

/** Files alone, without the ignore files themselves. */
async function kept(tree: Tree): Promise<string[]> {
  const { entries } = await listBundleFiles(await makeDirectory(tree));
  return entries
    .filter((entry) => entry.type === "file" && !/ignore$/.test(entry.path))
    .map((entry) => entry.path);
}

describe("what stays out of a bundle", () => {
  it("is .git and .errand, wherever they are", async () => {
    const tree = { ".git/config": "", "sub/.git/config": "", ".errand/secret": "", "a.py": "" };
    expect(await kept(tree)).toEqual(["a.py"]);
  });

  it("is what .gitignore and .dstackignore name", async () => {
    const tree = {
      ".gitignore": "*.log\n/build/\n",
      ".dstackignore": "data/\n",
      "x.log": "",
      "sub/y.log": "",
      "build/out": "",
      "sub/build/out": "",
      "data/big": "",
      "a.py": "",
    };
    expect(await kept(tree)).toEqual(["a.py", "sub/build/out"]);
  });

  it("follows nested files: a deeper one overrules a higher one", async () => {
    const tree = {
      ".gitignore": "*.csv\n",
      "a.csv": "",
      "keep/.gitignore": "!small.csv\n",
      "keep/small.csv": "",
      "keep/large.csv": "",
    };
    expect(await kept(tree)).toEqual(["keep/small.csv"]);
  });

  it("takes paths of a nested file from its own folder", async () => {
    const tree = { "sub/.gitignore": "/out\n", "sub/out/x": "", "out/x": "", "sub/deep/out/x": "" };
    expect(await kept(tree)).toEqual(["out/x", "sub/deep/out/x"]);
  });

  it("stays out below a folder that is ignored, as in git", async () => {
    expect(await kept({ ".gitignore": "out/\n!out/keep\n", "out/keep": "" })).toEqual([]);
  });

  it("is brought back by the .dstackignore beside a .gitignore", async () => {
    const tree = {
      ".gitignore": "*.bin\n",
      ".dstackignore": "!model.bin\n",
      "model.bin": "",
      "x.bin": "",
    };
    expect(await kept(tree)).toEqual(["model.bin"]);
  });

  it("tells names apart by case", async () => {
    expect(await kept({ ".gitignore": "data\n", DATA: "" })).toEqual(["DATA"]);
  });

  it("is never .dstack, even where git ignores it", async () => {
    const tree = { ".gitignore": ".*\n*.yaml\n", ".dstack/workflows.yaml": "" };
    expect(await kept(tree)).toEqual([".dstack/workflows.yaml"]);
  });
});
