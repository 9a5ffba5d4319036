/** The bucket of the simulated world: tells of each change, and lets an object be unreadable for a while. */
import type { StoredObject } from "../../src/ports.ts";
import { Bucket } from "../support/bucket.ts";

/** What a version of Errand that does not exist yet would write. */
const UNREADABLE = new TextEncoder().encode('{"format":99}');

export class WatchedBucket extends Bucket {
  readonly #onWrite: (key: string) => void;
  readonly #onRemove: (key: string, body: string) => void;
  readonly #unreadable = new Set<string>();
  readonly #everDamaged = new Set<string>();
  readonly #counts = new Map<string, number>();

  constructor(
    now: () => number,
    {
      onWrite,
      onRemove,
    }: { onWrite: (key: string) => void; onRemove: (key: string, body: string) => void },
  ) {
    super(now);
    this.#onWrite = onWrite;
    this.#onRemove = onRemove;
  }

  /** How many objects there are in a folder of the first level, such as "open/". */
  count(folder: string): number {
    return this.#counts.get(folder) ?? 0;
  }

  /** Until it is mended, Errand reads something else; who looks on with `read` does not. */
  damage(key: string): void {
    this.#unreadable.add(key);
    this.#everDamaged.add(key);
  }

  mend(key: string): void {
    this.#unreadable.delete(key);
  }

  isDamaged = (key: string): boolean => this.#unreadable.has(key);

  /** Some time, though it may be mended by now. */
  wasDamaged = (key: string): boolean => this.#everDamaged.has(key);

  get hadDamage(): boolean {
    return this.#everDamaged.size > 0;
  }

  override write(key: string, body: Uint8Array | string, metadata = {}): string {
    if (this.read(key) === undefined) this.#add(key, 1);
    const etag = super.write(key, body, metadata);
    this.#onWrite(key);
    return etag;
  }

  override async find(key: string, bytesMax?: number): Promise<StoredObject | undefined> {
    const found = await super.find(key, bytesMax);
    return found && this.isDamaged(key) ? { ...found, body: UNREADABLE } : found;
  }

  override async findUnless(key: string, etag: string, bytesMax?: number) {
    return this.isDamaged(key) ? this.find(key, bytesMax) : super.findUnless(key, etag, bytesMax);
  }

  override async remove(key: string, condition?: { ifEtag: string }): Promise<void> {
    const body = this.read(key);
    await super.remove(key, condition);
    if (body === undefined) return;
    this.#add(key, -1);
    this.#onRemove(key, body);
  }

  #add(key: string, by: number): void {
    const folder = key.slice(0, key.indexOf("/") + 1);
    this.#counts.set(folder, this.count(folder) + by);
  }
}
