/** `errand artifacts RUN|WORKFLOW:TAG [JOB]`: what the jobs brought back, and bringing it here. */
import path from "node:path";
import type { JobView, RunView } from "../../core/view.ts";
import { readTag } from "../../daemon/tags.ts";
import { UserError } from "../../errors.ts";
import type { Store } from "../../ports.ts";
import { connect } from "../connect.ts";
import { downloadArtifacts } from "../download.ts";
import { type JobArtifacts, readArtifacts } from "../manifests.ts";
import type { Output } from "../output.ts";
import { renderArtifactTree } from "../render-artifacts.ts";
import { formatBytes, formatCount, oneLine } from "../render-values.ts";
import { findRun } from "../select-run.ts";
import { noSuchTag, parseTagReference } from "../tag-reference.ts";
import { selectJobs } from "./logs.ts";
import type { CommonOptions } from "./runs.ts";
import { refusePruned } from "./tags.ts";

export type ArtifactOptions = CommonOptions & { readonly download?: string };

export async function artifacts(
  output: Output,
  { run, job }: { readonly run: string; readonly job: string | undefined },
  options: ArtifactOptions,
): Promise<number> {
  if (options.download === "") throw new UserError("--download names no folder", "Name one, or .");
  const { store } = await connect(options);
  const { view, jobs, isOne } = await findJobs(store, run, job);
  refusePruned(view);
  const sets = await readArtifacts(store, view, jobs);
  if (options.download === undefined) {
    list(output, view, { sets, json: options.json });
    return 0;
  }
  if (sets.length === 0) {
    throw new UserError(
      `${view.name} has no artifacts${job === undefined ? "" : ` of ${job}`}`,
      view.finishedAt === null ? "It is not finished: wait, or follow it with errand logs." : "",
    );
  }
  // One job's artifacts lie in DIR itself; those of several would meet there, so each has a folder.
  const folders = sets.map((set) => ({
    set,
    folder: path.resolve(options.download ?? "", isOne ? "" : set.job),
  }));
  await download(output, view, { store, folders, json: options.json });
  return 0;
}

type FoundJobs = {
  readonly view: RunView;
  readonly jobs: readonly JobView[];
  readonly isOne: boolean;
};

/** Jobs of a run, or those whose artifacts carry a tag, with the tries that count alone. */
async function findJobs(
  store: Store,
  reference: string,
  job: string | undefined,
): Promise<FoundJobs> {
  const name = parseTagReference(reference);
  if (!name) {
    const view = await findRun(store, reference);
    return { view, jobs: selectJobs(view, job), isOne: job !== undefined };
  }
  const tag = await readTag(store, name);
  if (tag.type !== "found") throw await noSuchTag(store, name);
  const { run, sets } = tag.content;
  const view = await findRun(store, run);
  const attempts = new Map(sets.map((set) => [set.job, set.attempt]));
  const jobs = view.jobs
    .filter((each) => attempts.has(each.name))
    .map((each) => ({
      ...each,
      attempts: each.attempts.filter(({ number }) => number === attempts.get(each.name)),
    }));
  const chosen = job === undefined ? jobs : selectJobs({ ...view, name: reference, jobs }, job);
  return { view, jobs: chosen, isOne: job !== undefined || jobs.length === 1 };
}

function list(
  output: Output,
  view: RunView,
  { sets, json }: { sets: readonly JobArtifacts[]; json: boolean | undefined },
): void {
  if (json) {
    output.json(sets);
    return;
  }
  if (sets.length === 0) output.line(`${view.name} has no artifacts`);
  for (const set of sets) {
    for (const line of renderArtifactTree(set, output.palette)) output.line(line);
  }
}

async function download(
  output: Output,
  view: RunView,
  {
    store,
    folders,
    json,
  }: {
    store: Store;
    folders: readonly { set: JobArtifacts; folder: string }[];
    json: boolean | undefined;
  },
): Promise<void> {
  const done: object[] = [];
  for (const { set, folder } of folders) {
    const found = await downloadArtifacts(store, view.id, { set, folder });
    const { files, bytes, leftOut, changed } = found;
    const { job, attempt, complete } = set;
    done.push({ job, attempt, complete, folder, files, bytes, changed });
    for (const name of changed) {
      output.note(
        `${job}: left out ${oneLine(name)}, which its machine was uploading anew when it ended`,
      );
    }
    for (const link of leftOut) {
      output.note(`${set.job}: left out the link ${oneLine(link)}, which leads out of the folder`);
    }
    if (json) continue;
    const partial = set.complete ? "" : ", partial";
    output.line(
      `${set.job}: ${formatCount(files, "file")}, ${formatBytes(bytes)}${partial} in ${folder}`,
    );
  }
  if (json) output.json(done);
}
