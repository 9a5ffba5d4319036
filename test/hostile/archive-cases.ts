/**
 * Archives that are right, and then changed: in their structure, where it is known whether they may still be taken, and in their
 * bytes, where anything but a wrong kind of error will do.
 */
import { gzipSync } from "node:zlib";
import type { Random } from "../simulation/random.ts";
import { makeTar, type TarEntry } from "../support/tar.ts";
import { makeZip, type ZipEntry } from "../support/zip.ts";
import { damage, pick } from "./pick.ts";

export type ArchiveCase = {
  readonly bytes: Buffer;
  /** What is to come of it; undefined where nobody can say. */
  readonly expected: "refused" | ReadonlyMap<string, string> | undefined;
};

/** What both kinds of archive can hold. */
type Item = {
  readonly name: string | Uint8Array;
  readonly body?: Uint8Array | string;
  readonly type?: "file" | "folder" | "link" | "device";
  readonly size?: number;
};

const WORKFLOWS =
  "workflows:\n  - {name: train, provider: curl, url: 'https://a.example/x', output: x}\n";
const BASE: readonly Item[] = [
  { name: "train.py", body: "print('hello')\n".repeat(20) },
  { name: ".dstack", type: "folder" },
  { name: ".dstack/workflows.yaml", body: WORKFLOWS },
  { name: ".dstack/variables.yaml", body: "variables: {}\n" },
];

const OUTSIDE: readonly [string, ...string[]] = [
  "../evil.yaml",
  "/etc/evil.yaml",
  "a/../../evil",
  ".dstack/../../evil.yaml",
  "..",
  "a/..",
];
const STRANGE: readonly [string | Uint8Array, ...(string | Uint8Array)[]] = [
  Buffer.from([0xff, 0xfe, 0x2f, 0x80]),
  "ü/ñ\n.txt",
  " ",
  "-rf",
  "a//b///c",
  "x".repeat(99),
  "con:.txt",
  "\u202egnp.exe",
  ".dstackk/workflows.yaml",
  ".dstack/providers/deep/x.yaml",
];

type Change = {
  readonly items: readonly Item[];
  readonly isRefused: boolean;
};

/** Something that must be refused, whatever else is in the archive. */
const bad = (items: readonly Item[], random: Random, item: Item): Change => ({
  items: insert(items, random, item),
  isRefused: true,
});

function insert(items: readonly Item[], random: Random, item: Item): readonly Item[] {
  return items.toSpliced(random.between(0, items.length), 0, item);
}

const CHANGES: readonly ((items: readonly Item[], random: Random) => Change)[] = [
  (items, random) => bad(items, random, { name: pick(random, OUTSIDE), body: "x" }),
  (items, random) => bad(items, random, { name: ".dstack/run.yaml", type: "link" }),
  (items, random) => bad(items, random, { name: ".dstack/providers", type: "device" }),
  (items, random) => bad(items, random, { name: "data", body: "x", size: 20e9 }),
  (items, random) =>
    bad(items, random, { name: ".dstack/run.yaml", body: Buffer.from([0xc3, 0x28]) }),
  (items) => ({
    items: items.filter(({ name }) => name !== ".dstack/workflows.yaml"),
    isRefused: true,
  }),
  (items, random) => ({
    items: insert(items, random, { name: pick(random, STRANGE), body: "x" }),
    isRefused: false,
  }),
  (items, random) => ({
    items: insert(items, random, { name: "latest", type: "link" }),
    isRefused: false,
  }),
  (items, random) => ({
    items: insert(items, random, { name: "zeros", body: Buffer.alloc(random.between(0, 30_000)) }),
    isRefused: false,
  }),
  (items) => ({ items: [...items, ...items], isRefused: false }),
];

const textsOf = (items: readonly Item[]): ReadonlyMap<string, string> =>
  new Map(
    items.flatMap(({ name, body = "", type = "file" }) =>
      type === "file" && typeof name === "string" && /^\.dstack\/[^/]+\.yaml$/.test(name)
        ? [[name, String(body)] as const]
        : [],
    ),
  );

function makeItems(random: Random): { items: readonly Item[]; isRefused: boolean } {
  let items = BASE;
  let isRefused = false;
  for (let left = random.between(0, 3); left > 0; left -= 1) {
    const change = pick(random, CHANGES)?.(items, random);
    if (!change) continue;
    items = change.items;
    // Without its workflows, an archive may get them back from a doubling only if they were there.
    isRefused ||= change.isRefused;
  }
  return { items, isRefused };
}

const TAR_TYPES = { file: "0", folder: "5", link: "2", device: "3" } as const;

export function makeTarCase(random: Random): ArchiveCase {
  const { items, isRefused } = makeItems(random);
  const entries = items.map(
    ({ type = "file", ...item }): TarEntry => ({
      ...item,
      type: TAR_TYPES[type],
      ...(type === "link" && { linkname: "elsewhere" }),
    }),
  );
  const expected = isRefused ? "refused" : textsOf(items);
  const tar = makeTar(entries);
  switch (random.between(0, 3)) {
    case 0:
      return { bytes: gzipSync(damage(tar, random), { level: 1 }), expected: undefined };
    case 1:
      return { bytes: damage(gzipSync(tar, { level: 1 }), random), expected: undefined };
    default:
      return { bytes: gzipSync(tar, { level: 1 }), expected };
  }
}

const ZIP_MODES = { file: 0o100644, folder: 0o40755, link: 0o120777, device: 0o20600 } as const;

export function makeZipCase(random: Random): ArchiveCase {
  const { items, isRefused } = makeItems(random);
  const entries = items.map(
    ({ type = "file", name, size, ...item }): ZipEntry => ({
      ...item,
      name: type === "folder" ? `${String(name)}/` : name,
      mode: ZIP_MODES[type],
      method: random.chance(0.5) ? 8 : 0,
      // Of a stored entry both sizes must agree.
      ...(size !== undefined && { size: 4_000_000_000 }),
    }),
  );
  // A zip of such a size is no bundle that may not be: 4 GB are below the limit, and only its ratio tells.
  const expected = isRefused ? "refused" : textsOf(items);
  const bytes = makeZip(entries);
  return random.chance(0.5)
    ? { bytes: damage(bytes, random), expected: undefined }
    : { bytes, expected };
}
