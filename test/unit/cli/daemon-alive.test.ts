import { expect, it } from "vitest";
import { isDaemonAlive } from "../../../src/cli/daemon-alive.ts";
import { makeStore } from "../../support/memory-store.ts";

it.each([
  ["no lease is there", {}, false],
  ["the lease runs", { "lease.json": { until: 101 } }, true],
  ["the lease has lapsed", { "lease.json": { until: 100 } }, false],
  ["nobody can read the lease", { "lease.json": "{" }, false],
])("a daemon is alive or not, where %s", async (_, contents, isAlive) => {
  expect(await isDaemonAlive(makeStore(contents), 100)).toBe(isAlive);
});
