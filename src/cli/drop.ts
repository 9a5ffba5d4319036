/** A bundle on its way in: where it is put, and what it says of itself. */
import { randomBytes } from "node:crypto";
import { prefix, runId } from "../core/layout.ts";
import { UserError } from "../errors.ts";
import type { Request } from "../workflow/request.ts";

/** `now` in milliseconds. Six characters of chance: two users of one second hardly meet. */
export function chooseRunId(now: number): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const suffix = Array.from(randomBytes(6), (byte) => alphabet[byte % 32]).join("");
  return runId(new Date(now).toISOString(), suffix);
}

/** One workflow stands in the key, so that whoever lists drops sees it. */
export function dropKey(run: string, { workflows }: Request): string {
  const [only] = workflows;
  const folder = only !== undefined && workflows.length === 1 ? `${only}/` : "";
  return `${prefix.drops}${folder}${run}.tar.gz`;
}

/** S3 takes 2 KB of metadata, names included. */
const REQUEST_BYTES_MAX = 2_000;

/** The request as metadata, in the one form that can carry any text. Throws UserError when it is too long. */
export function dropMetadata(request: Request): Record<string, string> {
  const { workflows, variables, tag } = request;
  const isPlain = workflows.length <= 1 && Object.keys(variables).length === 0;
  if (isPlain && tag === undefined) return {};
  const text = Buffer.from(JSON.stringify(request)).toString("base64");
  if (text.length > REQUEST_BYTES_MAX) {
    throw new UserError(
      "the values given on the command line are too long to send with a bundle: about 1.4 KB fit",
      "Put them into .dstack/variables.yaml.",
    );
  }
  return { "errand-request": text };
}
