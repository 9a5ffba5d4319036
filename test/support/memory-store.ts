/** The simulated bucket, filled, for tests that ask what is read and written. */
import type { Store } from "../../src/ports.ts";
import { Bucket } from "./bucket.ts";

export type MemoryStore = Store & {
  /** What was called, as "put records/x.json" or "list log/ after 0000000001", in order. */
  readonly calls: string[];
};

export function makeStore(contents: Readonly<Record<string, string | object>> = {}): MemoryStore {
  const bucket = new Bucket(() => 0);
  for (const [key, content] of Object.entries(contents)) {
    bucket.write(key, typeof content === "string" ? content : JSON.stringify(content));
  }
  const calls: string[] = [];
  const recorded = (name: string, args: readonly unknown[]) => {
    const after = name === "list" && (args[1] as { after?: string } | undefined)?.after;
    calls.push(`${name} ${args[0]}${after ? ` after ${after}` : ""}`);
  };
  const store: Store = new Proxy(bucket, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        recorded(String(name), args);
        return method.apply(target, args);
      };
    },
  });
  return {
    calls,
    find: store.find,
    findUnless: store.findUnless,
    findInfo: store.findInfo,
    open: store.open,
    put: store.put,
    list: store.list,
    copy: store.copy,
    remove: store.remove,
  };
}
