import { createHash } from "node:crypto";
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { downloadArtifacts } from "../../../src/cli/download.ts";
import type { JobArtifacts, ManifestEntry } from "../../../src/cli/manifests.ts";
import { key } from "../../../src/core/layout.ts";
import { makeDirectory } from "../../support/directory.ts";
import { makeStore } from "../../support/memory-store.ts";
import { RUN } from "../../support/views.ts";

const file = (name: string, content: string, changes: object = {}): ManifestEntry => ({
  type: "file",
  path: name,
  mode: 0o644,
  size: Buffer.byteLength(content),
  sha256: createHash("sha256").update(content).digest("hex"),
  ...changes,
});
const folder = (name: string, mode = 0o755): ManifestEntry => ({
  type: "directory",
  path: name,
  mode,
});
const link = (name: string, target: string): ManifestEntry => ({
  type: "link",
  path: name,
  target,
});

/** Downloads these entries; `contents` are the objects below `artifacts/`. */
async function download(
  into: string,
  entries: readonly ManifestEntry[],
  contents: Readonly<Record<string, string>> = {},
  complete = true,
) {
  const set: JobArtifacts = { job: "train", attempt: 1, complete, artifacts: [], entries };
  const prefix = key.artifacts(RUN, "train", 1);
  const objects = Object.entries(contents).map(([name, content]) => [prefix + name, content]);
  return downloadArtifacts(makeStore(Object.fromEntries(objects)), RUN, { set, folder: into });
}

describe("artifacts that are downloaded", () => {
  it("of a machine that ended while it uploaded a file anew come without that file, and it is named", async () => {
    const into = await makeDirectory();
    const entries = [folder("out"), file("out/a", "first"), file("out/b", "b")];
    const contents = { "out/a": "second", "out/b": "b" };
    const done = await download(into, entries, contents, false);
    expect(done).toEqual({ files: 1, bytes: 1, leftOut: [], changed: ["out/a"] });
    expect(await readdir(path.join(into, "out"))).toEqual(["b"]);
    await expect(download(into, entries, contents)).rejects.toThrow(/"out\/a" is not what its/);
  });

  it("are as they were: content, modes, links, empty folders and odd names", async () => {
    const root = await makeDirectory();
    const into = path.join(root, "new/place");
    const odd = "out/sp ace/-x\nü";
    const done = await download(
      into,
      [
        folder("out"),
        folder("out/hollow", 0o700),
        folder("out/sp ace"),
        file("out/run.sh", "#!/bin/sh\n", { mode: 0o755 }),
        file(odd, "odd", { key: "out/sp ace/-x%0Aü" }),
        file("out/empty", ""),
        link("out/latest", "run.sh"),
      ],
      { "out/run.sh": "#!/bin/sh\n", "out/sp ace/-x%0Aü": "odd", "out/empty": "" },
    );
    expect(done).toEqual({ files: 3, bytes: 13, leftOut: [], changed: [] });
    expect(await readFile(path.join(into, odd), "utf8")).toBe("odd");
    expect((await stat(path.join(into, "out/run.sh"))).mode & 0o777).toBe(0o755);
    expect((await stat(path.join(into, "out/hollow"))).mode & 0o777).toBe(0o700);
    expect(await readlink(path.join(into, "out/latest"))).toBe("run.sh");
    expect((await readdir(path.join(into, "out"))).sort()).toEqual([
      "empty",
      "hollow",
      "latest",
      "run.sh",
      "sp ace",
    ]);
  });

  it.skipIf(process.platform === "darwin")(
    "have names of any bytes, as links and folders have",
    async () => {
      const root = await makeDirectory();
      await download(
        root,
        [
          folder("out"),
          folder("out/\udcff"),
          file("out/\udcff/a\udc80b\u{1f600}", "odd", { key: "out/%FF/a%80b" }),
          link("out/link", "\udcff"),
        ],
        { "out/%FF/a%80b": "odd" },
      );
      const below = (...parts: readonly (string | Buffer)[]) =>
        Buffer.concat(parts.map((part) => Buffer.from(part)));
      const inside = below(root, "/out/", Buffer.from([0xff]));
      const name = below("a", Buffer.from([0x80]), "b\u{1f600}");
      expect(await readdir(inside, { encoding: "buffer" })).toEqual([name]);
      expect(await readFile(below(inside, "/", name), "utf8")).toBe("odd");
      expect(await readlink(path.join(root, "out/link"), { encoding: "buffer" })).toEqual(
        Buffer.from([0xff]),
      );
    },
  );

  it("fill a folder that may not be written to", async () => {
    const into = await makeDirectory();
    await download(into, [folder("out", 0o555), file("out/a", "a")], { "out/a": "a" });
    expect(await readFile(path.join(into, "out/a"), "utf8")).toBe("a");
    expect((await stat(path.join(into, "out"))).mode & 0o777).toBe(0o555);
  });

  it("replace what an earlier download brought", async () => {
    const into = await makeDirectory();
    await download(into, [file("a", "old"), link("l", "a")], { a: "old" });
    await download(into, [file("a", "new"), link("l", "b")], { a: "new" });
    expect(await readFile(path.join(into, "a"), "utf8")).toBe("new");
    expect(await readlink(path.join(into, "l"))).toBe("b");
  });
});

describe("a download that is not as its manifest says", () => {
  it.each([
    ["other bytes", "abd"],
    ["fewer bytes", "ab"],
    ["more bytes", "abcd"],
  ])("is refused and leaves nothing of the file: %s", async (_, content) => {
    const into = await makeDirectory();
    await expect(download(into, [file("a", "abc")], { a: content })).rejects.toThrow(
      '"a" is not what its manifest says',
    );
    expect(await readdir(into)).toEqual([]);
  });
});

describe("a manifest that wants to write elsewhere", () => {
  it.each(["../out", "/etc/x", "a/../../x", "a//b", "./a", "a/", "a\0b"])(
    "by the path %j is refused before anything is written",
    async (name) => {
      const root = await makeDirectory({ "in/": "" });
      const into = path.join(root, "in");
      await expect(
        download(into, [file("fine", "x"), file(name, "x")], { fine: "x", [name]: "x" }),
      ).rejects.toThrow("is no path inside an artifact");
      expect(await readdir(into)).toEqual([]);
    },
  );

  it.each([
    ["absolute", "/etc/passwd"],
    ["upwards", "../../secret"],
  ])("by a link that is %s does not get it", async (_, target) => {
    const into = await makeDirectory();
    const { leftOut } = await download(into, [folder("out"), link("out/l", target)]);
    expect(leftOut).toEqual([`out/l -> ${target}`]);
    expect(await readdir(path.join(into, "out"))).toEqual([]);
  });

  it("through a link of its own is refused", async () => {
    const root = await makeDirectory({ "in/": "", "elsewhere/": "" });
    await symlink("../elsewhere", path.join(root, "in/door"));
    await expect(
      download(path.join(root, "in"), [file("door/x", "x")], { "door/x": "x" }),
    ).rejects.toThrow("is there already and is no folder");
    expect(await readdir(path.join(root, "elsewhere"))).toEqual([]);
  });

  it("over a link that is there replaces the link, not what it points to", async () => {
    const root = await makeDirectory({ "in/": "", precious: "mine" });
    await symlink("../precious", path.join(root, "in/a"));
    await download(path.join(root, "in"), [file("a", "theirs")], { a: "theirs" });
    expect(await readFile(path.join(root, "precious"), "utf8")).toBe("mine");
    expect((await lstat(path.join(root, "in/a"))).isSymbolicLink()).toBe(false);
  });

  it("over a folder is refused", async () => {
    const root = await makeDirectory();
    await mkdir(path.join(root, "a"));
    await writeFile(path.join(root, "a/mine"), "mine");
    await expect(download(root, [file("a", "x")], { a: "x" })).rejects.toThrow(
      "is there already as a folder",
    );
  });
});
