/**
 * What an instance runs at its boot. The whole script is kept in the bucket by its sha256; user-data carries a header and the
 * script's first part, which is small, constant and enough to fetch the rest (docs/decisions).
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { UserError } from "../errors.ts";

/** EC2 takes 16 KB, before base64. */
export const USER_DATA_BYTES_MAX = 15 * 1024;

/** Stands between what travels in user-data and the runner; boot.py splits at the same line. */
const MARK = "\n:RUNNER\n";

export type UserDataHeader = {
  readonly bucket: string;
  readonly region: string;
  /** Empty on AWS: the endpoint follows from the region. */
  readonly endpoint: string;
  readonly token: string;
};

/** Bash reads these lines, so they hold nothing that it would do more with than assign. */
const ALLOWED: Readonly<Record<keyof UserDataHeader, RegExp>> = {
  bucket: /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
  region: /^[a-z]{2}(-[a-z]+)+-\d{1,2}$/,
  endpoint: /^(https?:\/\/(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?)?$/,
  token: /^[A-Za-z0-9_-]{1,64}$/,
};

/**
 * The user-data of a launch, as text. `script` is the whole that `bootstrapScript` made, now or when the launch was frozen.
 * Throws UserError when a value has characters that do not belong there.
 */
export function renderUserData(header: UserDataHeader, script: string): string {
  const end = script.indexOf(MARK);
  if (end < 0) throw new Error("this is no script that bootstrapScript() made");
  const lines = [
    "#!/bin/bash",
    `ERRAND_BUCKET=${checked(header, "bucket")}`,
    `ERRAND_REGION=${checked(header, "region")}`,
    `ERRAND_ENDPOINT=${checked(header, "endpoint")}`,
    `ERRAND_TOKEN=${checked(header, "token")}`,
    `ERRAND_SCRIPT=${sha256(script)}`,
  ];
  const text = `${lines.join("\n")}\n${script.slice(0, end)}\n`;
  const bytes = Buffer.byteLength(text);
  if (bytes >= USER_DATA_BYTES_MAX) throw new Error(`the user-data has ${bytes} bytes`);
  return text;
}

function checked(header: UserDataHeader, name: keyof UserDataHeader): string {
  const value = header[name];
  if (ALLOWED[name].test(value)) return value;
  throw new UserError(
    `rendering user-data: ${name} ${JSON.stringify(value)} has characters that do not belong there`,
    `It must match ${ALLOWED[name].source}`,
  );
}

/** The constant script and its sha256 in hex: the bash part with boot.py in it, and the runner below the mark. */
export function bootstrapScript(): { readonly script: string; readonly sha256: string } {
  const head = readSource("bootstrap.sh")
    .replace(/^ *#.*\n/gm, "")
    .replace("@PAYLOAD@", () => pack(readSource("boot.py")));
  const script = `${head.trimEnd()}${MARK}${pack(readSource("runner.py"))}\n`;
  return { script, sha256: sha256(script) };
}

const readSource = (name: string): string =>
  readFileSync(new URL(`../runner/${name}`, import.meta.url), "utf8");

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Full-line comments become empty lines, so that a traceback still names the line of the source. */
const pack = (python: string): string =>
  base85(deflateSync(python.replace(/^ *#.*$/gm, ""), { level: 9 }));

const DIGITS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/** As Python's base64.b85decode reads it: five digits for four bytes, the last group cut short. */
export function base85(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const group = bytes.subarray(at, at + 4);
    let value = [0, 1, 2, 3].reduce((sum, index) => sum * 256 + (group[index] ?? 0), 0);
    let digits = "";
    for (let place = 0; place < 5; place++) {
      digits = DIGITS.charAt(value % 85) + digits;
      value = Math.floor(value / 85);
    }
    text += digits.slice(0, group.length + 1);
  }
  return text;
}
