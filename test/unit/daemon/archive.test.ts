/** `.dstack/` out of archives: those that users make, with their own tools, and those that someone made to do harm. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ArchiveLimits,
  readTarDotDstack,
  readZipDotDstack,
} from "../../../src/daemon/archive.ts";
import { CloudError, UserError } from "../../../src/errors.ts";
import { zipFolder } from "../../support/archives.ts";
import { makeTgz } from "../../support/tar.ts";

const WORKFLOWS = "workflows:\n  - name: train\n";
let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "archive-"));
});
afterAll(() => rmSync(root, { recursive: true }));

type Header = { name: string; type?: "symlink" | "link" | "file"; linkname?: string };

/** A gzipped tar with exactly these entries, however odd. */
async function makeTar(entries: readonly (readonly [Header | string, string | Buffer])[]) {
  const archive = pack();
  for (const [header, body] of entries) {
    const named = typeof header === "string" ? { name: header } : header;
    archive.entry(named, body);
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return gzipSync(Buffer.concat(chunks));
}

/** Folders with these files, in a directory of their own. */
function makeFolder(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync(join(root, "folder-"));
  for (const [name, body] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), body);
  }
  return folder;
}

async function* inChunks(bytes: Uint8Array, size = 1_000) {
  for (let start = 0; start < bytes.length; start += size)
    yield bytes.subarray(start, start + size);
}

const { signal } = new AbortController();

const readTar = (bytes: Uint8Array, limits: Partial<ArchiveLimits> = {}) =>
  readTarDotDstack(inChunks(bytes), { signal, limits });

const readZip = (bytes: Uint8Array, limits: Partial<ArchiveLimits> = {}) =>
  readZipDotDstack(
    {
      bytes: bytes.length,
      read: async (start, end) => inChunks(bytes.subarray(start, end + 1)),
    },
    { signal, limits },
  );

async function refusal(reading: Promise<unknown>): Promise<string> {
  const error = await reading.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UserError)) throw new Error(`not a UserError: ${String(error)}`);
  return `${error.message}. ${error.hint}`;
}

const BUNDLE = {
  ".dstack/workflows.yaml": WORKFLOWS,
  ".dstack/variables.yaml": "variables: {}\n",
  ".dstack/providers/grid.yaml": "jobs: []\n",
  ".dstack/notes/deep.yaml": "not: read\n",
  ".dstack/logo.png": Buffer.from([0xff, 0xfe, 0x00]),
  ".dstack/._workflows.yaml": Buffer.from([0x00, 0x05, 0x16, 0x07]),
  "train.py": "print(1)\n",
  "data/large.bin": Buffer.alloc(3_000_000, 7),
};
const KEPT = [".dstack/providers/grid.yaml", ".dstack/variables.yaml", ".dstack/workflows.yaml"];

describe("reading .dstack from a bundle", () => {
  test("keeps the YAML files that are read from a tar made with tar czf, and nothing else", async () => {
    const folder = makeFolder(BUNDLE);
    execFileSync("tar", ["czf", "bundle.tgz", "-C", folder, "."], { cwd: root });
    const files = await readTar(readFileSync(join(root, "bundle.tgz")));
    expect([...files.keys()].sort()).toEqual(KEPT);
    expect(files.get(".dstack/workflows.yaml")).toBe(WORKFLOWS);
  });

  test.each([
    ["deflated", "ZIP_DEFLATED"],
    ["stored", "ZIP_STORED"],
  ] as const)("keeps the same from a zip, %s", async (_, method) => {
    const files = await readZip(zipFolder(makeFolder(BUNDLE), method));
    expect([...files.keys()].sort()).toEqual(KEPT);
    expect(files.get(".dstack/workflows.yaml")).toBe(WORKFLOWS);
  });

  test("reads an empty file, and takes a byte order mark away", async () => {
    const body = { ".dstack/workflows.yaml": `\uFEFF${WORKFLOWS}`, ".dstack/variables.yaml": "" };
    const expected = new Map(Object.entries({ ...body, ".dstack/workflows.yaml": WORKFLOWS }));
    expect(await readTar(await makeTar(Object.entries(body)))).toEqual(expected);
    expect(new Map([...(await readZip(zipFolder(makeFolder(body))))].sort().reverse())).toEqual(
      expected,
    );
  });

  test("takes the last of two files of one name, as tar does", async () => {
    const bytes = await makeTar([
      [".dstack/workflows.yaml", "first"],
      ["./.dstack//workflows.yaml", "second"],
    ]);
    expect(await readTar(bytes)).toEqual(new Map([[".dstack/workflows.yaml", "second"]]));
  });

  test("reads a name of over a hundred characters beside it", async () => {
    const bytes = await makeTar([
      [`${"long/".repeat(60)}ü.txt`, "x"],
      [".dstack/workflows.yml", WORKFLOWS],
    ]);
    expect([...(await readTar(bytes)).keys()]).toEqual([".dstack/workflows.yml"]);
  });
});

describe("refusing a bundle", () => {
  test("names the cure where .dstack stands one folder down", async () => {
    const folder = makeFolder({ "myproject/.dstack/workflows.yaml": WORKFLOWS });
    execFileSync("tar", ["czf", "nested.tgz", "-C", folder, "myproject"], { cwd: root });
    const told =
      '.dstack stands in the folder "myproject" of the bundle, not at its root. Pack what is in the folder and not the folder: tar czf bundle.tgz -C "myproject" .';
    expect(await refusal(readTar(readFileSync(join(root, "nested.tgz"))))).toBe(told);
    expect(await refusal(readZip(zipFolder(folder)))).toBe(told);
  });

  test("says that there are no workflows", async () => {
    const told =
      /^the bundle has no \.dstack\/workflows\.yaml\. Pack the folder that holds \.dstack/;
    expect(await refusal(readTar(await makeTar([["train.py", ""]])))).toMatch(told);
    expect(await refusal(readZip(zipFolder(makeFolder({ "train.py": "" }))))).toMatch(told);
  });

  test("says that it is empty", async () => {
    expect(await refusal(readTar(await makeTar([])))).toMatch(/^the bundle is empty\. /);
  });

  test.each([
    ["no bytes", Buffer.alloc(0)],
    ["text", Buffer.from("workflows: []\n")],
    ["zeros", Buffer.alloc(2_048)],
    ["gzipped text", gzipSync("workflows: []\n".repeat(100))],
  ])("says that %s is no tar.gz", async (_, bytes) => {
    expect(await refusal(readTar(bytes))).toMatch(
      /^the bundle (is not an archive of its kind|is empty|is cut off)/,
    );
  });

  test.each([
    ["no bytes", Buffer.alloc(0)],
    ["text", Buffer.from("workflows: []\n".repeat(10))],
  ])("says that %s is no zip", async (_, bytes) => {
    expect(await refusal(readZip(bytes))).toMatch(
      /^the bundle is not an archive of its kind\. Send a/,
    );
  });

  test("says of every cut-off tar and zip that it is no whole archive", async () => {
    const noise = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7_919) % 251));
    const tar = await makeTar([
      [".dstack/workflows.yaml", WORKFLOWS],
      ["data", noise],
    ]);
    const zipped = zipFolder(makeFolder({ ".dstack/workflows.yaml": WORKFLOWS, data: noise }));
    for (const share of [0.05, 0.3, 0.6, 0.9, 0.99]) {
      const told = /^the bundle is (cut off or damaged|not an archive of its kind)\. /;
      expect(await refusal(readTar(tar.subarray(0, Math.floor(tar.length * share))))).toMatch(told);
      expect(await refusal(readZip(zipped.subarray(0, Math.floor(zipped.length * share))))).toMatch(
        told,
      );
    }
  });

  test.each(["../evil.yaml", "/etc/evil.yaml", "a/../../evil.yaml", ".dstack/../../evil.yaml"])(
    "refuses the path %s",
    async (name) => {
      const bytes = await makeTar([
        [name, "x"],
        [".dstack/workflows.yaml", WORKFLOWS],
      ]);
      expect(await refusal(readTar(bytes))).toMatch(/a path that leads out of it\./);
    },
  );

  test("refuses a zip's path that leads out of it", async () => {
    const bytes = zipFolder(
      makeFolder({ ".dstack/workflows.yaml": WORKFLOWS, "xx/evil.yaml": "x" }),
    );
    const hostile = Buffer.from(
      bytes.toString("latin1").replaceAll("xx/evil", "../evil"),
      "latin1",
    );
    expect(await refusal(readZip(hostile))).toMatch(
      /^the bundle holds "\.\.\/evil\.yaml", a path that leads out of it/,
    );
  });

  test.each([
    ["a symlink", { name: ".dstack/workflows.yaml", type: "symlink", linkname: "/etc/passwd" }],
    ["a hard link", { name: ".dstack/workflows.yaml", type: "link", linkname: "other" }],
    ["a link for the folder", { name: ".dstack", type: "symlink", linkname: "elsewhere" }],
  ] as const)("refuses %s in .dstack", async (_, header) => {
    expect(await refusal(readTar(await makeTar([[header, ""]])))).toMatch(
      /is a link or a special file/,
    );
  });

  test("refuses a symlink in .dstack of a zip", async () => {
    const folder = makeFolder({ ".dstack/variables.yaml": "variables: {}\n" });
    symlinkSync("/etc/passwd", join(folder, ".dstack/workflows.yaml"));
    expect(await refusal(readZip(zipFolder(folder)))).toMatch(/is a link or a special file/);
  });

  test("admits symlinks outside .dstack", async () => {
    const bytes = await makeTar([
      [{ name: "latest", type: "symlink", linkname: "data" }, ""],
      [".dstack/workflows.yaml", WORKFLOWS],
    ]);
    expect((await readTar(bytes)).size).toBe(1);
  });

  test("refuses text that is not UTF-8, by name", async () => {
    const bytes = await makeTar([[".dstack/workflows.yaml", Buffer.from([0xc3, 0x28])]]);
    expect(await refusal(readTar(bytes))).toBe(
      '".dstack/workflows.yaml" is not UTF-8 text. Save it as UTF-8.',
    );
  });

  test("refuses an encrypted zip", async () => {
    const bytes = zipFolder(makeFolder({ ".dstack/workflows.yaml": WORKFLOWS }));
    // The first of the flags that stand before the compression method, of each deflated entry in the directory.
    for (let at = 0; at < bytes.length - 12; at += 1) {
      const isEntry = bytes.readUInt32LE(at) === 0x02014b50;
      if (isEntry && bytes.readUInt16LE(at + 10) === 8) bytes[at + 8] = 1;
    }
    expect(await refusal(readZip(bytes))).toMatch(/is encrypted or compressed in a way/);
  });

  const small = {
    ".dstack/workflows.yaml": "x".repeat(2_000),
    "a.py": "",
    "b.py": "",
    ".dstack/z.yaml": "",
  };
  test.each<[string, Partial<ArchiveLimits>, RegExp]>([
    ["much YAML", { textBytesMax: 1_999 }, /of \.dstack are larger than 1999 bytes together/],
    ["many entries", { entriesMax: 3 }, /more than 3 files/],
    ["many YAML files", { filesMax: 1 }, /\.dstack holds more than 1 YAML files/],
    ["much to unpack", { expandedBytesMax: 1_500 }, /is larger than \S+ GB when unpacked/],
  ])("stops at %s, in a tar and in a zip", async (_, limits, told) => {
    expect(await refusal(readTar(await makeTar(Object.entries(small)), limits))).toMatch(told);
    expect(await refusal(readZip(zipFolder(makeFolder(small)), limits))).toMatch(told);
  });

  test("reads a gigabyte of zeros without keeping it", async () => {
    const block = gzipSync(Buffer.alloc(10_000_000));
    async function* bomb() {
      for (let count = 0; count < 100; count += 1) yield block;
    }
    const reading = readTarDotDstack(bomb(), { signal, limits: { expandedBytesMax: 200_000_000 } });
    expect(await refusal(reading)).toMatch(/holds more than a megabyte of headers or padding/);
  });

  test("refuses what becomes a hundred times its size, once that is much", async () => {
    const files: [string, string][] = [
      [".dstack/workflows.yaml", WORKFLOWS],
      ["zeros", "\0".repeat(3_000_000)],
    ];
    const told = /^the bundle becomes more than 100 times its size when unpacked/;
    const limits = { bombBytes: 2_000_000 };
    expect(await refusal(readTar(await makeTar(files), limits))).toMatch(told);
    expect(
      await refusal(readZip(zipFolder(makeFolder(Object.fromEntries(files))), limits)),
    ).toMatch(told);
    expect((await readTar(await makeTar(files))).size).toBe(1);
  });

  test("refuses an entry that says it has 20 GB without waiting for them", async () => {
    const told = /^the bundle is larger than 10 GB when unpacked/;
    expect(await refusal(readTar(makeTgz([{ name: "data", size: 20e9 }])))).toMatch(told);
  });

  test("refuses headers that are larger than any file needs", async () => {
    const attributes = {
      name: "pax",
      type: "x",
      body: "27 SCHILY.xattr.user.a=bcd\n".repeat(40_000),
    };
    const bytes = makeTgz([attributes, attributes, { name: "a" }]);
    expect(await refusal(readTar(bytes))).toMatch(
      /^the bundle holds more than a megabyte of headers/,
    );
  });

  test("counts YAML that stands there twice once", async () => {
    const text = "a".repeat(700);
    const bytes = await makeTar([
      [".dstack/workflows.yaml", text],
      [".dstack/workflows.yaml", text],
    ]);
    expect((await readTar(bytes, { textBytesMax: 1_000 })).size).toBe(1);
  });
});

describe("reading a long archive", () => {
  const files = { ".dstack/workflows.yaml": WORKFLOWS, a: "", b: "", c: "x".repeat(5_000) };

  test.each<[string, Partial<ArchiveLimits>, number]>([
    ["of many bytes", { longBytes: 4_000 }, 1],
    ["of many entries", { longEntries: 2 }, 1],
    ["that is not long", {}, 0],
  ])("goes aside once for one %s", async (_, limits, times) => {
    let aside = 0;
    const goAside = async () => {
      aside += 1;
    };
    const options = { signal, limits, goAside };
    await readTarDotDstack(inChunks(await makeTar(Object.entries(files))), options);
    expect(aside).toBe(times);
    const zipped = zipFolder(makeFolder(files));
    const read = async (start: number, end: number) => inChunks(zipped.subarray(start, end + 1));
    await readZipDotDstack({ bytes: zipped.length, read }, options);
    expect(aside).toBe(2 * times);
  });

  test("asks for the directory of a zip in few ranges", async () => {
    const many = Array.from({ length: 2_000 }, (_, index) => [`file-${index}`, ""]);
    const zipped = zipFolder(
      makeFolder({ ...Object.fromEntries(many), ".dstack/workflows.yaml": WORKFLOWS }),
    );
    let reads = 0;
    const read = async (start: number, end: number) => {
      reads += 1;
      return inChunks(zipped.subarray(start, end + 1));
    };
    expect((await readZipDotDstack({ bytes: zipped.length, read }, { signal })).size).toBe(1);
    // The directory, and the one file that is kept.
    expect(reads).toBe(2);
  });
});

describe("errors that are not the bundle's", () => {
  const lost = new CloudError("unavailable", "the connection was lost");

  test("a store that fails in the middle of a tar is told as itself", async () => {
    const bytes = await makeTar([[".dstack/workflows.yaml", WORKFLOWS]]);
    async function* breaking() {
      yield bytes.subarray(0, 20);
      throw lost;
    }
    await expect(readTarDotDstack(breaking(), { signal })).rejects.toBe(lost);
  });

  test("a store that fails under a zip is told as itself", async () => {
    const read = () => Promise.reject(lost);
    await expect(readZipDotDstack({ bytes: 1_000, read }, { signal })).rejects.toBe(lost);
  });

  test("an abort ends the reading of a tar that never ends", async () => {
    const controller = new AbortController();
    async function* endless() {
      yield (await makeTar([[".dstack/workflows.yaml", WORKFLOWS]])).subarray(0, 50);
      controller.abort(new Error("given up"));
      await new Promise(() => {});
    }
    await expect(readTarDotDstack(endless(), { signal: controller.signal })).rejects.toThrow(
      "given up",
    );
  });

  test("an abort ends the reading of a zip that never answers", async () => {
    const controller = new AbortController();
    const read = (): Promise<AsyncIterable<Uint8Array>> => {
      controller.abort(new Error("given up"));
      return new Promise(() => {});
    };
    const reading = readZipDotDstack({ bytes: 1_000, read }, { signal: controller.signal });
    await expect(reading).rejects.toThrow("given up");
  });
});
