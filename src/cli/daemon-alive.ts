/** Whether a daemon is at work on this bucket, by its lease: the commands themselves never talk to it. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import { readDocument } from "../daemon/documents.ts";
import type { Store } from "../ports.ts";
import type { Connection } from "./connect.ts";

const leaseSchema = z.object({ until: z.number() });

/** `now` in milliseconds. Clocks differ by seconds at most, which a lease of 30 s forgives. */
export async function isDaemonAlive(store: Store, now: number): Promise<boolean> {
  const lease = await readDocument(store, key.lease, leaseSchema);
  return lease.type === "found" && lease.content.until > now;
}

/** What a command says when a run waits and nobody will take it up. */
export const startHint = ({ placeWords }: Pick<Connection, "placeWords">): string =>
  `no daemon is running: start one with errand daemon${placeWords}`;
