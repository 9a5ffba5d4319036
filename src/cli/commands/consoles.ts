/** `errand logs RUN [JOB] --console`: what machines wrote to their consoles whose jobs never began. */
import { key } from "../../core/layout.ts";
import { connect } from "../connect.ts";
import type { Output } from "../output.ts";
import { findRun } from "../select-run.ts";
import { type LogOptions, selectJobs } from "./logs.ts";
import { refusePruned } from "./tags.ts";

export async function consoles(
  output: Output,
  { run, job }: { readonly run: string; readonly job: string | undefined },
  options: LogOptions,
): Promise<number> {
  const { store } = await connect(options);
  const view = await findRun(store, run);
  refusePruned(view);
  const attempts = selectJobs(view, job).flatMap((each) =>
    each.attempts.map((attempt) => ({ job: each.name, ...attempt })),
  );
  let isAny = false;
  for (const { job: name, number, instanceId, consoleBytes } of attempts) {
    if (!consoleBytes) continue;
    isAny = true;
    const kept = await store.find(key.console(view.id, name, number));
    const text = new TextDecoder().decode(kept?.body);
    if (options.json) output.json({ job: name, attempt: number, instanceId, text });
    else {
      output.note(`${name}, try ${number}, on ${instanceId}:`);
      output.write(text.endsWith("\n") ? text : `${text}\n`);
    }
  }
  if (!isAny) output.note("no console was kept: they are where a machine never told that it began");
  return 0;
}
