/** Tags: names for artifact sets of successful runs, by workflow. */
import { z } from "zod";
import { key, prefix } from "../core/layout.ts";
import { attemptsOf, type Run } from "../core/run.ts";
import type { Store } from "../ports.ts";
import type { TaggedSets, Tags } from "../workflow/inputs.ts";
import { readDocument } from "./documents.ts";

const tagSchema = z.object({
  format: z.literal(1),
  run: z.string(),
  sets: z.array(z.object({ job: z.string(), attempt: z.number().int().positive() })),
});

/** Puts the run's own tag, if it asked for one, on the sets of the workflows it was asked for. Moves a tag that exists. */
export async function tagRun(store: Store, run: Run, at: number): Promise<void> {
  if (run.tag === undefined) return;
  for (const workflow of run.workflows) {
    const sets = run.jobs
      .filter((job) => job.workflow === workflow)
      .flatMap((job) => {
        const done = attemptsOf(run, job.name).find((each) => each.outcome?.type === "succeeded");
        return done ? [{ job: job.name, attempt: done.number }] : [];
      });
    const body = JSON.stringify({ format: 1, run: run.id, sets, at });
    await store.put(key.tag(workflow, run.tag), body, { contentType: "application/json" });
  }
}

/** What stands behind some tags, and which tags their workflows have. A tag of an unknown format is as good as none. */
export async function readTags(
  store: Store,
  references: readonly { readonly workflow: string; readonly tag: string }[],
): Promise<Tags> {
  const found = new Map<string, TaggedSets>();
  const names = new Map<string, readonly string[]>();
  for (const { workflow, tag } of references) {
    const document = await readDocument(store, key.tag(workflow, tag), tagSchema);
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
