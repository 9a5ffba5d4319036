/**
 * Virtual time. Everything that waits, waits here; when nothing can go on without time going by, the
 * next thing that is due happens. The order depends on what was asked for and on nothing else.
 */

type Timer = { readonly at: number; readonly order: number; readonly ring: () => void };

/** As much of an AbortSignal as a sleeper needs. The platform's own cost ten times as much as the sleep. */
export type Alarm = {
  readonly aborted: boolean;
  addEventListener(type: "abort", wake: () => void): void;
  removeEventListener(type: "abort", wake: () => void): void;
};

/** One that the simulation raises itself. */
export class Flag implements Alarm {
  readonly #wakes = new Set<() => void>();
  aborted = false;

  raise = (): void => {
    this.aborted = true;
    for (const wake of [...this.#wakes]) wake();
  };

  addEventListener(_: "abort", wake: () => void): void {
    this.#wakes.add(wake);
  }

  removeEventListener(_: "abort", wake: () => void): void {
    this.#wakes.delete(wake);
  }
}

export class Timeline {
  #timers: Timer[] = [];
  readonly #sleepers = new Set<() => void>();
  #now: number;
  #count = 0;
  #readsLeft = 0;
  #rings = 0;

  constructor(startMs: number) {
    this.#now = startMs;
  }

  now = (): number => this.#now;

  /** Resolves after `ms`, or early, without an error, when one of the alarms is raised. */
  sleep = (ms: number, ...alarms: readonly Alarm[]): Promise<void> => {
    if (alarms.some((alarm) => alarm.aborted)) return Promise.resolve();
    return new Promise((resolve) => {
      const leave = (): void => {
        for (const alarm of alarms) alarm.removeEventListener("abort", wake);
        this.#sleepers.delete(leave);
      };
      const wake = (): void => {
        leave();
        resolve();
      };
      if (Number.isFinite(ms)) this.at(this.#now + Math.max(0, ms), wake);
      if (alarms.length === 0) return;
      for (const alarm of alarms) alarm.addEventListener("abort", wake);
      this.#sleepers.add(leave);
    });
  };

  /** Calls `ring` at a moment that is not in the past. */
  at(moment: number, ring: () => void): void {
    this.#count += 1;
    push(this.#timers, { at: Math.max(moment, this.#now), order: this.#count, ring });
  }

  /** Lets time go by until `isOver`, or until `moment`. Says whether it is over. */
  async runUntil(moment: number, isOver: () => boolean = () => false): Promise<boolean> {
    await this.#settle();
    while (!isOver()) {
      const next = this.#timers[0];
      if (!next || next.at > moment) {
        if (Number.isFinite(moment)) this.#now = Math.max(this.#now, moment);
        return isOver();
      }
      pop(this.#timers);
      this.#now = next.at;
      next.ring();
      await this.#settle();
    }
    return true;
  }

  /** A stream is being read, in parts that the event loop hands out: it has to turn before time goes on. */
  reading = (): void => {
    this.#readsLeft = READ_TURNS;
  };

  /** Nothing more happens: whoever sleeps is forgotten, and with it all that it knew. */
  end(): void {
    this.#timers = [];
    for (const leave of [...this.#sleepers]) leave();
  }

  /** Every promise that can go on without time going by has gone on: ticks, and immediates, come after all microtasks. */
  async #settle(): Promise<void> {
    await new Promise<void>((resolve) => process.nextTick(resolve));
    this.#rings += 1;
    if (this.#rings % RINGS_PER_TURN === 0) this.#readsLeft += 1;
    while (this.#readsLeft > 0) {
      this.#readsLeft -= 1;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}

/** The event loop is dear, and turned now and then all the same: nothing may wait for it in vain. */
const RINGS_PER_TURN = 16;
/** More turns of the event loop than reading a small archive takes between two calls. */
const READ_TURNS = 20;

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
