/** One S3 bucket as the Store of ports.ts. */
import { Readable } from "node:stream";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type _Object as ListedObject,
  PutObjectCommand,
  paginateListObjectsV2,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CloudError, isCloudError } from "../errors.ts";
import type {
  Condition,
  ListOptions,
  ObjectInfo,
  OpenOptions,
  PutOptions,
  Store,
  StoredObject,
} from "../ports.ts";
import { callAws, isUnchanged, toCloudError } from "./error-codes.ts";
import { type CopySizes, copyObject } from "./store-copy.ts";

export function createStore(s3: S3Client, bucket: string, sizes?: CopySizes): Store {
  const at = (key: string) => ({ Bucket: bucket, Key: key });
  const store: Store = {
    find: async (key, bytesMax) => {
      const output = await callUnlessAbsent(`reading ${key}`, () =>
        s3.send(new GetObjectCommand(at(key))),
      );
      return output && readWhole(key, output, bytesMax);
    },

    findUnless: async (key, etag, bytesMax) => {
      const output = await callUnlessAbsent(`reading ${key}`, async () => {
        try {
          return await s3.send(new GetObjectCommand({ ...at(key), IfNoneMatch: etag }));
        } catch (error) {
          if (isUnchanged(error)) return "unchanged";
          throw error;
        }
      });
      return output === "unchanged" ? output : output && readWhole(key, output, bytesMax);
    },

    findInfo: async (key) => {
      const output = await callUnlessAbsent(`looking for ${key}`, () =>
        s3.send(new HeadObjectCommand(at(key))),
      );
      return output && { ...infoOf(key, output), metadata: output.Metadata ?? {} };
    },

    open: (key, options = {}) => openObject(s3, at(key), options),

    put: (key, body, options = {}) => putObject(s3, at(key), { body, options }),

    list: (prefix, options = {}) => listObjects(s3, { bucket, prefix }, options),

    copy: (from, to) => copyObject(s3, { bucket, from, to }, sizes),

    remove: async (key, condition) => {
      await callUnlessAbsent(`deleting ${key}`, () =>
        s3.send(
          new DeleteObjectCommand({
            ...at(key),
            ...(condition && { IfMatch: condition.ifEtag }),
          }),
        ),
      );
    },
  };
  return store;
}

async function readWhole(
  key: string,
  output: GetObjectCommandOutput,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<StoredObject> {
  const doing = `reading ${key}`;
  const info = infoOf(key, output);
  if (info.bytes > bytesMax) {
    discard(output);
    const told = `it is ${info.bytes} B, at most ${bytesMax} B are read`;
    throw new CloudError("refused", `${doing}: ${told}`);
  }
  const body = await callAws(doing, async () => output.Body?.transformToByteArray());
  return { ...info, body: body ?? new Uint8Array(), metadata: output.Metadata ?? {} };
}

/** Undefined where there is no such object. */
async function callUnlessAbsent<T>(doing: string, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await callAws(doing, call);
  } catch (error) {
    if (isCloudError(error, "not-found")) return undefined;
    throw error;
  }
}

async function putObject(
  s3: S3Client,
  at: Place,
  { body, options }: { readonly body: Uint8Array | string; readonly options: PutOptions },
): Promise<string> {
  const { condition, contentType, metadata } = options;
  const doing = `writing ${at.Key}`;
  try {
    const output = await callAws(doing, () =>
      s3.send(
        new PutObjectCommand({
          ...at,
          // The SDK takes an empty string for a stream whose length nobody knows.
          Body: typeof body === "string" ? Buffer.from(body) : body,
          ...(condition && conditionHeaders(condition)),
          ...(contentType && { ContentType: contentType }),
          ...(metadata && { Metadata: { ...metadata } }),
        }),
      ),
    );
    return output.ETag ?? "";
  } catch (error) {
    // S3 answers 404 when the version to be replaced is gone; to a writer that is another's write like any other.
    const isReplacing = condition !== undefined && "ifEtag" in condition;
    if (!isReplacing || !isCloudError(error, "not-found")) throw error;
    throw new CloudError("conflict", `${doing}: it is gone`, { cause: error, code: error.code });
  }
}

type Place = { readonly Bucket: string; readonly Key: string };

type Info = Pick<GetObjectCommandOutput, "ETag" | "ContentLength" | "LastModified">;

const infoOf = (key: string, { ETag, ContentLength, LastModified }: Info): ObjectInfo => ({
  key,
  etag: ETag ?? "",
  bytes: ContentLength ?? 0,
  modifiedAt: LastModified?.getTime() ?? 0,
});

const conditionHeaders = (condition: Condition) =>
  "ifEtag" in condition ? { IfMatch: condition.ifEtag } : { IfNoneMatch: "*" };

/** A body that nobody reads would keep its connection for ever. */
function discard({ Body: body }: GetObjectCommandOutput): void {
  if (body instanceof Readable) body.destroy();
}

async function openObject(
  s3: S3Client,
  at: Place,
  { ifEtag, start, end }: OpenOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const hasRange = start !== undefined || end !== undefined;
  const doing = `reading ${at.Key}`;
  try {
    const { Body: body } = await callAws(doing, () =>
      s3.send(
        new GetObjectCommand({
          ...at,
          ...(ifEtag !== undefined && { IfMatch: ifEtag }),
          ...(hasRange && { Range: `bytes=${start ?? 0}-${end ?? ""}` }),
        }),
      ),
    );
    return readChunks(doing, body as Readable);
  } catch (error) {
    // Any range of an empty object is out of range, so this has to be an answer like another.
    if (error instanceof CloudError && error.code === "InvalidRange") return nothing();
    throw error;
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* readChunks(doing: string, body: Readable): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk;
  } catch (error) {
    throw toCloudError(doing, error);
  }
}

const PAGE_KEYS = 1_000;

function listObjects(
  s3: S3Client,
  { bucket, prefix }: { readonly bucket: string; readonly prefix: string },
  { after, limit = Number.POSITIVE_INFINITY }: ListOptions,
): Promise<readonly ObjectInfo[]> {
  return callAws(`listing ${prefix}`, async () => {
    const objects: ObjectInfo[] = [];
    if (limit <= 0) return objects;
    const input = {
      Bucket: bucket,
      Prefix: prefix,
      // XML has no way to write some of the characters that a key may hold.
      EncodingType: "url",
      MaxKeys: Math.min(limit, PAGE_KEYS),
      ...(after && { StartAfter: after }),
    } as const;
    for await (const page of paginateListObjectsV2({ client: s3 }, input)) {
      objects.push(...(page.Contents ?? []).map(toObjectInfo));
      if (objects.length >= limit) return objects.slice(0, limit);
    }
    return objects;
  });
}

const toObjectInfo = ({ Key = "", Size, ...rest }: ListedObject): ObjectInfo =>
  infoOf(decodeKey(Key), { ...rest, ContentLength: Size });

const decodeKey = (key: string): string => decodeURIComponent(key.replaceAll("+", " "));
