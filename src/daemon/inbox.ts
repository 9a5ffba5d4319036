/** What runners and users leave for the daemon: reports and cancel requests. Absorbed into the record, saved, then deleted. */
import { prefix } from "../core/layout.ts";
import {
  type CancelRequest,
  cancelRequestSchema,
  type Report,
  reportSchema,
} from "../core/observation.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

export type Inbox = {
  readonly reports: readonly Delivered<Report>[];
  /** By run id. */
  readonly cancels: ReadonlyMap<string, Delivered<CancelRequest>>;
  /** Keys of reports nobody can read. */
  readonly unreadable: readonly string[];
};

export type Delivered<Content> = {
  readonly key: string;
  readonly etag: string;
  readonly content: Content;
};

export async function readInbox(store: Store): Promise<Inbox> {
  const [reportInfos, cancelInfos] = await Promise.all([
    store.list(prefix.reports),
    store.list(prefix.cancels),
  ]);
  const unreadable: string[] = [];
  const reports: Delivered<Report>[] = [];
  const cancels = new Map<string, Delivered<CancelRequest>>();
  await Promise.all([
    ...reportInfos.map(async (info) => {
      const report = await readDocument(store, info.key, reportSchema, NOTE_BYTES_MAX);
      if (report.type === "found") {
        reports.push({ key: info.key, etag: report.etag, content: report.content });
      }
      if (report.type === "unreadable") unreadable.push(info.key);
    }),
    ...cancelInfos.map(async (info) => {
      const request = await readDocument(store, info.key, cancelRequestSchema, NOTE_BYTES_MAX);
      if (request.type === "absent") return;
      // Whatever it says, somebody asked for the run to end.
      const plain = { now: false, at: info.modifiedAt };
      const run = info.key.slice(prefix.cancels.length);
      const content = request.type === "found" ? request.content : plain;
      cancels.set(run, { key: info.key, etag: request.etag, content });
    }),
  ]);
  return { reports, cancels, unreadable };
}

/** A report is small, though one of a job with many artifacts is not tiny; what is larger is not ours. */
const NOTE_BYTES_MAX = 1024 * 1024;

/** After the record that absorbed them is saved, never before. */
export async function removeAbsorbed(
  store: Store,
  run: string,
  { inbox, reports }: { inbox: Inbox; reports: readonly Delivered<Report>[] },
): Promise<void> {
  const cancel = inbox.cancels.get(run);
  await Promise.all([
    ...reports.map((report) => store.remove(report.key)),
    ...(cancel ? [removeCancel(store, cancel)] : []),
  ]);
}

/** One that was made more urgent since it was read has not been absorbed. */
async function removeCancel(store: Store, { key, etag }: Delivered<CancelRequest>): Promise<void> {
  try {
    await store.remove(key, { ifEtag: etag });
  } catch (error) {
    if (!isCloudError(error, "conflict", "not-found")) throw error;
  }
}
