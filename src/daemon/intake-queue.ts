/**
 * Drops on their way in: several at once, each once at a time. A drop is anybody's: one that takes long goes aside,
 * and one of thousands waits behind those of its own folder, so that neither keeps the others from their turn.
 */
import PQueue from "p-queue";
import { RUN_ID } from "../core/layout.ts";
import { describeError, isCloudError } from "../errors.ts";
import { parseDropKey } from "./drop-name.ts";
import { type FairOptions, FairQueue } from "./fair-queue.ts";
import { type Intake, takeIn } from "./intake.ts";

export type IntakeQueue = {
  /** Takes these drops in; `onDone` is called when all of them are. One that fails is found again by the sweep. */
  readonly take: (keys: readonly string[], onDone?: () => Promise<void>) => void;
  /** How many wait, or are being taken in. */
  readonly depth: () => number;
  readonly onIdle: () => Promise<void>;
};

/** Reading a bundle is mostly waiting for S3. */
const INTAKES_AT_ONCE = 8;
/** Of those that unpack much: each keeps a thread busy. */
const LONG_INTAKES_AT_ONCE = 2;

export function createIntakeQueue(
  intake: Intake,
  {
    onTaken,
    onBug,
    stop,
  }: { onTaken: () => void; onBug: (error: unknown) => void; stop: AbortSignal },
): IntakeQueue {
  const queue = new PQueue<FairQueue, FairOptions>({
    concurrency: INTAKES_AT_ONCE,
    queueClass: FairQueue,
  });
  const longQueue = new PQueue({ concurrency: LONG_INTAKES_AT_ONCE });
  /** By the run they may become: two drops with one chosen id are taken in one after the other. */
  const underWay = new Map<string, { readonly key: string; readonly done: Promise<boolean> }>();

  async function takeOne(key: string, goAside: () => Promise<void>): Promise<boolean> {
    if (stop.aborted) return false;
    try {
      await takeIn({ ...intake, goAside }, key);
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

  /** In its turn; its place among the short ones is free once it has gone aside. */
  function takeInTurn(key: string, source: string): Promise<boolean> {
    return new Promise((resolve) => {
      const turn = () =>
        new Promise<void>((leave) => {
          const goAside = () => {
            leave();
            return new Promise<void>((goOn) => {
              void longQueue.add(() => {
                goOn();
                return done;
              });
            });
          };
          const done = takeOne(key, goAside);
          void done.then(resolve).finally(leave);
        });
      void queue.add(turn, { source });
    });
  }

  function begin(key: string): Promise<boolean> {
    const { name, workflow = "" } = parseDropKey(key);
    const isChosen = RUN_ID.test(name);
    const lock = isChosen ? name : key;
    const before = underWay.get(lock);
    if (before?.key === key) return before.done;
    // What `submit` sends is checked already, and need not wait behind what is not.
    const source = `${isChosen ? "chosen" : "other"} ${workflow}`;
    const done = (before?.done ?? Promise.resolve(true))
      .then(() => takeInTurn(key, source))
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
    onIdle: async () => {
      await queue.onIdle();
      await longQueue.onIdle();
    },
  };
}
