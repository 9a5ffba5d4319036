/** A bucket in memory with the promises of `Store`, for tests that ask what is written and read. */
import { createHash } from "node:crypto";
import { CloudError } from "../../src/errors.ts";
import type { Condition, ListOptions, PutOptions, Store, StoredObject } from "../../src/ports.ts";

export type MemoryStore = Store & {
  readonly objects: Map<string, StoredObject>;
  /** What was called, as "put records/x.json", in order. */
  readonly calls: string[];
  readonly text: (key: string) => string | undefined;
};

export function makeStore(contents: Readonly<Record<string, string | object>> = {}): MemoryStore {
  const objects = new Map<string, StoredObject>();
  const calls: string[] = [];

  function check(key: string, condition: Condition | undefined): void {
    if (!condition) return;
    const etag = objects.get(key)?.etag;
    const holds = "ifAbsent" in condition ? etag === undefined : etag === condition.ifEtag;
    if (!holds) throw new CloudError("conflict", `${key} is not as expected`);
  }

  function need(key: string): StoredObject {
    const object = objects.get(key);
    if (!object) throw new CloudError("not-found", `${key} is not there`);
    return object;
  }

  function keep(key: string, body: Uint8Array, options: PutOptions = {}): string {
    const etag = createHash("md5").update(body).digest("hex");
    const { metadata = {} } = options;
    objects.set(key, { key, etag, bytes: body.length, modifiedAt: 0, body, metadata });
    return etag;
  }

  function infos(prefix: string, { after = "", limit }: ListOptions = {}) {
    return [...objects.values()]
      .filter((object) => object.key.startsWith(prefix) && object.key > after)
      .sort((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key)))
      .slice(0, limit);
  }

  for (const [key, content] of Object.entries(contents)) {
    keep(key, Buffer.from(typeof content === "string" ? content : JSON.stringify(content)));
  }

  return {
    objects,
    calls,
    text: (key) => {
      const object = objects.get(key);
      return object && new TextDecoder().decode(object.body);
    },
    async find(key) {
      calls.push(`find ${key}`);
      return objects.get(key);
    },
    async findInfo(key) {
      return objects.get(key);
    },
    async open(key, options = {}) {
      const { body } = need(key);
      const { start = 0, end = body.length - 1 } = options;
      return (async function* () {
        yield body.subarray(start, end + 1);
      })();
    },
    async put(key, body, options) {
      calls.push(`put ${key}`);
      check(key, options?.condition);
      return keep(key, Buffer.from(body), options);
    },
    async list(prefix, options) {
      calls.push(`list ${prefix}${options?.after ? ` after ${options.after}` : ""}`);
      return infos(prefix, options);
    },
    async listFolders(prefix) {
      const names = infos(prefix).map((each) => each.key.slice(prefix.length));
      return [
        ...new Set(
          names.filter((name) => name.includes("/")).map((name) => `${name.split("/")[0]}/`),
        ),
      ];
    },
    async copy(from, to) {
      const source = need(from.key);
      if (source.etag !== from.etag) throw new CloudError("conflict", `${from.key} has changed`);
      keep(to, source.body, { metadata: source.metadata });
    },
    async remove(key, condition) {
      calls.push(`remove ${key}`);
      if (objects.has(key)) check(key, condition);
      objects.delete(key);
    },
  };
}
