/** Drops with keys, metadata and bodies of any kind. */
import type { Random } from "../simulation/random.ts";
import { makeTarCase, makeZipCase } from "./archive-cases.ts";
import { pick } from "./pick.ts";

export type DropCase = {
  readonly key: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
};

const FOLDERS: readonly [string, ...string[]] = [
  "",
  "train/",
  "a/b/",
  "../",
  "./",
  "/",
  "%2e%2e/",
  "ü\n/",
  "__proto__/",
  `${"x".repeat(800)}/`,
];
const NAMES: readonly [string, ...string[]] = [
  "mine",
  "20261123-211530-abcdef",
  "99999999-999999-aaaaaa",
  "..",
  "",
  " ",
  "a b+c%20d",
  "\u0001\u007f",
  "\u{1f600}",
  "ü".repeat(400),
  "x".repeat(1_000),
];
const EXTENSIONS: readonly [string, ...string[]] = [
  ".tar.gz",
  ".tgz",
  ".zip",
  ".ZIP",
  ".txt",
  "",
  "/",
];
const KEY_BYTES_MAX = 1_024;
const VALUES: readonly [string, ...string[]] = [
  "train",
  "train,nothing",
  ",,,",
  "latest",
  "",
  "../x",
  "__proto__",
  "1e9",
  Buffer.from('{"workflows":["train"]}').toString("base64"),
  Buffer.from('{"variables":{"__proto__":"1"}}').toString("base64"),
  Buffer.from('{"workflows":[1]}').toString("base64"),
  "%%%",
  "bnVsbA==",
];
const FIELDS: readonly [string, ...string[]] = [
  "workflow",
  "tag",
  "errand-request",
  "var-name",
  "var-",
  "var-__proto__",
  "other",
];

export function makeDropCase(random: Random): DropCase {
  const isZip = random.chance(0.3);
  const { bytes } = isZip ? makeZipCase(random) : makeTarCase(random);
  const body = random.chance(0.05) ? new Uint8Array() : bytes;
  if (random.chance(0.5)) return { key: `drops/mine.${isZip ? "zip" : "tgz"}`, metadata: {}, body };
  const name = `drops/${pick(random, FOLDERS)}${pick(random, NAMES)}${pick(random, EXTENSIONS)}`;
  const count = random.between(0, 3);
  const fields = Array.from(
    { length: count },
    () => [pick(random, FIELDS), pick(random, VALUES)] as const,
  );
  return { key: fitting(name), metadata: Object.fromEntries(fields), body };
}

/** As much of a key as S3 takes. */
function fitting(key: string): string {
  let cut = key;
  while (Buffer.byteLength(cut) > KEY_BYTES_MAX) cut = cut.slice(0, -1);
  return cut;
}
