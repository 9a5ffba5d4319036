import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createMetrics } from "../../../src/cli/metrics.ts";
import { type StatusServer, startStatusServer } from "../../../src/cli/status-server.ts";

let running: StatusServer | undefined;
afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function serve(trouble?: string) {
  const metrics = createMetrics("1.2.3");
  const port = await freePort();
  running = await startStatusServer(port, {
    metrics,
    health: { turned: () => {}, trouble: () => trouble },
  });
  const get = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, init);
  return { metrics, port, get };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("what the daemon has told is served as Prometheus reads it", async () => {
  const { metrics, get } = await serve();
  metrics.leased(true);
  metrics.looked({
    ...{ tookMs: 40, openRuns: 3, instances: 2, hourlyUsd: 1.25 },
    holds: { quota: 2, needs: 1 },
  });
  metrics.launched("launched", 2);
  metrics.launched("no-capacity", 1);
  metrics.turned("look", 1_700_000_000_500);
  metrics.watch("intake", () => 7);
  metrics.watchFollowers(() => 4);
  metrics.called({ service: "EC2", operation: "RunInstances", outcome: "throttled", tookMs: 5 });
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0.0.4/);
  const lines = (await response.text()).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      'errand_build_info{version="1.2.3"} 1',
      "errand_lease_held 1",
      "errand_open_runs 3",
      "errand_instances 2",
      "errand_hourly_usd 1.25",
      'errand_holds{reason="quota"} 2',
      'errand_launched_instances_total{outcome="launched"} 2',
      'errand_launched_instances_total{outcome="no-capacity"} 1',
      'errand_loop_turned_timestamp_seconds{loop="look"} 1700000000.5',
      'errand_look_seconds_bucket{le="0.05"} 1',
      'errand_look_seconds_bucket{le="0.025"} 0',
      "errand_intake_waiting 7",
      "errand_followers 4",
      'errand_aws_calls_total{service="EC2",operation="RunInstances",outcome="throttled"} 1',
    ]),
  );
});

test("a reason that no job waits for any more is not told of", async () => {
  const { metrics, get } = await serve();
  const looked = { tookMs: 1, openRuns: 1, instances: 0, hourlyUsd: 0 };
  metrics.looked({ ...looked, holds: { quota: 1 } });
  metrics.looked({ ...looked, holds: { ceiling: 1 } });
  const text = await (await get("/metrics")).text();
  expect(text).toContain('errand_holds{reason="ceiling"} 1');
  expect(text).not.toContain('reason="quota"');
});

test("health is 200 while the loops come round, and 503 with the reason else", async () => {
  const well = await (await serve()).get("/healthz");
  expect([well.status, await well.text()]).toEqual([200, "ok\n"]);
  await running?.stop();
  const ill = await (await serve("the look loop is stuck")).get("/healthz");
  expect([ill.status, await ill.text()]).toEqual([503, "the look loop is stuck\n"]);
});

test("pages in a browser, other names of this host, and writes are refused", async () => {
  const { get } = await serve();
  expect((await get("/metrics", { headers: { origin: "http://evil.example" } })).status).toBe(403);
  expect((await get("/metrics", { method: "POST" })).status).toBe(405);
  expect((await get("/")).status).toBe(404);
});

test("a port that is taken is said, with the setting to change", async () => {
  const { port, metrics } = await serve();
  const health = { turned: () => {}, trouble: () => undefined };
  await expect(startStatusServer(port, { metrics, health })).rejects.toMatchObject({
    name: "UserError",
    message: `serving metrics on 127.0.0.1:${port}`,
    hint: "Choose another `metricsPort`, or none.",
  });
});
