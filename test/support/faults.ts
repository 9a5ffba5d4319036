/** Rules of faults in a running local cloud, by its control calls. */
import { callLocalCloud } from "../../src/cli/local-control.ts";
import type { LocalNote } from "../../src/cli/local-note.ts";
import type { RuleStatus } from "../../src/local/faults.ts";

export type FaultCalls = {
  /** Returns the ids. */
  add(...rules: object[]): Promise<string[]>;
  list(): Promise<readonly RuleStatus[]>;
  /** How often the rule has happened. */
  fired(id: string): Promise<number>;
  remove(id: string): Promise<void>;
  clear(): Promise<void>;
};

export function makeFaultCalls(cloud: () => Omit<LocalNote, "pid">): FaultCalls {
  const call = async (method: "GET" | "POST" | "DELETE", path: string, body?: unknown) =>
    (await callLocalCloud({ ...cloud(), pid: process.pid }, { method, path, body })) as {
      readonly rules: readonly RuleStatus[];
    };
  const list = async () => (await call("GET", "/_local/faults")).rules;
  return {
    add: async (...rules) =>
      (await call("POST", "/_local/faults", rules)).rules.map(({ id }) => id),
    list,
    fired: async (id) => (await list()).find((rule) => rule.id === id)?.fired ?? 0,
    remove: async (id) => void (await call("DELETE", `/_local/faults/${id}`)),
    clear: async () => void (await call("DELETE", "/_local/faults")),
  };
}
