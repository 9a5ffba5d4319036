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
  etag: string;
  modifiedAt: number;
  metadata: Record<string, string>;
};

export class Bucket implements Store {
  readonly #objects = new Map<string, Held>();
  readonly #now: () => number;
  #version = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** For the world that looks on: no call of Errand's. */
  keys(prefix: string): string[] {
    return [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  read(key: string): string | undefined {
    const held = this.#objects.get(key);
    return held && new TextDecoder().decode(held.body);
  }

  /** Without conditions and at once; returns the ETag. */
  write(key: string, body: Uint8Array | string, metadata: Readonly<Record<string, string>> = {}) {
    this.#version += 1;
    const etag = `"${this.#version}"`;
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    this.#objects.set(key, {
      body: bytes,
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
    return [...this.#objects]
      .filter(([key]) => key.startsWith(prefix) && compareUtf8(key, after) > 0)
      .sort(([a], [b]) => compareUtf8(a, b))
      .slice(0, limit)
      .map(([key, held]) => infoOf(key, held));
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
    this.#objects.delete(key);
  }
}

const infoOf = (key: string, held: Held): ObjectInfo => ({
  key,
  etag: held.etag,
  bytes: held.body.length,
  modifiedAt: held.modifiedAt,
});

const compareUtf8 = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));
