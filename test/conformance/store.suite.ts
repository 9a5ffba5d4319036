/** What every Store promises, whatever stands behind it. Each test keeps to a prefix of its own. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { ListOptions, OpenOptions, Store } from "../../src/ports.ts";
import { type Backend, type Check, conformance } from "./backend.ts";

/** `makeStore` is called for each test; all may share one bucket. */
export function storeConformance(backend: Backend, makeStore: () => Promise<Store>): void {
  const open = async () => ({ store: await makeStore(), root: `runs/${randomUUID()}/` });
  conformance("store", backend, (test) => {
    describeReading(open, test);
    describeConditions(open, test);
    describeListing(open, test);
    describeCopying(open, test);
  });
}

type Open = () => Promise<{ readonly store: Store; readonly root: string }>;

const ODD_NAMES = [
  "a space",
  "a+plus",
  "a%20percent",
  "a&b=c?d#e",
  "line\nbreak",
  "snow ☃ and 🦦",
  "-leading dash",
  "quote \" and ' and <tag>",
  "back\\slash",
  "tilde~star*(paren)!",
];

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

async function textOf(store: Store, key: string): Promise<string | undefined> {
  const object = await store.find(key);
  return object && new TextDecoder().decode(object.body);
}

async function textOfChunks(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all).toString();
}

/** How a promise ended: "done", or the kind of its CloudError. */
async function kindOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (error) {
    return (error as { kind?: string }).kind ?? String(error);
  }
}

function describeReading(open: Open, test: Check): void {
  test("what was put is found, with its size, tag, metadata and a time of today", async () => {
    const { store, root } = await open();
    const body = Uint8Array.from({ length: 256 }, (_, index) => index);
    const etag = await store.put(`${root}a`, body, {
      metadata: { workflow: "train", "var-x": "1" },
    });
    const found = await store.find(`${root}a`);
    expect(found?.body).toEqual(body);
    expect(found).toMatchObject({ key: `${root}a`, bytes: 256, etag });
    expect(found?.metadata).toEqual({ workflow: "train", "var-x": "1" });
    const { body: _, ...info } = found ?? { body: undefined };
    expect(await store.findInfo(`${root}a`)).toEqual(info);
    expect(Number.isInteger(found?.modifiedAt)).toBe(true);
  });

  test("what was never put, or was removed, is not found", async () => {
    const { store, root } = await open();
    await store.put(`${root}a`, "text");
    await store.remove(`${root}a`);
    expect(await store.find(`${root}a`)).toBeUndefined();
    expect(await store.findInfo(`${root}a`)).toBeUndefined();
    expect(await store.find(`${root}b`)).toBeUndefined();
    expect(await kindOf(store.open(`${root}b`))).toBe("not-found");
  });

  test("what is still of a version is not sent again, and what is another by now is", async () => {
    const { store, root } = await open();
    const etag = await store.put(`${root}a`, "first");
    expect(await store.findUnless(`${root}a`, etag)).toBe("unchanged");
    const next = await store.put(`${root}a`, "second");
    expect(await store.findUnless(`${root}a`, etag)).toEqual(await store.find(`${root}a`));
    expect(await store.findUnless(`${root}a`, next)).toBe("unchanged");
    expect(await kindOf(store.findUnless(`${root}a`, etag, 5))).toBe("refused");
    await store.remove(`${root}a`);
    expect(await store.findUnless(`${root}a`, next)).toBeUndefined();
  });

  test("an empty object is an object", async () => {
    const { store, root } = await open();
    await store.put(`${root}a`, "");
    expect((await store.find(`${root}a`))?.bytes).toBe(0);
    expect(await textOfChunks(await store.open(`${root}a`))).toBe("");
    expect(await textOfChunks(await store.open(`${root}a`, { start: 0 }))).toBe("");
  });

  test("an object larger than asked for is refused, one as large is not", async () => {
    const { store, root } = await open();
    await store.put(`${root}a`, "12345");
    expect(await kindOf(store.find(`${root}a`, 4))).toBe("refused");
    expect((await store.find(`${root}a`, 5))?.bytes).toBe(5);
  });

  const ranges: readonly (readonly [OpenOptions, string])[] = [
    [{}, "0123456789"],
    [{ start: 4 }, "456789"],
    [{ start: 2, end: 4 }, "234"],
    [{ end: 1 }, "01"],
    [{ start: 8, end: 99 }, "89"],
    [{ start: 10 }, ""],
  ];
  for (const [range, text] of ranges) {
    test(`a range of ${JSON.stringify(range)} of ten digits is "${text}"`, async () => {
      const { store, root } = await open();
      await store.put(`${root}a`, "0123456789");
      expect(await textOfChunks(await store.open(`${root}a`, range))).toBe(text);
    });
  }

  test("opening one version of an object that is another by now is a conflict", async () => {
    const { store, root } = await open();
    const ifEtag = await store.put(`${root}a`, "one");
    expect(await textOfChunks(await store.open(`${root}a`, { ifEtag }))).toBe("one");
    await store.put(`${root}a`, "two");
    expect(await kindOf(store.open(`${root}a`, { ifEtag }))).toBe("conflict");
  });

  test("a body of some megabytes comes back as it went", async () => {
    const { store, root } = await open();
    const body = Uint8Array.from({ length: 3_000_001 }, (_, index) => (index * 31) % 251);
    await store.put(`${root}a`, body);
    const found = await store.find(`${root}a`);
    expect(Buffer.compare(found?.body ?? bytesOf(""), body)).toBe(0);
  });
}

function describeConditions(open: Open, test: Check): void {
  test("of fifty who create an object, one wins and the others see a conflict", async () => {
    const { store, root } = await open();
    const bodies = Array.from({ length: 50 }, (_, index) => `racer ${index}`);
    const kinds = await Promise.all(
      bodies.map((body) => kindOf(store.put(`${root}a`, body, { condition: { ifAbsent: true } }))),
    );
    expect(kinds.filter((kind) => kind === "done")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "conflict")).toHaveLength(49);
    expect(await textOf(store, `${root}a`)).toBe(bodies[kinds.indexOf("done")]);
  });

  test("of fifty who replace one version of an object, one wins", async () => {
    const { store, root } = await open();
    const ifEtag = await store.put(`${root}a`, "first");
    const bodies = Array.from({ length: 50 }, (_, index) => `racer ${index}`);
    const kinds = await Promise.all(
      bodies.map((body) => kindOf(store.put(`${root}a`, body, { condition: { ifEtag } }))),
    );
    expect(kinds.filter((kind) => kind === "done")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "conflict")).toHaveLength(49);
    expect(await textOf(store, `${root}a`)).toBe(bodies[kinds.indexOf("done")]);
  });

  test("a chain of swaps holds as long as each names the tag that the last one returned", async () => {
    const { store, root } = await open();
    let ifEtag = await store.put(`${root}a`, "0", { condition: { ifAbsent: true } });
    const stale = ifEtag;
    for (const body of ["1", "2", "3"]) {
      ifEtag = await store.put(`${root}a`, body, { condition: { ifEtag } });
    }
    expect(await kindOf(store.put(`${root}a`, "late", { condition: { ifEtag: stale } }))).toBe(
      "conflict",
    );
    expect(await textOf(store, `${root}a`)).toBe("3");
  });

  test("replacing a version of what is gone is a conflict, and creates nothing", async () => {
    const { store, root } = await open();
    const ifEtag = await store.put(`${root}a`, "one");
    await store.remove(`${root}a`);
    expect(await kindOf(store.put(`${root}a`, "two", { condition: { ifEtag } }))).toBe("conflict");
    expect(await store.find(`${root}a`)).toBeUndefined();
  });

  test("what was removed can be created again", async () => {
    const { store, root } = await open();
    await store.put(`${root}a`, "one", { condition: { ifAbsent: true } });
    await store.remove(`${root}a`);
    await store.put(`${root}a`, "two", { condition: { ifAbsent: true } });
    expect(await textOf(store, `${root}a`)).toBe("two");
  });

  test("removing one version leaves another alone, and removing what is gone is no error", async () => {
    const { store, root } = await open();
    const first = await store.put(`${root}a`, "one");
    const second = await store.put(`${root}a`, "two");
    expect(await kindOf(store.remove(`${root}a`, { ifEtag: first }))).toBe("conflict");
    expect(await textOf(store, `${root}a`)).toBe("two");
    await store.remove(`${root}a`, { ifEtag: second });
    expect(await store.find(`${root}a`)).toBeUndefined();
    await store.remove(`${root}a`);
    await store.remove(`${root}a`, { ifEtag: second });
  });
}

function describeListing(open: Open, test: Check): void {
  const keysOf = async (store: Store, prefix: string, options?: ListOptions) =>
    (await store.list(prefix, options)).map(({ key }) => key.slice(prefix.length));

  test("keys come in the order of their UTF-8 bytes, with size and tag, of the prefix alone", async () => {
    const { store, root } = await open();
    const names = ["b", "a/1", "a-1", "B", "é", "\u{1f9a6}", "\uff5e", "a"];
    for (const name of names) await store.put(`${root}in/${name}`, name);
    await store.put(`${root}inner`, "");
    const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await keysOf(store, `${root}in/`)).toEqual(sorted);
    const [first] = await store.list(`${root}in/`, { limit: 1 });
    expect(first).toEqual(
      expect.objectContaining({ bytes: 1, etag: (await store.findInfo(`${root}in/B`))?.etag }),
    );
    expect(await store.list(`${root}none/`)).toEqual([]);
  });

  for (const name of ODD_NAMES) {
    test(`a key with ${JSON.stringify(name)} in it is put, found, listed and removed`, async () => {
      const { store, root } = await open();
      const key = `${root}${name}/${name}`;
      await store.put(key, name);
      expect(await textOf(store, key)).toBe(name);
      expect(await keysOf(store, root)).toEqual([`${name}/${name}`]);
      expect(await keysOf(store, root, { after: key })).toEqual([]);
      await store.remove(key);
      expect(await store.list(root)).toEqual([]);
    });
  }

  test("a list of more than a page is whole, and goes on after a key or stops at a limit", async () => {
    const { store, root } = await open();
    const names = Array.from({ length: 1_105 }, (_, index) => String(index).padStart(5, "0"));
    for (let start = 0; start < names.length; start += 50) {
      const batch = names.slice(start, start + 50);
      await Promise.all(batch.map((name) => store.put(`${root}${name}`, "")));
    }
    expect(await keysOf(store, root)).toEqual(names);
    expect(await keysOf(store, root, { after: `${root}01099` })).toEqual(names.slice(1_100));
    expect(await keysOf(store, root, { limit: 3 })).toEqual(names.slice(0, 3));
    expect(await keysOf(store, root, { limit: 1_050 })).toEqual(names.slice(0, 1_050));
    expect(await keysOf(store, root, { after: `${root}00009`, limit: 2 })).toEqual(
      names.slice(10, 12),
    );
    // A key that is not there is as good a place to go on from.
    expect(await keysOf(store, root, { after: `${root}01099z` })).toEqual(names.slice(1_100));
  });
}

function describeCopying(open: Open, test: Check): void {
  for (const name of ["plain", ...ODD_NAMES]) {
    test(`a copy of ${JSON.stringify(name)} is the same object`, async () => {
      const { store, root } = await open();
      const key = `${root}from/${name}`;
      const etag = await store.put(key, name, { metadata: { workflow: "train" } });
      await store.copy({ key, etag }, `${root}to/${name}`);
      const copy = await store.find(`${root}to/${name}`);
      expect(new TextDecoder().decode(copy?.body)).toBe(name);
      expect(copy?.metadata).toEqual({ workflow: "train" });
      expect(await textOf(store, key)).toBe(name);
    });
  }

  test("a copy of a large object is the same object", async () => {
    const { store, root } = await open();
    const body = Uint8Array.from({ length: 12_000_001 }, (_, index) => (index * 31) % 251);
    const etag = await store.put(`${root}a`, body, { metadata: { workflow: "train" } });
    await store.copy({ key: `${root}a`, etag }, `${root}b`);
    const copy = await store.find(`${root}b`);
    expect(Buffer.compare(copy?.body ?? bytesOf(""), body)).toBe(0);
    expect(copy?.metadata).toEqual({ workflow: "train" });
    await store.put(`${root}a`, body.subarray(1));
    expect(await kindOf(store.copy({ key: `${root}a`, etag }, `${root}c`))).toBe("conflict");
  });

  test("copying a version that is another by now is a conflict, and copies nothing", async () => {
    const { store, root } = await open();
    const etag = await store.put(`${root}a`, "one");
    await store.put(`${root}a`, "two");
    expect(await kindOf(store.copy({ key: `${root}a`, etag }, `${root}b`))).toBe("conflict");
    expect(await store.find(`${root}b`)).toBeUndefined();
  });

  test("copying what is gone is not-found", async () => {
    const { store, root } = await open();
    const etag = await store.put(`${root}a`, "one");
    await store.remove(`${root}a`);
    expect(await kindOf(store.copy({ key: `${root}a`, etag }, `${root}b`))).toBe("not-found");
  });
}
