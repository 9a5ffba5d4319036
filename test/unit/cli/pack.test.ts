import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { describe, expect, it } from "vitest";
import { listBundleFiles } from "../../../src/cli/bundle-files.ts";
import { largestFiles, packBundle } from "../../../src/cli/pack.ts";
import { makeDirectory, type Tree } from "../../support/directory.ts";

/** Name, type, mode and content of every entry, in the archive's own order. */
async function readArchive(bundle: Uint8Array): Promise<string[]> {
  const archive = extract();
  Readable.from([gunzipSync(bundle)]).pipe(archive);
  const lines: string[] = [];
  for await (const entry of archive) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, linkname, mode } = entry.header;
    const rest =
      type === "symlink" ? ` -> ${linkname}` : ` ${JSON.stringify(String(Buffer.concat(chunks)))}`;
    lines.push(`${name} ${mode?.toString(8)}${type === "directory" ? "" : rest}`);
  }
  return lines;
}

async function pack(tree: Tree): Promise<string[]> {
  const directory = await makeDirectory(tree);
  const { entries } = await listBundleFiles(directory);
  return readArchive(await packBundle(directory, entries));
}

describe("a packed bundle", () => {
  it("has .dstack first and the rest in byte order", async () => {
    const lines = await pack({
      "a.py": "a",
      "Z.py": "z",
      ".dstack/workflows.yaml": "w",
      ".config": "c",
    });
    expect(lines.map((line) => line.split(" ")[0])).toEqual([
      ".dstack",
      ".dstack/workflows.yaml",
      ".config",
      "Z.py",
      "a.py",
    ]);
  });

  it("keeps modes, empty files, empty folders, links and odd names", async () => {
    const lines = await pack({
      "run.sh": { content: "#!/bin/sh\n", mode: 0o755 },
      empty: { content: "", mode: 0o600 },
      "hollow/": "",
      latest: { link: "run.sh" },
      "sp ace/-dash ünï\n.txt": { content: "odd", mode: 0o644 },
      [`${"long/".repeat(30)}name`]: { content: "deep", mode: 0o644 },
    });
    expect(lines).toContain('run.sh 755 "#!/bin/sh\\n"');
    expect(lines).toContain('empty 600 ""');
    expect(lines).toContain("hollow 755");
    expect(lines.some((line) => /^latest \d+ -> run.sh$/.test(line))).toBe(true);
    expect(lines).toContain('sp ace/-dash ünï\n.txt 644 "odd"');
    expect(lines).toContain(`${"long/".repeat(30)}name 644 "deep"`);
  });

  it("is the same, byte for byte, for the same files", async () => {
    const directory = await makeDirectory({ "a/b.txt": "b", "c.txt": "c".repeat(100_000) });
    const first = await packBundle(directory, (await listBundleFiles(directory)).entries);
    const second = await packBundle(directory, (await listBundleFiles(directory)).entries);
    expect(Buffer.compare(first, second)).toBe(0);
  });

  it("is refused, by name, when a file has shrunk since it was listed", async () => {
    const directory = await makeDirectory({ "log.txt": "12345" });
    const listed = {
      path: "log.txt",
      mode: 0o644,
      modifiedAt: 0,
      type: "file",
      bytes: 10,
    } as const;
    await expect(packBundle(directory, [listed])).rejects.toThrow(
      '"log.txt" changed while it was packed',
    );
  });

  it("has as much of a growing file as was listed", async () => {
    const directory = await makeDirectory({ "log.txt": "12345" });
    const listed = { path: "log.txt", mode: 0o644, modifiedAt: 0, type: "file", bytes: 3 } as const;
    expect(await readArchive(await packBundle(directory, [listed]))).toEqual(['log.txt 644 "123"']);
  });
});

describe("links", () => {
  it.each([
    ["up and out", "../outside"],
    ["by an absolute path", "/etc/passwd"],
    ["through a folder", "sub/../../outside"],
  ])("that lead %s are refused by name", async (_, link) => {
    const directory = await makeDirectory({ "sub/file": "x", "bad link": { link } });
    await expect(listBundleFiles(directory)).rejects.toThrow(
      `the link "bad link" points out of the bundle, to "${link}"`,
    );
  });

  it("that only seem to stay inside are refused", async () => {
    const directory = await makeDirectory({ here: { link: "." }, sly: { link: "here/../.." } });
    await expect(listBundleFiles(directory)).rejects.toThrow('the link "sly" points out');
  });

  it("to what does not exist are kept", async () => {
    const directory = await makeDirectory({ dangling: { link: "later.txt" } });
    const { entries } = await listBundleFiles(directory);
    expect(entries).toMatchObject([{ type: "link", target: "later.txt" }]);
  });

  it("that are ignored may lead anywhere", async () => {
    const directory = await makeDirectory({ venv: { link: "/usr" }, ".gitignore": "venv\n" });
    const { entries } = await listBundleFiles(directory);
    expect(entries.map((entry) => entry.path)).toEqual([".gitignore"]);
  });
});

describe("a large bundle", () => {
  const fileOf = (path: string, bytes: number) =>
    ({ path, bytes, type: "file", mode: 0o644, modifiedAt: 0 }) as const;

  it("has its ten largest files named, the largest first", () => {
    const files = Array.from({ length: 12 }, (_, at) => fileOf(`f${at}`, at * 10_000_000));
    expect(largestFiles(files).map((file) => file.path)).toEqual([
      "f11",
      "f10",
      "f9",
      "f8",
      "f7",
      "f6",
      "f5",
      "f4",
      "f3",
      "f2",
    ]);
  });

  it("begins above 100 MB", () => {
    expect(largestFiles([fileOf("f", 100_000_000)])).toEqual([]);
  });
});
