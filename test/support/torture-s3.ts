/** Objects under torture. Each actor has keys of its own, so that it knows what must be under each of them. */
import { createHash } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListPartsCommand,
  NoSuchKey,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { Random } from "../simulation/random.ts";
import { BUCKET } from "./test-cloud.ts";
import { type Actor, type Clients, check } from "./torture.ts";

type Version = { readonly etag: string; readonly sha256: string };

/** Undefined stands for no object. */
type Known = {
  acknowledged: Version | undefined;
  /** What a call that was not answered may have made of it. */
  pending?: { readonly version: Version | undefined } | undefined;
};

/** A part that was acknowledged, of an upload that is not complete. */
type OpenUpload = { readonly id: string; readonly key: string; readonly body: Buffer };

const KEYS = 8;
/** On both sides of the border between one write and a stream. */
const SIZES = [0, 10, 5_000, 200_000];

const md5 = (body: Uint8Array): Buffer => createHash("md5").update(body).digest();
const sha256 = (body: Uint8Array): string => createHash("sha256").update(body).digest("hex");
const versionOf = (body: Uint8Array): Version => ({
  etag: md5(body).toString("hex"),
  sha256: sha256(body),
});
const ofOnePart = (body: Uint8Array): Version => ({
  etag: `${md5(md5(body)).toString("hex")}-1`,
  sha256: sha256(body),
});

export function makeS3Actor(name: string, random: Random): Actor {
  const known = new Map<string, Known>();
  for (let index = 0; index < KEYS; index += 1) {
    known.set(`torture/${name}/${index}`, { acknowledged: undefined });
  }
  const keys = [...known.keys()];
  let upload: OpenUpload | undefined;
  let writes = 0;
  const at = (key: string) => ({ Bucket: BUCKET, Key: key });

  const anyKey = (): string => keys[random.between(0, KEYS - 1)] ?? "";
  const knownOf = (key: string): Known => known.get(key) ?? { acknowledged: undefined };
  const makeBody = (): Buffer => {
    writes += 1;
    const size = SIZES[random.between(0, SIZES.length - 1)] ?? 0;
    return Buffer.concat([
      Buffer.from(`${name} ${writes} `),
      Buffer.alloc(size, random.between(1, 255)),
    ]);
  };

  /** Says before the call what it may do, and afterwards that it has. */
  async function change(
    key: string,
    version: Version | undefined,
    call: () => Promise<unknown>,
  ): Promise<void> {
    const one = knownOf(key);
    one.pending = { version };
    await call();
    one.acknowledged = version;
    one.pending = undefined;
  }

  async function put({ s3 }: Clients): Promise<void> {
    const key = anyKey();
    const Body = makeBody();
    const before = knownOf(key).acknowledged;
    const IfMatch = before && random.chance(0.5) ? `"${before.etag}"` : undefined;
    const command = new PutObjectCommand({ ...at(key), Body, IfMatch });
    await change(key, versionOf(Body), () => s3.send(command));
  }

  async function remove({ s3 }: Clients): Promise<void> {
    const key = anyKey();
    await change(key, undefined, () => s3.send(new DeleteObjectCommand(at(key))));
  }

  async function copy({ s3 }: Clients): Promise<void> {
    const [from, to] = [anyKey(), anyKey()];
    const source = knownOf(from).acknowledged;
    if (!source || from === to) return;
    const CopySource = `${BUCKET}/${from}`;
    // A copy is one object, whatever its source was put together from; the etag of parts is looked up.
    if (source.etag.includes("-")) return;
    await change(to, source, () => s3.send(new CopyObjectCommand({ ...at(to), CopySource })));
  }

  async function beginUpload({ s3 }: Clients): Promise<void> {
    const key = anyKey();
    const body = makeBody();
    const { UploadId: id = "" } = await s3.send(new CreateMultipartUploadCommand(at(key)));
    const part = { ...at(key), UploadId: id, PartNumber: 1, Body: body };
    await s3.send(new UploadPartCommand(part));
    upload = { id, key, body };
  }

  async function completeUpload({ s3 }: Clients, { id, key, body }: OpenUpload): Promise<void> {
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: md5(body).toString("hex") }] };
    const complete = { ...at(key), UploadId: id, MultipartUpload };
    await change(key, ofOnePart(body), () => s3.send(new CompleteMultipartUploadCommand(complete)));
    upload = undefined;
  }

  async function verifyUpload({ s3 }: Clients, open: OpenUpload, isDone: boolean): Promise<void> {
    if (isDone) {
      upload = undefined;
      return;
    }
    const list = new ListPartsCommand({ ...at(open.key), UploadId: open.id });
    const { Parts = [] } = await s3.send(list);
    const etag = `"${md5(open.body).toString("hex")}"`;
    check(Parts[0]?.ETag === etag, () => `the part of ${open.key} is ${Parts[0]?.ETag}`);
  }

  return {
    async act(clients) {
      const dice = random.next();
      if (dice < 0.5) return put(clients);
      if (dice < 0.65) return remove(clients);
      if (dice < 0.75) return copy(clients);
      return upload ? completeUpload(clients, upload) : beginUpload(clients);
    },
    async verify(clients) {
      for (const [key, one] of known) {
        const actual = await readVersion(clients, key);
        const allowed = [one.acknowledged, ...(one.pending ? [one.pending.version] : [])];
        check(
          allowed.some((each) => isSame(each, actual)),
          () => `${key} is ${render(actual)}, and should be ${allowed.map(render).join(" or ")}`,
        );
        // The one unanswered call may have been the completion of the open upload.
        const isDone = upload?.key === key && isSame(actual, ofOnePart(upload.body));
        if (upload?.key === key) await verifyUpload(clients, upload, isDone);
        known.set(key, { acknowledged: actual });
      }
    },
  };
}

async function readVersion({ s3 }: Clients, key: string): Promise<Version | undefined> {
  try {
    const { Body, ETag = "" } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
    const body = (await Body?.transformToByteArray()) ?? new Uint8Array();
    return { etag: ETag.replaceAll('"', ""), sha256: sha256(body) };
  } catch (error) {
    if (error instanceof NoSuchKey) return undefined;
    throw error;
  }
}

const isSame = (a: Version | undefined, b: Version | undefined): boolean =>
  a?.etag === b?.etag && a?.sha256 === b?.sha256;

const render = (version: Version | undefined): string =>
  version ? `${version.etag} (sha256 ${version.sha256.slice(0, 8)})` : "absent";
