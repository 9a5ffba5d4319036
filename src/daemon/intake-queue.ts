/** Drops on their way in: several at once, each once at a time. */
import PQueue from "p-queue";
import { RUN_ID } from "../core/layout.ts";
import { describeError, isCloudError } from "../errors.ts";
import { parseDropKey } from "./drop-name.ts";
import { type Intake, takeIn } from "./intake.ts";

export type IntakeQueue = {
  /** Takes these drops in; `onDone` is called when all of them are. One that fails is found again by the sweep. */
  readonly take: (keys: readonly string[], onDone?: () => Promise<void>) => void;
  /** How many wait, or are being taken in. */
  readonly depth: () => number;
  readonly onIdle: () => Promise<void>;
};

/** Reading a bundle is mostly waiting for S3 and unpacking. */
const INTAKES_AT_ONCE = 4;

export function createIntakeQueue(
  intake: Intake,
  {
    onTaken,
    onBug,
    stop,
  }: { onTaken: () => void; onBug: (error: unknown) => void; stop: AbortSignal },
): IntakeQueue {
  const queue = new PQueue({ concurrency: INTAKES_AT_ONCE });
  /** By the run they may become: two drops with one chosen id are taken in one after the other. */
  const underWay = new Map<string, { readonly key: string; readonly done: Promise<boolean> }>();

  async function takeOne(key: string): Promise<boolean> {
    if (stop.aborted) return false;
    try {
      await takeIn(intake, key);
      onTaken();
      return true;
    } catch (error) {
      if (isCloudError(error)) {
        intake.log.warn("intake put off", { key, error: describeError(error) });
      } else {
        onBug(error);
      }
      return false;
    }
  }

  function begin(key: string): Promise<boolean> {
    const { name } = parseDropKey(key);
    const lock = RUN_ID.test(name) ? name : key;
    const before = underWay.get(lock);
    if (before?.key === key) return before.done;
    const done = (before?.done ?? Promise.resolve(true))
      .then(() => queue.add(() => takeOne(key)))
      .finally(() => {
        if (underWay.get(lock)?.done === done) underWay.delete(lock);
      });
    underWay.set(lock, { key, done });
    return done;
  }

  return {
    take: (keys, onDone) => {
      const all = Promise.all(keys.map(begin));
      void all.then((done) => (done.every(Boolean) ? onDone?.() : undefined)).catch(onBug);
    },
    depth: () => underWay.size,
    onIdle: () => queue.onIdle(),
  };
}
