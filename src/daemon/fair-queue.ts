/** A queue for p-queue in which sources take turns: whoever puts in thousands delays only those behind them in their own line. */
import type { Queue, QueueAddOptions } from "p-queue";

export type FairOptions = QueueAddOptions & {
  /** Whose line it stands in. */
  readonly source?: string;
};

type Job = () => Promise<unknown>;

export class FairQueue implements Queue<Job, FairOptions> {
  /** Lines in the order in which it is their turn; none is empty. */
  readonly #lines = new Map<string, Job[]>();
  size = 0;

  enqueue(job: Job, { source = "" }: Partial<FairOptions> = {}): void {
    const line = this.#lines.get(source);
    if (line) line.push(job);
    else this.#lines.set(source, [job]);
    this.size += 1;
  }

  dequeue(): Job | undefined {
    const [first] = this.#lines;
    if (!first) return undefined;
    const [source, line] = first;
    const job = line.shift();
    this.#lines.delete(source);
    if (line.length > 0) this.#lines.set(source, line);
    this.size -= 1;
    return job;
  }

  filter(): Job[] {
    return [...this.#lines.values()].flat();
  }

  /** p-queue's priorities: there are none here. */
  setPriority(): void {}
}
