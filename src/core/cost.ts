/** What an attempt has cost: on-demand price per second from running, 60 seconds at least. Disks are not in it. */
import type { Attempt } from "./run.ts";

/** EC2 bills each instance for a minute at least. */
export const BILLED_MS_MIN = 60_000;

/** US dollars until `at`, or until its machine was gone. Nothing before EC2 said yes; pending is not billed. */
export function costUsd(attempt: Attempt, at: number): number {
  const begin = attempt.runningAt ?? attempt.started?.at;
  if (begin === undefined) return 0;
  const billedMs = Math.max(BILLED_MS_MIN, (attempt.goneAt ?? at) - begin);
  return (billedMs / 3_600_000) * attempt.offer.hourlyUsd;
}
