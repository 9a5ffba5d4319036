/** SQS, fed by S3 and EventBridge: events come late, twice, out of order, or never; what is not acknowledged comes again. */
import type { Events, Message, Wake } from "../../src/ports.ts";
import type { Faults } from "./faults.ts";
import type { Random } from "./random.ts";
import { Flag, type Timeline } from "./timeline.ts";

type Letter = { readonly id: string; readonly wake: Wake; visibleAt: number; receives: number };

const WAIT_MS = 20_000;
const VISIBILITY_MS = 30_000;
/** After this many receives a message goes to the dead-letter queue. */
const RECEIVES_MAX = 5;
const BATCH_SIZE = 10;

export class Mailbox implements Events {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #faults: () => Faults;
  #letters: Letter[] = [];
  #waiting: (() => void)[] = [];
  #count = 0;

  constructor(timeline: Timeline, random: Random, faults: () => Faults) {
    this.#timeline = timeline;
    this.#random = random;
    this.#faults = faults;
  }

  post(wake: Wake): void {
    const { eventLost, eventTwice } = this.#faults();
    if (this.#random.chance(eventLost)) return;
    this.#deliver(wake);
    if (this.#random.chance(eventTwice)) this.#deliver(wake);
  }

  async receive(signal: AbortSignal): Promise<readonly Message[]> {
    const until = this.#timeline.now() + WAIT_MS;
    while (!signal.aborted) {
      const letters = this.#visible().slice(0, BATCH_SIZE);
      if (letters.length > 0) return letters.map((letter) => this.#hand(letter));
      const leftMs = until - this.#timeline.now();
      if (leftMs <= 0) return [];
      const arrival = new Flag();
      this.#waiting.push(arrival.raise);
      await this.#timeline.sleep(leftMs, signal, arrival);
    }
    return [];
  }

  async acknowledge(messages: readonly Message[]): Promise<void> {
    const receipts = new Set(messages.map((message) => message.receipt));
    this.#letters = this.#letters.filter(({ id }) => !receipts.has(id));
  }

  #deliver(wake: Wake): void {
    const arrivesAt = this.#timeline.now() + this.#random.between(100, this.#faults().eventDelayMs);
    this.#timeline.at(arrivesAt, () => {
      this.#count += 1;
      this.#letters.push({ id: String(this.#count), wake, visibleAt: arrivesAt, receives: 0 });
      for (const wakeUp of this.#waiting.splice(0)) wakeUp();
    });
  }

  #visible(): Letter[] {
    return this.#letters.filter(({ visibleAt }) => visibleAt <= this.#timeline.now());
  }

  #hand(letter: Letter): Message {
    letter.visibleAt = this.#timeline.now() + VISIBILITY_MS;
    letter.receives += 1;
    if (letter.receives >= RECEIVES_MAX) {
      this.#letters = this.#letters.filter((each) => each !== letter);
    }
    return { receipt: letter.id, wakes: [letter.wake] };
  }
}
