/** What the daemon does, as Prometheus metrics; docs/operations.md lists them with alerts. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { AwsCall } from "../aws/watch-calls.ts";
import type { Loop, Meter } from "../daemon/meter.ts";

export type Metrics = Meter & {
  readonly called: (call: AwsCall) => void;
  /** Where the number of followed logs can be read. */
  readonly watchFollowers: (count: () => number) => void;
  /** In Prometheus' text format. */
  readonly render: () => Promise<{ readonly type: string; readonly text: string }>;
};

/** Seconds. */
const LOOK_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const CALL_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = gaugesOf(registry);
  gauge("errand_build_info", "The version that runs; always 1.", ["version"]).set({ version }, 1);
  return {
    ...meterOf(registry),
    ...callsOf(registry),
    watchFollowers: (count) =>
      pull(registry, "errand_followers", "Logs that are followed live.", count),
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}

const gaugesOf =
  (registry: Registry) =>
  (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name, help, labelNames, registers: [registry] });

/** A gauge that is read when somebody asks. */
function pull(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    ...{ name, help, registers: [registry] },
    collect() {
      this.set(read());
    },
  });
}

function meterOf(registry: Registry): Meter {
  const gauge = gaugesOf(registry);
  const registers = [registry];
  const turned = gauge("errand_loop_turned_timestamp_seconds", "When a loop last came round.", [
    "loop",
  ]);
  const isHeld = gauge("errand_lease_held", "1 for the daemon that plans, 0 for one on standby.");
  const look = new Histogram({
    ...{ name: "errand_look_seconds", help: "From listing instances to the last choice saved." },
    ...{ buckets: LOOK_BUCKETS, registers },
  });
  const openRuns = gauge("errand_open_runs", "Runs that are not finished.");
  const holds = gauge("errand_holds", "Jobs that wait, by why.", ["reason"]);
  const instances = gauge("errand_instances", "Living instances with this installation's tag.");
  const hourly = gauge("errand_hourly_usd", "What living attempts cost an hour, US dollars.");
  const launches = new Counter({
    ...{ name: "errand_launched_instances_total", labelNames: ["outcome"], registers },
    help: "Instances launched, or refused by EC2, by its answer.",
  });
  return {
    turned: (loop: Loop, at) => turned.set({ loop }, at / 1_000),
    leased: (held) => isHeld.set(held ? 1 : 0),
    launched: (outcome, count) => launches.inc({ outcome }, count),
    looked: (looked) => {
      look.observe(looked.tookMs / 1_000);
      openRuns.set(looked.openRuns);
      instances.set(looked.instances);
      hourly.set(looked.hourlyUsd);
      // A reason that nobody has any more.
      holds.reset();
      for (const [reason, count] of Object.entries(looked.holds)) holds.set({ reason }, count);
    },
    watch: (queue, depth) =>
      pull(registry, `errand_${queue}_waiting`, `${WAITING[queue]} not dealt with yet.`, depth),
  };
}

const WAITING = { intake: "Drops", events: "Events" };

function callsOf(registry: Registry): Pick<Metrics, "called"> {
  const registers = [registry];
  const calls = new Counter({
    ...{ name: "errand_aws_calls_total", registers },
    help: "Calls of AWS, each try counted, by its answer: ok, throttled, or what kind of error.",
    labelNames: ["service", "operation", "outcome"],
  });
  const seconds = new Histogram({
    ...{ name: "errand_aws_call_seconds", help: "How long AWS took to answer a try." },
    ...{ buckets: CALL_BUCKETS, labelNames: ["service", "operation"], registers },
  });
  return {
    called: ({ service, operation, outcome, tookMs }) => {
      calls.inc({ service, operation, outcome });
      seconds.observe({ service, operation }, tookMs / 1_000);
    },
  };
}
