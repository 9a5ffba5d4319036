/**
 * What systemd is told of the daemon: that it takes drops, that it is well, that it stops. By the program `systemd-notify`, since Node
 * has no datagram sockets of the file system; it waits until systemd has read what it says.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { readServiceEnvironment } from "../config.ts";
import { describeError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock } from "../ports.ts";
import type { Health } from "./health.ts";

export type ServiceManager = {
  /** Called in each round: this daemon plans, or stands by for another that does. Both are up. */
  readonly leased: (isHeld: boolean) => void;
};

type Options = {
  readonly health: Health;
  readonly clock: Clock;
  readonly log: Log;
  readonly stop: AbortSignal;
};

/** Of a daemon that systemd has not started, nobody is told. */
const NOBODY: ServiceManager = { leased: () => {} };

const SAY_MS_MAX = 10_000;
const run = promisify(execFile);

export function tellServiceManager(options: Options): ServiceManager {
  const { stop } = options;
  const { socket, watchdogMs } = readServiceEnvironment();
  if (socket === undefined) return NOBODY;
  const say = async (...words: string[]): Promise<void> => {
    try {
      await run("systemd-notify", words, { timeout: SAY_MS_MAX });
    } catch (error) {
      // systemd ends a service that it does not hear of.
      options.log.warn("systemd not told", { words, error: describeError(error) });
    }
  };
  if (watchdogMs !== undefined) void keepQuiet(watchdogMs, say, options);
  stop.addEventListener("abort", () => void say("STOPPING=1", "--status=stopping; jobs go on"));
  let told: boolean | undefined;
  return {
    leased: (isHeld) => {
      if (isHeld === told || stop.aborted) return;
      told = isHeld;
      void say("--ready", `--status=${isHeld ? "taking drops" : "standing by: another plans"}`);
    },
  };
}

/** The watchdog bites when a loop is stuck, or this process. */
async function keepQuiet(
  watchdogMs: number,
  say: (...words: string[]) => Promise<void>,
  { health, clock, log, stop }: Options,
): Promise<void> {
  while (!stop.aborted) {
    const trouble = health.trouble();
    if (trouble) log.error("watchdog not quieted", { trouble });
    else await say("WATCHDOG=1");
    await clock.sleep(watchdogMs / 3, stop);
  }
}
