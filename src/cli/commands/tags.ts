/** `errand tags add|list|delete`: names for the artifacts of successful runs. */
import { key } from "../../core/layout.ts";
import { type SetRef, taggableSets } from "../../core/retention.ts";
import type { Run } from "../../core/run.ts";
import type { RunView } from "../../core/view.ts";
import { runName } from "../../daemon/names.ts";
import { readRun } from "../../daemon/records.ts";
import { type FoundTag, listTags, putTag, readTag, type TagName } from "../../daemon/tags.ts";
import { isCloudError, UserError } from "../../errors.ts";
import type { Store } from "../../ports.ts";
import { connect } from "../connect.ts";
import { hintNear, listNames } from "../near-hints.ts";
import type { Output } from "../output.ts";
import { findView } from "../read-runs.ts";
import { renderTable } from "../render-table.ts";
import { formatAgo, formatBytes, oneLine } from "../render-values.ts";
import { findRun } from "../select-run.ts";
import { systemClock } from "../system-clock.ts";
import { checkTag, noSuchTag, parseTagReference } from "../tag-reference.ts";
import type { CommonOptions } from "./runs.ts";

/** Without a workflow, those that the run was asked for. */
export async function addTag(
  output: Output,
  words: { readonly tag: string; readonly run: string; readonly workflow: string | undefined },
  options: CommonOptions,
): Promise<number> {
  const { tag, workflow } = readName(words.tag, words.workflow);
  const { store } = await connect(options);
  const view = await findRun(store, words.run);
  refusePruned(view);
  const run = await readRecord(store, view);
  const names = workflow === undefined ? run.workflows : [workflow];
  // All are looked at before the first is tagged.
  const found = names.map((name) => ({ name, sets: setsOf(run, name) }));
  const done: Put[] = [];
  for (const { name, sets } of found) {
    const put = await putTag(
      store,
      { workflow: name, tag },
      { run: run.id, sets, clock: systemClock },
    );
    if (put.type === "pruned") throw prunedError(view);
    const before = put.before && put.before.run !== run.id ? put.before.run : null;
    done.push({ workflow: name, tag, run: run.id, before });
  }
  if (options.json) output.json(done);
  else for (const each of done) output.line(describePut(each));
  return 0;
}

/** `before` is the run that the tag stood for. */
type Put = TagName & { readonly run: string; readonly before: string | null };

function describePut({ workflow, tag, run, before }: Put): string {
  const moved = before === null ? "" : `, moved from ${runName(before)} (${before})`;
  return `${workflow}:${tag} is ${runName(run)} (${run})${moved}`;
}

function readName(text: string, workflow: string | undefined) {
  const reference = parseTagReference(text);
  if (!reference) return { tag: checkTag(text), workflow };
  if (workflow === undefined || workflow === reference.workflow) return reference;
  throw new UserError(`"${text}" names another workflow than ${workflow}`, "Name one of them.");
}

/** The record knows which jobs are of which workflow, and which attempt of each succeeded. */
async function readRecord(store: Store, view: RunView): Promise<Run> {
  const saved = await readRun(store, view.id);
  if (saved === "unreadable") {
    throw new UserError(
      `${key.record(view.id)} is damaged, or of a format that this version does not know`,
      "Use the version of Errand that the daemon runs.",
    );
  }
  if (saved) return saved.run;
  throw new UserError(
    `${view.name} has not been taken in yet`,
    "Wait for its end, or submit it with --tag, which tags it when it succeeds.",
  );
}

function setsOf(run: Run, workflow: string): readonly SetRef[] {
  const found = taggableSets(run, workflow);
  if (!found) {
    const names = [...new Set(run.jobs.map((job) => job.workflow))];
    const all = names.length > 0 ? `It ran ${listNames(names)}.` : "It never became jobs.";
    throw new UserError(
      `${run.name} did not run a workflow "${workflow}"`,
      hintNear(workflow, names, all),
    );
  }
  if (found.type === "whole") return found.sets;
  throw new UserError(
    `${run.name} has no finished successful artifacts of ${workflow}: ${found.jobs.join(", ")} did not succeed, or goes on`,
    "Only those can be tagged. Name a WORKFLOW of the run that succeeded, or see errand show.",
  );
}

/** Throws UserError for a run whose artifacts are gone. */
export function refusePruned(view: RunView): void {
  if (view.prunedAt !== null) throw prunedError(view);
}

const prunedError = (view: RunView): UserError =>
  new UserError(
    `the logs and artifacts of ${view.name} (${view.id}) were pruned on ${view.prunedAt?.slice(0, 10) ?? "another day"}`,
    "What it was and cost is kept: errand show.",
  );

type TagView = {
  readonly workflow: string;
  readonly tag: string;
  readonly run: string;
  readonly runName: string;
  readonly jobs: readonly SetRef[];
  readonly bytes: number;
  readonly taggedAt: string;
  /** Its artifacts are gone: whoever tagged it died before he could be told. */
  readonly isPruned: boolean;
};

export async function tags(
  output: Output,
  workflow: string | undefined,
  options: CommonOptions,
): Promise<number> {
  const { store } = await connect(options);
  const { found, unreadable } = await listTags(store, workflow);
  for (const each of unreadable) {
    output.note(output.notePalette.warn(`warning: ${oneLine(each)} cannot be read`));
  }
  const views = await Promise.all(found.map((each) => viewTag(store, each)));
  if (options.json) {
    output.json(views);
    return 0;
  }
  if (views.length === 0) {
    output.line(await describeNone(store, workflow));
    return 0;
  }
  const now = systemClock.now();
  const rows = views.map((view) => [
    `${view.workflow}:${view.tag}`,
    view.runName,
    output.palette.faint(view.run),
    formatBytes(view.bytes),
    formatAgo(now - Date.parse(view.taggedAt)),
    view.isPruned ? output.palette.bad("pruned") : "",
  ]);
  const columns = [
    { title: "tag" },
    { title: "run" },
    { title: "id" },
    { title: "size", align: "right" },
    { title: "tagged" },
    { title: "" },
  ] as const;
  for (const line of renderTable(columns, rows, output.palette.faint)) output.line(line);
  return 0;
}

async function describeNone(store: Store, workflow: string | undefined): Promise<string> {
  const put = "Put one: errand tags add TAG RUN";
  if (workflow === undefined) return `no tags yet. ${put}`;
  const { found } = await listTags(store);
  const known = found.map((each) => each.workflow);
  return `no tags of ${workflow} yet. ${hintNear(workflow, known, put)}`;
}

async function viewTag(store: Store, { workflow, tag, content }: FoundTag): Promise<TagView> {
  const view = await findView(store, content.run);
  const jobs = new Set(content.sets.map(({ job }) => job));
  const artifacts = view?.jobs.filter(({ name }) => jobs.has(name)).flatMap((job) => job.artifacts);
  return {
    workflow,
    tag,
    run: content.run,
    runName: runName(content.run),
    jobs: content.sets,
    bytes: (artifacts ?? []).reduce((sum, { bytes }) => sum + bytes, 0),
    taggedAt: new Date(content.at).toISOString(),
    isPruned: (view?.prunedAt ?? null) !== null,
  };
}

/** Artifacts stay until retention comes by. */
export async function deleteTag(
  output: Output,
  words: { readonly tag: string; readonly workflow: string | undefined },
  options: CommonOptions,
): Promise<number> {
  const named = readName(words.tag, words.workflow);
  const { store } = await connect(options);
  const name = await findOne(store, named);
  const document = await readTag(store, name);
  if (document.type === "absent") throw await noSuchTag(store, name);
  const run = document.type === "found" ? document.content.run : null;
  try {
    await store.remove(key.tag(name.workflow, name.tag), { ifEtag: document.etag });
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
    const reference = `${name.workflow}:${name.tag}`;
    throw new UserError(`${reference} was moved meanwhile`, "See errand tags list.", {
      cause: error,
    });
  }
  if (options.json) output.json({ ...name, run });
  else {
    const was = run === null ? "" : `, which was ${runName(run)} (${run})`;
    output.line(`${name.workflow}:${name.tag} is deleted${was}`);
  }
  return 0;
}

/** A tag alone is enough where one workflow has it. */
async function findOne(
  store: Store,
  { tag, workflow }: { readonly tag: string; readonly workflow: string | undefined },
): Promise<TagName> {
  if (workflow !== undefined) return { workflow, tag };
  const { found } = await listTags(store);
  const [only, ...others] = found.filter((each) => each.tag === tag);
  if (!only) {
    const known = found.map((each) => each.tag);
    const hint = hintNear(tag, known, "List them: errand tags list");
    throw new UserError(`there is no tag "${tag}"`, hint);
  }
  if (others.length === 0) return { workflow: only.workflow, tag };
  const names = [only, ...others].map((each) => each.workflow).join(", ");
  throw new UserError(`the workflows ${names} have the tag "${tag}"`, "Name one of them.");
}
