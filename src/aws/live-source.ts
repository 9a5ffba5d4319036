/** When types and prices are read anew, and from where: memory, the bucket, AWS. */
import { describeError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { findLiveTypes, keepLiveTypes, type LiveTypes } from "./live-types.ts";

/** Twelve hours, and up to one more, so that installations of an account do not ask together. */
const REFRESH_MS = 12 * 3_600_000;
const JITTER_MS = 3_600_000;
/** After a reading that failed. */
const RETRY_MS = 3_600_000;

export type LiveSource = {
  /** The newest that is there, without waiting for AWS; undefined where there is none yet. Never rejects. */
  readonly current: () => Promise<LiveTypes | undefined>;
  /** Resolves when no reading is under way. */
  readonly settled: () => Promise<void>;
};

export type LiveSourceOptions = {
  readonly store: Pick<Store, "find" | "put">;
  readonly region: string;
  /** Asks AWS. What is had in part is complained of. */
  readonly read: (complain: (error: unknown) => void) => Promise<LiveTypes>;
  /** They cannot be had, or not be kept: what was there before is used on. Told once as long as the reason stays. */
  readonly onComplaint: (error: unknown) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly random: () => number;
};

export function createLiveSource(options: LiveSourceOptions): LiveSource {
  const { store, region, now } = options;
  const lifeMs = REFRESH_MS + JITTER_MS * options.random();
  let known: LiveTypes | undefined;
  let finding: Promise<void> | undefined;
  let notBefore = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  let toldReason = "";

  function complain(error: unknown): void {
    const reason = describeError(error);
    if (reason !== toldReason) options.onComplaint(error);
    toldReason = reason;
  }

  async function find(): Promise<void> {
    known = await findLiveTypes(store, region).catch((error: unknown) => {
      complain(error);
      return undefined;
    });
  }

  /** Types and prices that are a little old are better than none: whatever goes wrong is told, and tried again later. */
  async function refresh(): Promise<void> {
    let isWhole = true;
    try {
      known = await options.read((error) => {
        isWhole = false;
        complain(error);
      });
      await keepLiveTypes(store, known);
      if (isWhole) toldReason = "";
    } catch (error) {
      notBefore = now() + RETRY_MS;
      complain(error);
    } finally {
      reading = undefined;
    }
  }

  return {
    current: async () => {
      finding ??= find();
      await finding;
      const isDue = known === undefined || known.readAt + lifeMs <= now();
      if (isDue && now() >= notBefore) reading ??= refresh();
      return known;
    },
    settled: async () => reading,
  };
}
