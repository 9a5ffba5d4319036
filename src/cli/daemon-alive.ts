/** Whether a daemon is at work on this bucket, by its lease: the commands themselves never talk to it. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import type { Store } from "../ports.ts";

const leaseSchema = z.object({ until: z.number() });

/** `now` in milliseconds. Clocks differ by seconds at most, which a lease of 30 s forgives. */
export async function isDaemonAlive(store: Store, now: number): Promise<boolean> {
  const object = await store.find(key.lease);
  if (!object) return false;
  const lease = leaseSchema.safeParse(JSON.parse(new TextDecoder().decode(object.body)));
  return lease.success && lease.data.until > now;
}

/** What a command says when a run waits and nobody will take it up. */
export const startHint = (isLocal: boolean): string =>
  isLocal
    ? "no daemon is running: start one with errand daemon --local"
    : "no daemon is running: start one with errand daemon";
