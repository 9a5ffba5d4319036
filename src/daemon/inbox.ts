/** What runners and users leave for the daemon: reports and cancel requests. Absorbed into the record, saved, then deleted. */
import { key, prefix } from "../core/layout.ts";
import {
  type CancelRequest,
  cancelRequestSchema,
  type Report,
  reportSchema,
} from "../core/observation.ts";
import type { Store } from "../ports.ts";

export type Inbox = {
  readonly reports: readonly Delivered<Report>[];
  /** By run id. */
  readonly cancels: ReadonlyMap<string, CancelRequest>;
  /** Keys of reports nobody can read. */
  readonly unreadable: readonly string[];
};

export type Delivered<Content> = { readonly key: string; readonly content: Content };

export async function readInbox(store: Store): Promise<Inbox> {
  const [reportInfos, cancelInfos] = await Promise.all([
    store.list(prefix.reports),
    store.list(prefix.cancels),
  ]);
  const unreadable: string[] = [];
  const reports: Delivered<Report>[] = [];
  const cancels = new Map<string, CancelRequest>();
  await Promise.all([
    ...reportInfos.map(async (info) => {
      const report = reportSchema.safeParse(await readJson(store, info.key));
      if (report.success) reports.push({ key: info.key, content: report.data });
      else unreadable.push(info.key);
    }),
    ...cancelInfos.map(async (info) => {
      const request = cancelRequestSchema.safeParse(await readJson(store, info.key));
      // Whatever it says, somebody asked for the run to end.
      cancels.set(
        info.key.slice(prefix.cancels.length),
        request.success ? request.data : { now: false, at: info.modifiedAt },
      );
    }),
  ]);
  return { reports, cancels, unreadable };
}

/** Undefined when it is gone or no JSON. A report is small; a large one is not ours. */
async function readJson(store: Store, objectKey: string): Promise<unknown> {
  const object = await store.find(objectKey, REPORT_BYTES_MAX);
  if (!object) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(object.body));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const REPORT_BYTES_MAX = 1024 * 1024;

/** After the record that absorbed them is saved, never before. */
export async function removeAbsorbed(
  store: Store,
  run: string,
  { inbox, reports }: { inbox: Inbox; reports: readonly Delivered<Report>[] },
): Promise<void> {
  const keys = reports.map((report) => report.key);
  if (inbox.cancels.has(run)) keys.push(key.cancel(run));
  await Promise.all(keys.map((each) => store.remove(each)));
}
