/** `errand logs RUN [JOB]`: what the jobs have written, from the bucket; what they are writing, from a daemon that is near. */
import type { JobView, RunView } from "../../core/view.ts";
import { UserError } from "../../errors.ts";
import { connect } from "../connect.ts";
import { followRun } from "../follow.ts";
import { exitCodeOf, listenForInterrupt } from "../interrupt.ts";
import { readLog } from "../log-reader.ts";
import type { Output } from "../output.ts";
import { createLinePrinter } from "../render-lines.ts";
import { findRun } from "../select-run.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";
import { refusePruned } from "./tags.ts";

export type LogOptions = CommonOptions & { readonly follow?: boolean };

export async function logs(
  output: Output,
  { run, job }: { readonly run: string; readonly job: string | undefined },
  options: LogOptions,
): Promise<number> {
  const { store, logs: live, pollMs } = await connect(options);
  const view = await findRun(store, run);
  refusePruned(view);
  const jobs = selectJobs(view, job);
  const print = createPrinter(output, { jobs, isOne: job !== undefined, json: options.json });
  if (!options.follow) {
    for (const each of jobs) {
      for (const attempt of each.attempts) {
        const read = readLog(store, { run: view.id, job: each.name, number: attempt.number });
        for await (const lines of read()) await print(each.name, lines);
      }
    }
    return 0;
  }
  const interrupt = listenForInterrupt();
  const follow = { store, logs: live, clock: systemClock, run: view.id, pollMs };
  await followRun(
    job === undefined ? follow : { ...follow, job },
    { onView: () => {}, onCaughtUp: () => {}, onLines: print, onWaiting: () => {} },
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
  const names = view.jobs.map((each) => each.name).join(", ");
  throw new UserError(
    `${view.name} has no job "${name}"`,
    names === "" ? "It has no jobs yet." : `Its jobs are ${names}.`,
  );
}

type Print = (job: string, lines: readonly string[]) => Promise<void>;

/** With a job's name before each line unless one job was asked for; as JSON, one object a line. */
function createPrinter(
  output: Output,
  { jobs, isOne, json }: { jobs: readonly JobView[]; isOne: boolean; json: boolean | undefined },
): Print {
  const prefixed = createLinePrinter(
    jobs.map((job) => job.name),
    output.palette,
  );
  return async (job, lines) => {
    const text = lines.map((line) => {
      if (json) return JSON.stringify({ job, line });
      return isOne ? line : prefixed(job, line);
    });
    output.write(text.map((line) => `${line}\n`).join(""));
    await output.drain();
  };
}
