/**
 * Virtual time. Everything that waits, waits here; when nothing can go on without time going by, the
 * next thing that is due happens. The order depends on what was asked for and on nothing else.
 */

type Timer = { readonly at: number; readonly order: number; readonly ring: () => void };

export class Timeline {
  readonly #timers: Timer[] = [];
  #now: number;
  #count = 0;

  constructor(startMs: number) {
    this.#now = startMs;
  }

  now = (): number => this.#now;

  /** Resolves after `ms`, or early, without an error, when the signal aborts. */
  sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      if (Number.isFinite(ms)) this.at(this.#now + Math.max(0, ms), wake);
      signal?.addEventListener("abort", wake);
    });
  };

  /** Calls `ring` at a moment that is not in the past. */
  at(moment: number, ring: () => void): void {
    this.#count += 1;
    push(this.#timers, { at: Math.max(moment, this.#now), order: this.#count, ring });
  }

  /** Lets time go by until `isOver`, or until `moment`. Says whether it is over. */
  async runUntil(moment: number, isOver: () => boolean = () => false): Promise<boolean> {
    await settled();
    while (!isOver()) {
      const next = this.#timers[0];
      if (!next || next.at > moment) {
        if (Number.isFinite(moment)) this.#now = Math.max(this.#now, moment);
        return isOver();
      }
      pop(this.#timers);
      this.#now = next.at;
      next.ring();
      await settled();
    }
    return true;
  }
}

/** Every promise that can go on without time going by has gone on: immediates come after all microtasks. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const isBefore = (a: Timer, b: Timer): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);

/** Into a binary heap, the first to ring at 0. */
function push(heap: Timer[], timer: Timer): void {
  let hole = heap.length;
  heap.push(timer);
  while (hole > 0) {
    const up = (hole - 1) >> 1;
    const parent = heap[up];
    if (!parent || !isBefore(timer, parent)) break;
    heap[hole] = parent;
    hole = up;
  }
  heap[hole] = timer;
}

function pop(heap: Timer[]): void {
  const last = heap.pop();
  if (!last || heap.length === 0) return;
  let hole = 0;
  for (;;) {
    const child = smallerChild(heap, hole);
    const below = heap[child];
    if (!below || !isBefore(below, last)) break;
    heap[hole] = below;
    hole = child;
  }
  heap[hole] = last;
}

function smallerChild(heap: readonly Timer[], hole: number): number {
  const left = 2 * hole + 1;
  const [a, b] = [heap[left], heap[left + 1]];
  return a && b && isBefore(b, a) ? left + 1 : left;
}
