/** The daemon's copy of `capacity.json`: which offers rest. Only the holder of the lease writes it. */
import { z } from "zod";
import { type Capacity, capacitySchema, rested } from "../core/capacity.ts";
import { key } from "../core/layout.ts";
import type { Offer } from "../core/offers.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

export type CapacityBook = {
  readonly current: () => Capacity;
  /** Puts an offer to rest. */
  readonly rest: (
    offer: Pick<Offer, "instanceType" | "zone">,
    refusal: { readonly code: string; readonly at: number },
  ) => void;
  /** Writes what has changed since the last save. */
  readonly save: () => Promise<void>;
  /** Another daemon has planned meanwhile: what it wrote is read by the next `refresh`. */
  readonly forget: () => void;
  readonly refresh: () => Promise<void>;
};

export async function openCapacityBook(store: Store): Promise<CapacityBook> {
  let capacity = await readCapacity(store);
  let saved = capacity;
  let isStale = false;
  return {
    current: () => capacity,
    rest: (offer, refusal) => {
      capacity = rested(capacity, offer, refusal);
    },
    save: async () => {
      if (saved === capacity) return;
      const current = capacity;
      await store.put(key.capacity, JSON.stringify({ format: 1, rests: current }));
      saved = current;
    },
    forget: () => {
      isStale = true;
    },
    refresh: async () => {
      if (!isStale) return;
      saved = await readCapacity(store);
      capacity = merged(saved, capacity);
      isStale = false;
    },
  };
}

/** Of two rests of one offer the longer one. */
function merged(one: Capacity, other: Capacity): Capacity {
  const longer = Object.entries(other).filter(
    ([offer, { until }]) => until > (one[offer]?.until ?? 0),
  );
  return longer.length === 0 ? one : { ...one, ...Object.fromEntries(longer) };
}

/** What cannot be read is begun anew: it costs one refused launch per offer. */
async function readCapacity(store: Store): Promise<Capacity> {
  const document = await readDocument(store, key.capacity, bookSchema);
  return document.type === "found" ? document.content.rests : {};
}

const bookSchema = z.object({ format: z.literal(1), rests: capacitySchema });
