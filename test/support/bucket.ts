/** S3 in memory: one bucket with conditional writes. What goes wrong is not its business. */
import { CloudError } from "../../src/errors.ts";
import type {
  ListOptions,
  ObjectInfo,
  OpenOptions,
  PutOptions,
  Store,
  StoredObject,
} from "../../src/ports.ts";

type Held = {
  body: Uint8Array;
  /** Decoded when somebody first asks. */
  text: string | undefined;
  etag: string;
  modifiedAt: number;
  metadata: Record<string, string>;
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Bucket implements Store {
  readonly #objects = new Map<string, Held>();
  /** In UTF-8 order. */
  readonly #keys: string[] = [];
  readonly #now: () => number;
  #version = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** For the world that looks on: no call of Errand's. */
  keys(prefix: string): string[] {
    return this.#range(prefix, "");
  }

  read(key: string): string | undefined {
    const held = this.#objects.get(key);
    if (held) held.text ??= decoder.decode(held.body);
    return held?.text;
  }

  /** Without conditions and at once; returns the ETag. */
  write(key: string, body: Uint8Array | string, metadata: Readonly<Record<string, string>> = {}) {
    this.#version += 1;
    const etag = `"${this.#version}"`;
    if (!this.#objects.has(key)) insert(this.#keys, key);
    this.#objects.set(key, {
      body: typeof body === "string" ? encoder.encode(body) : body,
      text: typeof body === "string" ? body : undefined,
      etag,
      modifiedAt: this.#now(),
      metadata: { ...metadata },
    });
    return etag;
  }

  async find(key: string, bytesMax?: number): Promise<StoredObject | undefined> {
    const held = this.#objects.get(key);
    if (!held) return undefined;
    if (bytesMax !== undefined && held.body.length > bytesMax) {
      throw new CloudError("refused", `${key} is larger than ${bytesMax} bytes`);
    }
    return { ...infoOf(key, held), body: held.body, metadata: held.metadata };
  }

  async findUnless(key: string, etag: string, bytesMax?: number) {
    return this.#objects.get(key)?.etag === etag ? "unchanged" : this.find(key, bytesMax);
  }

  async findInfo(key: string) {
    const held = this.#objects.get(key);
    return held && { ...infoOf(key, held), metadata: held.metadata };
  }

  async open(key: string, options: OpenOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    const held = this.#objects.get(key);
    if (!held) throw new CloudError("not-found", `${key} is not there`);
    if (options.ifEtag !== undefined && options.ifEtag !== held.etag) {
      throw new CloudError("conflict", `${key} has changed`);
    }
    const end = options.end === undefined ? undefined : options.end + 1;
    const body = held.body.subarray(options.start ?? 0, end);
    return (async function* () {
      yield body;
    })();
  }

  async put(key: string, body: Uint8Array | string, options: PutOptions = {}): Promise<string> {
    const held = this.#objects.get(key);
    const { condition } = options;
    if (condition && "ifAbsent" in condition && held) {
      throw new CloudError("conflict", `${key} is there already`);
    }
    if (condition && "ifEtag" in condition && held?.etag !== condition.ifEtag) {
      throw new CloudError("conflict", `${key} has changed`);
    }
    return this.write(key, body, options.metadata);
  }

  async list(prefix: string, { after = "", limit }: ListOptions = {}): Promise<ObjectInfo[]> {
    return this.#range(prefix, after)
      .slice(0, limit)
      .flatMap((key) => {
        const held = this.#objects.get(key);
        return held ? [infoOf(key, held)] : [];
      });
  }

  /** Keys with a prefix, after a key: they stand together. */
  #range(prefix: string, after: string): string[] {
    const keys = this.#keys;
    let start = placeOf(keys, prefix);
    if (compareUtf8(after, prefix) >= 0) {
      start = placeOf(keys, after);
      if (keys[start] === after) start += 1;
    }
    let end = start;
    while (keys[end]?.startsWith(prefix)) end += 1;
    return keys.slice(start, end);
  }

  async copy(from: { key: string; etag: string }, to: string): Promise<void> {
    const held = this.#objects.get(from.key);
    if (!held) throw new CloudError("not-found", `${from.key} is not there`);
    if (held.etag !== from.etag) throw new CloudError("conflict", `${from.key} has changed`);
    this.write(to, held.body, held.metadata);
  }

  async remove(key: string, condition?: { ifEtag: string }): Promise<void> {
    const held = this.#objects.get(key);
    if (held && condition && held.etag !== condition.ifEtag) {
      throw new CloudError("conflict", `${key} has changed`);
    }
    if (this.#objects.delete(key)) this.#keys.splice(placeOf(this.#keys, key), 1);
  }
}

const infoOf = (key: string, held: Held): ObjectInfo => ({
  key,
  etag: held.etag,
  bytes: held.body.length,
  modifiedAt: held.modifiedAt,
});

/** Where a key stands in sorted ones, or would. */
function placeOf(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareUtf8(keys[middle] ?? "", key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insert(keys: string[], key: string): void {
  keys.splice(placeOf(keys, key), 0, key);
}

/** JavaScript compares UTF-16 units, which differs only where there are surrogates. */
function compareUtf8(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const SURROGATE = /[\ud800-\udfff]/;
