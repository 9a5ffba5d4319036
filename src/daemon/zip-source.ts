/**
 * An object of the bucket as yauzl reads zips: by ranges. It asks for each entry of the directory with two small
 * reads, which would be two calls of S3 each: they are served from a window.
 */
import { addAbortSignal, PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { RandomAccessReader } from "yauzl";

/** A zip is read from its end. */
export type ZipSource = {
  readonly bytes: number;
  /** The bytes from `start` to `end`, both included, as `Store.open` and HTTP count them. */
  readonly read: (start: number, end: number) => Promise<AsyncIterable<Uint8Array>>;
};

const WINDOW_BYTES = 1_048_576;

type Window = { readonly start: number; readonly bytes: Buffer };

export class ZipSourceReader extends RandomAccessReader {
  readonly #source: ZipSource;
  readonly #signal: AbortSignal;
  #window: Window = { start: 0, bytes: Buffer.alloc(0) };
  /** The source's own error: yauzl may tell of another that followed from it. */
  failure: unknown;
  /** Rejects when it is broken off, as when yauzl throws at what it has read, where nobody but the process would catch it. */
  readonly broken: Promise<never>;
  readonly breakOff: (error: unknown) => void;

  constructor(source: ZipSource, signal: AbortSignal) {
    super();
    this.#source = source;
    this.#signal = signal;
    let breakOff: (error: unknown) => void = () => {};
    this.broken = new Promise((_, reject) => {
      breakOff = reject;
    });
    this.broken.catch(() => {});
    this.breakOff = breakOff;
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#look(position, length)
      .then(
        (bytes) => {
          bytes.copy(target, offset);
          callback(bytes.length < length ? new Error("unexpected end") : null);
        },
        (error: unknown) => {
          this.failure ??= error;
          callback(error instanceof Error ? error : new Error(String(error)));
        },
      )
      .catch(this.breakOff);
  }

  /** Fewer than asked for at the end of the source. */
  async #look(position: number, length: number): Promise<Buffer> {
    this.#signal.throwIfAborted();
    const { start, bytes } = this.#window;
    const isInside = position >= start && position + length <= start + bytes.length;
    if (!isInside) this.#window = await this.#fetch(position, length);
    const from = position - this.#window.start;
    return this.#window.bytes.subarray(from, from + length);
  }

  async #fetch(position: number, length: number): Promise<Window> {
    // The last window reaches back: what stands before the end is read next.
    const start = Math.max(0, Math.min(position, this.#source.bytes - WINDOW_BYTES));
    const end = Math.min(this.#source.bytes, Math.max(position + length, start + WINDOW_BYTES));
    if (position < 0 || position >= end) return { start: position, bytes: Buffer.alloc(0) };
    const chunks: Uint8Array[] = [];
    await pipeline(
      await this.#source.read(start, end - 1),
      async (body: AsyncIterable<Uint8Array>) => {
        for await (const chunk of body) chunks.push(chunk);
      },
      { signal: this.#signal },
    );
    return { start, bytes: Buffer.concat(chunks) };
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const stream = addAbortSignal(this.#signal, new PassThrough());
    this.#fill(stream, start, end).catch((error: unknown) => {
      this.failure ??= error;
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
    });
    return stream;
  }

  async #fill(stream: PassThrough, start: number, end: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (end <= start) return void stream.end();
    const body = await this.#source.read(start, end - 1);
    await pipeline(body, stream, { signal: this.#signal });
  }
}
