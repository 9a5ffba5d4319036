/**
 * What the local S3 keeps: an index in memory, made durable by a journal, over data files that are written before the journal names
 * them and never changed after. An object is there once its line is; a data file that no line names is removed at the next start.
 * Objects are made of segments of data files, so that copies and completed multipart uploads move no bytes.
 */
import { mkdirSync, readdirSync, rmSync, unlink } from "node:fs";
import { join } from "node:path";
import { type Journal, openJournal } from "./journal.ts";
import type { Checksum, ChecksumAlgorithm, ChecksumType } from "./s3-checksums.ts";
import { compareUtf8, makeSortedKeys, type SortedKeys } from "./s3-keys.ts";
import type { NotificationRule } from "./s3-notifications.ts";

export type Segment = { readonly file: string; readonly start: number; readonly bytes: number };

export type StoredObject = {
  readonly key: string;
  /** Without quotes. */
  readonly etag: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedAt: number;
  readonly segments: readonly Segment[];
  /** What is given back as it was sent: content-type and the like, and `x-amz-meta-…`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly checksum?: Checksum | undefined;
  /** Of the multipart upload it comes from, so that completing again after a lost answer is no error. */
  readonly uploadId?: string;
};

export type Part = {
  readonly number: number;
  readonly etag: string;
  readonly bytes: number;
  readonly modifiedAt: number;
  readonly segments: readonly Segment[];
  readonly checksum?: Checksum | undefined;
};

export type Upload = {
  readonly id: string;
  readonly bucket: string;
  readonly key: string;
  readonly createdAt: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly algorithm?: ChecksumAlgorithm | undefined;
  readonly checksumType?: ChecksumType | undefined;
};

export type Bucket = {
  readonly name: string;
  readonly createdAt: number;
  readonly notifications: readonly NotificationRule[];
};

/** Changes are durable when their method returns. */
export type S3Store = {
  listBuckets(): readonly Bucket[];
  findBucket(name: string): Bucket | undefined;
  putBucket(bucket: Bucket): void;
  /** It must be empty. */
  removeBucket(name: string): void;
  find(bucket: string, key: string): StoredObject | undefined;
  keys(bucket: string): SortedKeys;
  /** With `uploadId` set, that upload ends in the same stroke. */
  put(bucket: string, object: StoredObject): void;
  remove(bucket: string, key: string): void;
  /** Of a bucket, by key and then time. */
  listUploads(bucket: string): readonly Upload[];
  findUpload(id: string): Upload | undefined;
  /** By number. */
  listParts(uploadId: string): readonly Part[];
  putUpload(upload: Upload): void;
  putPart(uploadId: string, part: Part): void;
  endUpload(id: string): void;
  pathOf(file: string): string;
  /** Keeps the segments' files while they are read; call the result once when done. */
  hold(segments: readonly Segment[]): () => void;
  close(): void;
};

type Entry =
  | { readonly type: "bucket"; readonly bucket: Bucket }
  | { readonly type: "no-bucket"; readonly name: string }
  | { readonly type: "object"; readonly bucket: string; readonly object: StoredObject }
  | { readonly type: "no-object"; readonly bucket: string; readonly key: string }
  | { readonly type: "upload"; readonly upload: Upload }
  | { readonly type: "part"; readonly uploadId: string; readonly part: Part }
  | { readonly type: "no-upload"; readonly id: string };

type HeldBucket = {
  bucket: Bucket;
  readonly objects: Map<string, StoredObject>;
  readonly keys: SortedKeys;
};
type HeldUpload = { readonly upload: Upload; readonly parts: Map<number, Part> };

type State = {
  readonly buckets: Map<string, HeldBucket>;
  readonly uploads: Map<string, HeldUpload>;
  /** How many segments name a data file. */
  readonly uses: Map<string, number>;
  /** Removes a data file that nothing names any more. */
  discard(file: string): void;
};

/** Throws Error when the journal is damaged. */
export function openS3Store(directory: string, rewriteLinesMin?: number): S3Store {
  const dataPath = join(directory, "data");
  mkdirSync(dataPath, { recursive: true, mode: 0o700 });
  const pathOf = (file: string): string => join(dataPath, file);
  let isReplayed = false;
  const state: State = {
    buckets: new Map(),
    uploads: new Map(),
    uses: new Map(),
    // While it was read, a file could outlive its last name and get another; the journal does not know of readers, so what
    // nothing names is swept only when all of it has been replayed. The next start sweeps what could not be removed.
    discard: (file) => {
      if (isReplayed) unlink(pathOf(file), () => {});
    },
  };
  const journal = openJournal<Entry>({
    path: join(directory, "journal"),
    apply: (entry) => apply(state, entry),
    snapshot: () => snapshot(state),
    rewriteLinesMin,
  });
  isReplayed = true;
  for (const file of readdirSync(dataPath)) {
    if (!state.uses.has(file)) rmSync(pathOf(file), { force: true });
  }
  return makeStore(state, journal, pathOf);
}

function makeStore(
  state: State,
  journal: Journal<Entry>,
  pathOf: (file: string) => string,
): S3Store {
  const write = (entry: Entry): void => {
    // Before it is written: what cannot be applied now could not be at the next start either, and that would refuse the journal.
    if (entry.type === "object" || entry.type === "no-object") findBucket(state, entry.bucket);
    journal.append(entry);
    apply(state, entry);
  };
  return {
    listBuckets: () => [...state.buckets.values()].map(({ bucket }) => bucket),
    findBucket: (name) => state.buckets.get(name)?.bucket,
    putBucket: (bucket) => write({ type: "bucket", bucket }),
    removeBucket: (name) => write({ type: "no-bucket", name }),
    find: (bucket, key) => state.buckets.get(bucket)?.objects.get(key),
    keys: (bucket) => findBucket(state, bucket).keys,
    put: (bucket, object) => write({ type: "object", bucket, object }),
    remove: (bucket, key) => write({ type: "no-object", bucket, key }),
    listUploads: (bucket) =>
      [...state.uploads.values()]
        .map(({ upload }) => upload)
        .filter((upload) => upload.bucket === bucket)
        .sort((a, b) => compareUtf8(a.key, b.key) || a.createdAt - b.createdAt),
    findUpload: (id) => state.uploads.get(id)?.upload,
    listParts: (id) =>
      [...(state.uploads.get(id)?.parts.values() ?? [])].sort((a, b) => a.number - b.number),
    putUpload: (upload) => write({ type: "upload", upload }),
    putPart: (uploadId, part) => write({ type: "part", uploadId, part }),
    endUpload: (id) => write({ type: "no-upload", id }),
    pathOf,
    hold(segments) {
      use(state, segments);
      return () => release(state, segments);
    },
    close: () => journal.close(),
  };
}

/** What replaces something uses its files before the old one gives them up, for they may be the same. */
function apply(state: State, entry: Entry): void {
  switch (entry.type) {
    case "bucket": {
      const before = state.buckets.get(entry.bucket.name);
      if (before) before.bucket = entry.bucket;
      else {
        const fresh = { bucket: entry.bucket, objects: new Map(), keys: makeSortedKeys() };
        state.buckets.set(entry.bucket.name, fresh);
      }
      break;
    }
    case "no-bucket":
      state.buckets.delete(entry.name);
      for (const { upload } of [...state.uploads.values()]) {
        if (upload.bucket === entry.name) endUpload(state, upload.id);
      }
      break;
    case "object":
      applyObject(state, entry.bucket, entry.object);
      break;
    case "no-object": {
      const { objects, keys } = findBucket(state, entry.bucket);
      const before = objects.get(entry.key);
      objects.delete(entry.key);
      keys.remove(entry.key);
      release(state, before?.segments ?? []);
      break;
    }
    case "upload":
      state.uploads.set(entry.upload.id, { upload: entry.upload, parts: new Map() });
      break;
    case "part":
      applyPart(state, entry.uploadId, entry.part);
      break;
    case "no-upload":
      endUpload(state, entry.id);
  }
}

function applyObject(state: State, bucket: string, object: StoredObject): void {
  const { objects, keys } = findBucket(state, bucket);
  const before = objects.get(object.key);
  use(state, object.segments);
  objects.set(object.key, object);
  if (before) release(state, before.segments);
  else keys.add(object.key);
  if (object.uploadId !== undefined) endUpload(state, object.uploadId);
}

function applyPart(state: State, uploadId: string, part: Part): void {
  const parts = state.uploads.get(uploadId)?.parts;
  if (!parts) return;
  const before = parts.get(part.number);
  use(state, part.segments);
  parts.set(part.number, part);
  release(state, before?.segments ?? []);
}

function endUpload(state: State, id: string): void {
  const ended = state.uploads.get(id);
  state.uploads.delete(id);
  for (const part of ended?.parts.values() ?? []) release(state, part.segments);
}

function use(state: State, segments: readonly Segment[]): void {
  for (const { file } of segments) state.uses.set(file, (state.uses.get(file) ?? 0) + 1);
}

function release(state: State, segments: readonly Segment[]): void {
  for (const { file } of segments) {
    const uses = (state.uses.get(file) ?? 0) - 1;
    if (uses > 0) {
      state.uses.set(file, uses);
    } else {
      state.uses.delete(file);
      state.discard(file);
    }
  }
}

function findBucket(state: State, name: string): HeldBucket {
  const found = state.buckets.get(name);
  if (!found) throw new Error(`there is no bucket ${name}`);
  return found;
}

function* snapshot(state: State): Iterable<Entry> {
  for (const { bucket } of state.buckets.values()) yield { type: "bucket", bucket };
  for (const { bucket, objects } of state.buckets.values()) {
    for (const object of objects.values()) yield { type: "object", bucket: bucket.name, object };
  }
  for (const { upload, parts } of state.uploads.values()) {
    yield { type: "upload", upload };
    for (const part of parts.values()) yield { type: "part", uploadId: upload.id, part };
  }
}
