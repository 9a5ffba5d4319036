/** JSON documents in the bucket, which may be absent, damaged, or of another version: never a reason to stop the daemon. */
import type { z } from "zod";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";

export type Document<Content> =
  | { readonly type: "found"; readonly content: Content; readonly etag: string }
  | { readonly type: "absent" }
  /** No JSON, not of the schema, or larger than such a document is. */
  | { readonly type: "unreadable"; readonly etag: string };

/** No document of ours comes near this. */
const BYTES_MAX = 64 * 1024 * 1024;

export async function readDocument<Content>(
  store: Store,
  key: string,
  schema: z.ZodType<Content>,
  bytesMax = BYTES_MAX,
): Promise<Document<Content>> {
  const object = await findUpTo(store, key, bytesMax, () => store.find(key, bytesMax));
  return documentOf(object, schema);
}

/** One that was read before: where S3 says that it is the same version still, it is neither sent nor parsed again. */
export async function readAgain<Content>(
  store: Store,
  key: string,
  schema: z.ZodType<Content>,
  before: { readonly content: Content; readonly etag: string },
): Promise<Document<Content>> {
  const find = () => store.findUnless(key, before.etag, BYTES_MAX);
  const object = await findUpTo(store, key, BYTES_MAX, find);
  return object === "unchanged" ? { type: "found", ...before } : documentOf(object, schema);
}

type Sent = { readonly etag: string; readonly body: Uint8Array | undefined };

function documentOf<Content>(
  object: Sent | undefined,
  schema: z.ZodType<Content>,
): Document<Content> {
  if (!object) return { type: "absent" };
  const { etag, body } = object;
  const parsed = body && schema.safeParse(parseJson(body));
  return parsed?.success
    ? { type: "found", content: parsed.data, etag }
    : { type: "unreadable", etag };
}

async function findUpTo<Object>(
  store: Store,
  key: string,
  bytesMax: number,
  find: () => Promise<Object>,
): Promise<Object | Sent> {
  try {
    return await find();
  } catch (error) {
    if (!isCloudError(error, "refused")) throw error;
    const info = await store.findInfo(key);
    if (!info || info.bytes <= bytesMax) throw error;
    return { etag: info.etag, body: undefined };
  }
}

const decoder = new TextDecoder();

/** Undefined for what is no JSON. */
function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(body));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
