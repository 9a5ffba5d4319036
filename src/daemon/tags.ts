/** Tags: names for artifact sets of successful runs, by workflow. A tag keeps its run from retention. */
import { z } from "zod";
import { key, prefix } from "../core/layout.ts";
import { type SetRef, taggableSets } from "../core/retention.ts";
import type { Run } from "../core/run.ts";
import { isCloudError } from "../errors.ts";
import type { Clock, Store } from "../ports.ts";
import type { TaggedSets, Tags } from "../workflow/inputs.ts";
import { type Document, readDocument } from "./documents.ts";
import { keepRun } from "./retention.ts";

const tagSchema = z.object({
  format: z.literal(1),
  run: z.string(),
  sets: z.array(z.object({ job: z.string(), attempt: z.number().int().positive() })),
  at: z.number().default(0),
});
export type Tag = z.infer<typeof tagSchema>;

export type TagName = { readonly workflow: string; readonly tag: string };
export type FoundTag = TagName & { readonly content: Tag };

export const readTag = (store: Store, { workflow, tag }: TagName): Promise<Document<Tag>> =>
  readDocument(store, key.tag(workflow, tag), tagSchema);

export type Tagged =
  | { readonly type: "done"; readonly before: Tag | undefined }
  /** Retention was first: the tag is what it was. */
  | { readonly type: "pruned" };

/** Puts a tag on sets of a run, or moves it there. */
export async function putTag(
  store: Store,
  name: TagName,
  { run, sets, clock }: { run: string; sets: readonly SetRef[]; clock: Pick<Clock, "now"> },
): Promise<Tagged> {
  // Most often it is known before anything is written that there is nothing to put it on.
  if (!(await keepRun(store, run, clock))) return { type: "pruned" };
  const document = await readTag(store, name);
  const before = document.type === "found" ? document.content : undefined;
  const etag = await write(store, name, { run, sets: [...sets], at: clock.now() });
  // The tag first, then the mark: retention does it the other way round, so one sees the other.
  if (await keepRun(store, run, clock)) return { type: "done", before };
  await takeBack(store, name, { etag, before, clock });
  return { type: "pruned" };
}

function write(store: Store, { workflow, tag }: TagName, content: Omit<Tag, "format">, etag = "") {
  return store.put(key.tag(workflow, tag), JSON.stringify({ format: 1, ...content }), {
    contentType: "application/json",
    ...(etag !== "" && { condition: { ifEtag: etag } }),
  });
}

/** The tag as it was, unless somebody has moved it since. What it was may have been pruned meanwhile: then it goes. */
async function takeBack(
  store: Store,
  name: TagName,
  { etag, before, clock }: { etag: string; before: Tag | undefined; clock: Pick<Clock, "now"> },
): Promise<void> {
  const objectKey = key.tag(name.workflow, name.tag);
  try {
    if (!before) return await store.remove(objectKey, { ifEtag: etag });
    const restored = await write(store, name, before, etag);
    if (await keepRun(store, before.run, clock)) return;
    await store.remove(objectKey, { ifEtag: restored });
  } catch (error) {
    if (!isCloudError(error, "conflict", "not-found")) throw error;
  }
}

/** Puts the run's own tag, if it asked for one, on the sets of the workflows it was asked for. Moves a tag that exists. */
export async function tagRun(store: Store, run: Run, clock: Pick<Clock, "now">): Promise<void> {
  if (run.tag === undefined) return;
  for (const workflow of run.workflows) {
    const found = taggableSets(run, workflow);
    if (found?.type !== "whole") continue;
    await putTag(store, { workflow, tag: run.tag }, { run: run.id, sets: found.sets, clock });
  }
}

export type ListedTags = {
  readonly found: readonly FoundTag[];
  /** Keys of those nobody can read. */
  readonly unreadable: readonly string[];
};

const READS_AT_ONCE = 32;

/** All tags, or those of one workflow, by workflow and name. */
export async function listTags(store: Store, workflow?: string): Promise<ListedTags> {
  const infos = await store.list(
    workflow === undefined ? prefix.tags : `${prefix.tags}${workflow}/`,
  );
  const found: FoundTag[] = [];
  const unreadable: string[] = [];
  for (let start = 0; start < infos.length; start += READS_AT_ONCE) {
    const batch = infos.slice(start, start + READS_AT_ONCE);
    const read = await Promise.all(batch.map(({ key }) => readDocument(store, key, tagSchema)));
    read.forEach((document, index) => {
      const objectKey = batch[index]?.key ?? "";
      const [, name = "", tag = ""] = /^tags\/(.+)\/([^/]+)\.json$/.exec(objectKey) ?? [];
      if (document.type === "unreadable" || (document.type === "found" && tag === "")) {
        unreadable.push(objectKey);
      } else if (document.type === "found") {
        found.push({ workflow: name, tag, content: document.content });
      }
    });
  }
  return { found, unreadable };
}

/** What stands behind some tags, and which tags their workflows have. A tag of an unknown format is as good as none. */
export async function readTags(store: Store, references: readonly TagName[]): Promise<Tags> {
  const found = new Map<string, TaggedSets>();
  const names = new Map<string, readonly string[]>();
  for (const { workflow, tag } of references) {
    const document = await readTag(store, { workflow, tag });
    if (document.type === "found") found.set(key.tag(workflow, tag), document.content);
    if (names.has(workflow)) continue;
    const folder = `${prefix.tags}${workflow}/`;
    const listed = await store.list(folder);
    names.set(
      workflow,
      listed.map((each) => each.key.slice(folder.length).replace(/\.json$/, "")),
    );
  }
  return {
    find: (workflow, tag) => found.get(key.tag(workflow, tag)),
    list: (workflow) => names.get(workflow) ?? [],
  };
}
