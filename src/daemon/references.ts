/** What keeps artifacts from retention: tags, runs that are open, and runs that are being taken in. */
import { prefix } from "../core/layout.ts";
import { sourcesOf } from "../core/retention.ts";
import type { Clock, Store } from "../ports.ts";
import { readOpenRuns } from "./records.ts";
import { listTags } from "./tags.ts";

export type References = {
  /** Why each run is kept, by its id. */
  readonly keptBy: ReadonlyMap<string, string>;
  /** Keys of what may refer to any run, since nobody can read it: while there is one, nothing is pruned. */
  readonly unreadable: readonly string[];
};

/** A drop is taken in within minutes. A pin that is older is of one that vanished before it became a run. */
export const PIN_MS = 24 * 60 * 60_000;

export async function readReferences(store: Store, clock: Pick<Clock, "now">): Promise<References> {
  const keptBy = new Map<string, string>();
  // Pins before open runs: one that is gone by now was taken away after its run was marked open.
  // Open runs before tags: a run puts its own tag before its marker goes.
  for (const info of await store.list(prefix.pins)) {
    const [run = "", ...rest] = info.key.slice(prefix.pins.length).split("/");
    if (clock.now() - info.modifiedAt > PIN_MS) await store.remove(info.key);
    else keptBy.set(rest.join("/"), `run ${run} is being taken in and needs it`);
  }
  const open = await readOpenRuns(store);
  for (const { run } of open.saved) {
    keptBy.set(run.id, "it is not closed yet");
    for (const source of sourcesOf(run.jobs)) keptBy.set(source, `open run ${run.id} needs it`);
  }
  const tags = await listTags(store);
  for (const { workflow, tag, content } of tags.found) {
    keptBy.set(content.run, `tag ${workflow}:${tag}`);
  }
  const records = open.unreadable.map((run) => `${prefix.records}${run}.json`);
  return { keptBy, unreadable: [...records, ...tags.unreadable] };
}
