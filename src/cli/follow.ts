/**
 * Watches a run until it is finished: its view whenever that changes, and every line of every log,
 * once and in order. It reads the bucket; where a daemon is near, lines come from it as they are written.
 */
import type { AttemptView, RunView } from "../core/view.ts";
import { type CloudError, describeError, isCloudError, UserError } from "../errors.ts";
import type { Clock, Logs, Store } from "../ports.ts";
import { createLogTail, type LogTail } from "./log-tail.ts";
import { findView } from "./read-runs.ts";

export type Watcher = {
  /** Called when the view differs from the one before, before the lines that came with it. */
  readonly onView: (view: RunView) => void;
  /** All lines that belong to the last view have been given. */
  readonly onCaughtUp: () => void;
  /** Lines without newlines. May ask for time, so that a slow reader of ours bounds what is held. */
  readonly onLines: (job: string, lines: readonly string[]) => Promise<void> | void;
  /** Nobody has taken the drop in for this many milliseconds. Called at every look until somebody does. */
  readonly onWaiting: (waitedMs: number) => Promise<void> | void;
};

export type FollowOptions = {
  readonly store: Store;
  readonly clock: Clock;
  /** Of a daemon that is near. */
  readonly logs?: Logs;
  readonly run: string;
  /** Logs of this job alone. */
  readonly job?: string;
  readonly pollMs: number;
};

/** One attempt's log; nothing more will come once it is drained. */
type Tail = LogTail & { isDrained: boolean };

/** Returns the last view; undefined when the signal aborted before there was one. */
export async function followRun(
  options: FollowOptions,
  watcher: Watcher,
  signal: AbortSignal,
): Promise<RunView | undefined> {
  const tails = new Map<string, Tail>();
  try {
    return await watchRun({ ...options, tails }, watcher, signal);
  } finally {
    await Promise.all([...tails.values()].map((tail) => tail.leave()));
  }
}

async function watchRun(
  options: FollowOptions & { readonly tails: Map<string, Tail> },
  watcher: Watcher,
  signal: AbortSignal,
): Promise<RunView | undefined> {
  const { store, clock, run, pollMs, tails } = options;
  const beganAt = clock.now();
  let shown = "";
  let view: RunView | undefined;
  let answeredAt = beganAt;
  const look = async (): Promise<void> => {
    view = await findView(store, run);
    if (!view) return watcher.onWaiting(clock.now() - beganAt);
    const text = JSON.stringify(view);
    if (text !== shown) watcher.onView(view);
    shown = text;
    await readTails(options, { view, tails }, watcher);
    watcher.onCaughtUp();
  };
  while (!signal.aborted) {
    try {
      await look();
      answeredAt = clock.now();
      if (view && view.finishedAt !== null) return view;
    } catch (error) {
      if (!isCloudError(error, "unavailable")) throw error;
      if (clock.now() - answeredAt > SILENCE_MS) throw notFollowed(run, error);
    }
    await clock.sleep(pollMs, signal);
  }
  return view;
}

/** S3 has its bad minutes, and a local cloud is restarted: the run does not depend on who watches. */
const SILENCE_MS = 60_000;

const notFollowed = (run: string, cause: CloudError): UserError =>
  new UserError(
    `the run cannot be watched any longer: ${describeError(cause)}`,
    `It does not depend on that. Watch it again: errand logs ${run} --follow`,
  );

async function readTails(
  { store, clock, logs, run, job: only }: FollowOptions,
  { view, tails }: { view: RunView; tails: Map<string, Tail> },
  watcher: Watcher,
): Promise<void> {
  for (const { job, attempt } of attemptsWithLog(view, only)) {
    const name = `${job}/${attempt.number}`;
    const tail: Tail = tails.get(name) ?? {
      ...createLogTail({
        ...{ store, clock, logs },
        attempt: { run, job, number: attempt.number },
        onLines: (lines) => watcher.onLines(job, lines),
      }),
      isDrained: false,
    };
    tails.set(name, tail);
    if (tail.isDrained) continue;
    await tail.read();
    // The runner writes its last chunk before it reports the end: what this reading found is all.
    tail.isDrained = attempt.endedAt !== null;
    if (tail.isDrained) await tail.leave();
    else if (attempt.instanceId !== null) tail.watch(attempt.instanceId);
  }
}

function attemptsWithLog(
  view: RunView,
  only: string | undefined,
): { readonly job: string; readonly attempt: AttemptView }[] {
  return view.jobs
    .filter((job) => only === undefined || job.name === only)
    .flatMap((job) => job.attempts.map((attempt) => ({ job: job.name, attempt })))
    .filter(({ attempt }) => attempt.startedAt !== null || attempt.endedAt !== null);
}
