/** Calls to the local cloud itself, under `/_local/`, signed with its owner's keys. */
import { Hash } from "@smithy/core/serde";
import { SignatureV4 } from "@smithy/signature-v4";
import { UserError } from "../errors.ts";
import type { LocalNote } from "./local-note.ts";

export type ControlCall = {
  readonly method: "GET" | "POST" | "DELETE";
  /** Begins with `/_local/`. */
  readonly path: string;
  readonly body?: unknown;
};

/** The JSON of the answer. Throws UserError for a refusal, with the cloud's own words. */
export async function callLocalCloud(note: LocalNote, call: ControlCall): Promise<unknown> {
  const { method, path } = call;
  const url = new URL(path, note.endpoint);
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const signer = new SignatureV4({
    // Any service's name will do; the local cloud looks at the keys.
    service: "ec2",
    region: note.region,
    credentials: note,
    sha256: Hash.bind(null, "sha256"),
  });
  const signed = await signer.sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    port: Number(url.port),
    path,
    query: {},
    headers: { host: url.host },
    body,
  });
  const answer = await fetch(url, { method, headers: signed.headers, body: body ?? null }).catch(
    (cause: unknown) => {
      throw new UserError(`asking the local cloud at ${note.endpoint}`, "", { cause });
    },
  );
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  throw new UserError(messageOf(text) ?? `the local cloud answered ${answer.status}: ${text}`);
}

function messageOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { readonly message?: string }).message;
  } catch {
    return undefined;
  }
}
