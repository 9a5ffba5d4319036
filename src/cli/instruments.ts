/** All that watches the daemon: metrics, health, and the system that has started it. */
import type { Meter } from "../daemon/meter.ts";
import type { Log } from "../log.ts";
import type { Clock } from "../ports.ts";
import { createHealth } from "./health.ts";
import type { Metrics } from "./metrics.ts";
import { tellServiceManager } from "./service-manager.ts";
import { startStatusServer } from "./status-server.ts";

export type Instruments = {
  readonly meter: Meter;
  readonly close: () => Promise<void>;
};

export type InstrumentOptions = {
  readonly metrics: Metrics;
  /** Where `/metrics` and `/healthz` are served; undefined: nowhere. */
  readonly port: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the daemon is to stop. */
  readonly stop: AbortSignal;
};

/** Throws UserError when the port is taken. */
export async function startInstruments(options: InstrumentOptions): Promise<Instruments> {
  const { metrics, port, clock } = options;
  const closing = new AbortController();
  const stop = AbortSignal.any([options.stop, closing.signal]);
  const health = createHealth(clock);
  const server =
    port === undefined ? undefined : await startStatusServer(port, { metrics, health });
  const manager = tellServiceManager({ ...options, health, stop });
  const meter: Meter = {
    ...metrics,
    turned: (loop, at) => {
      metrics.turned(loop, at);
      health.turned(loop, at);
    },
    leased: (isHeld) => {
      metrics.leased(isHeld);
      manager.leased(isHeld);
    },
  };
  return {
    meter,
    close: async () => {
      closing.abort();
      await server?.stop();
    },
  };
}
