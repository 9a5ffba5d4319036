/** Drops on their way in: several at once, each once at a time. */
import PQueue from "p-queue";
import { describeError, isCloudError } from "../errors.ts";
import { type Intake, takeIn } from "./intake.ts";

export type IntakeQueue = {
  /** Takes these drops in; `onDone` is called when all of them are. One that fails is found again by the sweep. */
  readonly take: (keys: readonly string[], onDone?: () => Promise<void>) => void;
  readonly onIdle: () => Promise<void>;
};

/** Reading a bundle is mostly waiting for S3 and unpacking. */
const INTAKES_AT_ONCE = 4;

export function createIntakeQueue(
  intake: Intake,
  { onTaken, onBug }: { onTaken: () => void; onBug: (error: unknown) => void },
): IntakeQueue {
  const queue = new PQueue({ concurrency: INTAKES_AT_ONCE });
  const underWay = new Map<string, Promise<boolean>>();

  async function takeOne(key: string): Promise<boolean> {
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
    } finally {
      underWay.delete(key);
    }
  }

  function begin(key: string): Promise<boolean> {
    const begun = underWay.get(key) ?? queue.add(() => takeOne(key));
    underWay.set(key, begun);
    return begun;
  }

  return {
    take: (keys, onDone) => {
      const all = Promise.all(keys.map(begin));
      void all.then((done) => (done.every(Boolean) ? onDone?.() : undefined)).catch(onBug);
    },
    onIdle: () => queue.onIdle(),
  };
}
