/** The outside world, as the daemon and the commands need it. `aws/` implements these; `test/simulation` imitates them. */
import type { Launch } from "./core/launches.ts";
import type { LogLine } from "./core/log-lines.ts";
import type { Instance } from "./core/observation.ts";
import type { Catalog } from "./core/offers.ts";
import type { Quotas } from "./core/quotas.ts";

/** EC2. Every method throws CloudError. */
export interface Cloud {
  /** What may be launched, from a cache that refreshes itself; with these images too, where they exist. */
  readCatalog(imageIds?: readonly string[]): Promise<Catalog>;
  /** The account's vCPU quotas as far as they are known, from a cache that refreshes itself. What cannot be read is as it was. */
  readQuotas(): Promise<Quotas>;
  /** Every instance with this installation's tag that EC2 still lists, dead or alive, read now and to the last page. */
  listInstances(): Promise<readonly Instance[]>;
  /**
   * RunInstances with the launch's token as ClientToken: the same launch again gives the same instances.
   * Returns their ids by launch index. Throws `no-capacity`, `quota` and `refused` as definite answers,
   * `already-launched` where the token was used before, `unavailable` where nobody knows.
   */
  launch(launch: Launch): Promise<readonly string[]>;
  /** Instances of a token, by EC2's own `client-token`, tags or not. */
  listLaunched(token: string): Promise<readonly Instance[]>;
  /** Terminating what is gone, or what EC2 does not know yet, is no error. One bad id does not spare the others. */
  terminate(instanceIds: readonly string[]): Promise<void>;
  /** What an instance has written to its console, as far as EC2 has it; empty where it has nothing, or knows no such instance. */
  readConsole(instanceId: string): Promise<string>;
}

export type ObjectInfo = {
  readonly key: string;
  readonly etag: string;
  readonly bytes: number;
  /** By S3's clock, milliseconds. */
  readonly modifiedAt: number;
};

export type StoredObject = ObjectInfo & {
  readonly body: Uint8Array;
  /** User metadata, keys in lower case without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>;
};

/** What must be true of the object for a write to happen. Violated: CloudError `conflict`. */
export type Condition = { readonly ifAbsent: true } | { readonly ifEtag: string };

export type PutOptions = {
  readonly condition?: Condition;
  readonly contentType?: string;
  readonly metadata?: Readonly<Record<string, string>>;
};

/** One bucket. Reads see all writes before them. Every method throws CloudError. */
export interface Store {
  /** Undefined when there is none. `bytesMax` refuses larger ones as `refused`. */
  find(key: string, bytesMax?: number): Promise<StoredObject | undefined>;
  /** The same, but "unchanged" while the object is still this version: then no body is sent. */
  findUnless(
    key: string,
    etag: string,
    bytesMax?: number,
  ): Promise<StoredObject | "unchanged" | undefined>;
  findInfo(key: string): Promise<(ObjectInfo & Pick<StoredObject, "metadata">) | undefined>;
  /** The body as it comes; `ifEtag` refuses another version as `conflict`, absence is `not-found`. */
  open(key: string, options?: OpenOptions): Promise<AsyncIterable<Uint8Array>>;
  /** Returns the new ETag. */
  put(key: string, body: Uint8Array | string, options?: PutOptions): Promise<string>;
  /** All keys with a prefix, in UTF-8 order, to the last page; `after` skips keys up to and including it, `limit` stops early. */
  list(prefix: string, options?: ListOptions): Promise<readonly ObjectInfo[]>;
  /** A copy of exactly this version, any size; `conflict` when the source has changed, `not-found` when it is gone. */
  copy(from: { readonly key: string; readonly etag: string }, to: string): Promise<void>;
  /** Deleting what is gone is no error. With `ifEtag`, another version stays: `conflict`. */
  remove(key: string, condition?: { readonly ifEtag: string }): Promise<void>;
}

export type Upload = {
  readonly key: string;
  readonly id: string;
  /** By S3's clock, milliseconds. */
  readonly startedAt: number;
};

/** Uploads in parts to the same bucket that are neither completed nor aborted. Every method throws CloudError. */
export interface Uploads {
  /** The first so many below a prefix. */
  list(prefix: string, limit: number): Promise<readonly Upload[]>;
  /** One that is completed or aborted already is no error. */
  abort(upload: Upload): Promise<void>;
}

/** `start` and `end` are the first and the last byte, as in a Range header. */
export type OpenOptions = {
  readonly ifEtag?: string;
  readonly start?: number;
  readonly end?: number;
};
export type ListOptions = { readonly after?: string; readonly limit?: number };

/** Something that happened, and where to look: an object's key, or an instance's id. */
export type Wake =
  | { readonly type: "object"; readonly key: string }
  | { readonly type: "instance"; readonly instanceId: string };

export type Message = { readonly receipt: string; readonly wakes: readonly Wake[] };

/** The queue. Events come at least once, in any order, or never: they wake the loop and decide nothing. */
export interface Events {
  /** Waits up to 20 s for the next ones; none is an answer too. */
  receive(signal: AbortSignal): Promise<readonly Message[]>;
  /** They have been dealt with. */
  acknowledge(messages: readonly Message[]): Promise<void>;
}

/** What a follower of a running log is told. Lines are numbered from 1, as in the durable log, and have the times that they have there. */
export type LogEvent =
  | { readonly type: "lines"; readonly firstLine: number; readonly lines: readonly LogLine[] }
  /** What there is of the line that is being written, or its end where it is long; a later event says it anew. */
  | { readonly type: "open"; readonly number: number; readonly line: LogLine }
  /** Lines that come no more, because the reader was too slow or they are too long: the durable log has them. */
  | { readonly type: "skipped"; readonly firstLine: number; readonly lastLine: number }
  /** The log is followed, or is not for now; for people. */
  | { readonly type: "live" }
  | { readonly type: "waiting"; readonly reason: string };

/** Logs as they are written, from the instances themselves. They are for watching: the durable log is the runner's. */
export interface Logs {
  /**
   * The log of an instance's one job from a line on, each line once and in order, until the signal aborts or the reader stops;
   * what breaks in between is mended, from the next line on. Holds a bounded amount of text for a slow reader. Throws CloudError
   * `refused` where logs cannot be followed at all, saying why and what would mend it.
   */
  follow(instanceId: string, firstLine: number, signal: AbortSignal): AsyncIterable<LogEvent>;
}

export interface Clock {
  now(): number;
  /** Resolves early, without an error, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
