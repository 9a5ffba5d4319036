/** `errand logs RUN [JOB]`: what the jobs have written, from the bucket; what they are writing, from a daemon that is near. */
import type { JobView, RunView } from "../../core/view.ts";
import { UserError } from "../../errors.ts";
import { connect } from "../connect.ts";
import { followRun, type LinesWatcher, readRun } from "../follow.ts";
import { exitCodeOf, listenForInterrupt } from "../interrupt.ts";
import {
  createJsonPrinter,
  createPlainPrinter,
  createTerminalPrinter,
  type LogPrinter,
} from "../log-printer.ts";
import { parseSince } from "../log-range.ts";
import type { LogEncoding } from "../log-reader.ts";
import { hintNear, listNames } from "../near-hints.ts";
import type { Output } from "../output.ts";
import { findRun } from "../select-run.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";
import { refusePruned } from "./tags.ts";

export type LogOptions = CommonOptions & {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
  readonly since?: string;
  readonly tail?: number;
  readonly console?: boolean;
};

export async function logs(
  output: Output,
  { run, job }: { readonly run: string; readonly job: string | undefined },
  options: LogOptions,
): Promise<number> {
  const { tail } = options;
  const since =
    options.since === undefined ? undefined : parseSince(options.since, systemClock.now());
  const { store, logs: live, pollMs } = await connect(options);
  const view = await findRun(store, run);
  refusePruned(view);
  // What is written as it was read is not looked into.
  const isExact = !options.follow && !options.json && !output.isTerminal && job !== undefined;
  const encoding: LogEncoding = isExact ? "latin1" : "utf8";
  const printer = createPrinter(output, options, { jobs: selectJobs(view, job), job, encoding });
  const watcher: LinesWatcher = {
    onLines: printer.lines,
    onOpen: printer.open,
    onTrouble: printer.trouble,
  };
  const range = { ...(since !== undefined && { since }), ...(tail !== undefined && { tail }) };
  const reading = { store, clock: systemClock, run: view.id, job, range, encoding };
  if (!options.follow) {
    await readRun(reading, view, watcher);
    if (view.state === "queued") {
      output.note(`${view.name} is queued, and has written nothing yet; --follow waits for it`);
    }
    return 0;
  }
  const interrupt = listenForInterrupt();
  await followRun(
    { ...reading, logs: live, pollMs },
    { ...watcher, onView: () => {}, onCaughtUp: () => {}, onWaiting: () => {} },
    interrupt.signal,
  );
  interrupt.release();
  return interrupt.signal.aborted ? exitCodeOf(interrupt.name()) : 0;
}

/** All jobs of a run, or the one that is meant. Throws UserError when there is none of that name. */
export function selectJobs(view: RunView, name: string | undefined): readonly JobView[] {
  if (name === undefined) return view.jobs;
  const job = view.jobs.find((each) => each.name === name);
  if (job) return [job];
  const names = view.jobs.map((each) => each.name);
  const all = names.length === 0 ? "It has no jobs yet." : `Its jobs are ${listNames(names)}.`;
  throw new UserError(`${view.name} has no job "${name}"`, hintNear(name, names, all));
}

type Wanted = {
  readonly jobs: readonly JobView[];
  readonly job: string | undefined;
  readonly encoding: LogEncoding;
};

function createPrinter(
  output: Output,
  { json, follow, timestamps }: LogOptions,
  { jobs, job, encoding }: Wanted,
): LogPrinter {
  if (json) return createJsonPrinter(output);
  const printing = {
    jobs: jobs.map(({ name }) => name),
    isOne: job !== undefined,
    hasTimestamps: timestamps === true,
    encoding,
  };
  return output.isTerminal
    ? createTerminalPrinter(output, printing)
    : createPlainPrinter(output, { ...printing, endsLines: follow === true });
}
