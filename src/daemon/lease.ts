/**
 * Who plans. `lease.json` names the daemon that plans and launches; a second one stands by and takes
 * over when the lease lapses. Ceilings hold because planning is serial. Claims cover a holder that was
 * paused past its lease and does not know it.
 */
import { z } from "zod";
import { key } from "../core/layout.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

export const LEASE_MS = 30_000;
/** Renewed well before it lapses: two renewals may fail. */
export const RENEW_MS = 10_000;

const leaseSchema = z.object({
  format: z.literal(1),
  /** Random, one per daemon process. */
  holder: z.string(),
  host: z.string(),
  pid: z.number(),
  /** By the holder's clock. */
  until: z.number(),
});
export type Lease = z.infer<typeof leaseSchema>;

export type Holder = Pick<Lease, "holder" | "host" | "pid">;

/** Undefined when nobody has it, or nobody can read it. */
export async function readLease(store: Store): Promise<Lease | undefined> {
  const document = await readDocument(store, key.lease, leaseSchema);
  return document.type === "found" ? document.content : undefined;
}

export type LeaseKeeper = {
  /** Takes or renews the lease. False while another daemon has it. */
  readonly renew: () => Promise<boolean>;
  /** True while our lease runs, by our clock. */
  readonly isHeld: () => boolean;
  /** Who has it, as last seen. */
  readonly seen: () => Lease | undefined;
  /** Gives it back, so that the next daemon need not wait. */
  readonly release: () => Promise<void>;
};

export function keepLease(
  store: Store,
  me: Holder,
  {
    now,
    isDead,
  }: {
    now: () => number;
    /** True only when the holder certainly runs no more: its host is ours and its process is gone. */
    isDead: (holder: Holder) => boolean;
  },
): LeaseKeeper {
  let heldUntil = 0;
  let seen: Lease | undefined;
  /** When we first saw the lease as it stands, by our clock: two clocks need not agree. */
  let watched = { etag: "", since: 0 };

  async function renew(): Promise<boolean> {
    const at = now();
    const document = await readDocument(store, key.lease, leaseSchema);
    seen = document.type === "found" ? document.content : undefined;
    if (document.type !== "absent" && seen?.holder !== me.holder && !hasLapsed(document.etag, at)) {
      heldUntil = 0;
      return false;
    }
    const lease = { format: 1, ...me, until: at + LEASE_MS };
    const condition =
      document.type === "absent" ? ({ ifAbsent: true } as const) : { ifEtag: document.etag };
    try {
      await store.put(key.lease, JSON.stringify(lease), { condition });
    } catch (error) {
      if (!isCloudError(error, "conflict")) throw error;
      // Another was first, or our own write had its reply lost: the next renewal tells which.
      return now() < heldUntil;
    }
    heldUntil = at + LEASE_MS;
    return true;
  }

  /** Also of a lease that this version cannot read: a newer daemon may hold it. */
  function hasLapsed(etag: string, at: number): boolean {
    if (seen && isDead(seen)) return true;
    if (watched.etag !== etag) watched = { etag, since: at };
    return at - watched.since > LEASE_MS;
  }

  async function release(): Promise<void> {
    const isOurs = now() < heldUntil;
    heldUntil = 0;
    if (!isOurs) return;
    const document = await readDocument(store, key.lease, leaseSchema);
    if (document.type === "found" && document.content.holder === me.holder) {
      await store.remove(key.lease, { ifEtag: document.etag });
    }
  }

  return { renew, isHeld: () => now() < heldUntil, seen: () => seen, release };
}
