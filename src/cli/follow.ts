/**
 * Watches a run until it is finished: its view whenever that changes, and every line of every log,
 * once and in order. It reads the bucket; where a daemon is near, lines come from it as they are written.
 */
import type { LogLine } from "../core/log-lines.ts";
import type { AttemptView, RunView } from "../core/view.ts";
import { type CloudError, describeError, isCloudError, UserError } from "../errors.ts";
import type { Clock, Logs, Store } from "../ports.ts";
import { mergeLogs } from "./log-merge.ts";
import { chooseStarts, type LogRange, type LogStart } from "./log-range.ts";
import type { LogEncoding } from "./log-reader.ts";
import { createLogTail, type LogTail } from "./log-tail.ts";
import { findView } from "./read-runs.ts";

export type LinesWatcher = {
  /** May ask for time, so that a slow reader of ours bounds what is held. */
  readonly onLines: (job: string, lines: readonly LogLine[]) => Promise<void> | void;
  /** What there is of the line that a job is writing; undefined when it has ended. */
  readonly onOpen?: (job: string, line: LogLine | undefined) => void;
  /** Why a job's log comes later than it could, though a daemon is near; undefined when it does not any more. */
  readonly onTrouble?: (job: string, reason: string | undefined) => void;
};

export type Watcher = LinesWatcher & {
  /** Called when the view differs from the one before, before the lines that came with it. */
  readonly onView: (view: RunView) => void;
  /** All lines that belong to the last view have been given. */
  readonly onCaughtUp: () => void;
  /** Nobody has taken the drop in for this many milliseconds. Called at every look until somebody does. */
  readonly onWaiting: (waitedMs: number) => Promise<void> | void;
};

export type ReadOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly run: string;
  /** Logs of this job alone. */
  readonly job?: string | undefined;
  readonly range?: LogRange;
  readonly encoding?: LogEncoding;
};

export type FollowOptions = ReadOptions & {
  /** Of a daemon that is near. */
  readonly logs?: Logs;
  readonly pollMs: number;
};

/** One attempt's log; nothing more will come once it is drained. */
type Tail = LogTail & { isDrained: boolean };

/** By job and attempt. */
type Tails = Map<string, Tail>;

/** Gives what the jobs of a run have written by now, as one log in the order of its times. */
export async function readRun(
  options: ReadOptions,
  view: RunView,
  watcher: LinesWatcher,
): Promise<void> {
  const attempts = attemptsOf(view, options.job);
  await begin(
    { ...options, logs: undefined },
    { attempts, tails: new Map(), isFirst: true },
    watcher,
  );
}

/** Returns the last view; undefined when the signal aborted before there was one. */
export async function followRun(
  options: FollowOptions,
  watcher: Watcher,
  signal: AbortSignal,
): Promise<RunView | undefined> {
  const tails: Tails = new Map();
  try {
    return await watchRun({ ...options, tails }, watcher, signal);
  } finally {
    await Promise.all([...tails.values()].map((tail) => tail.leave()));
  }
}

async function watchRun(
  options: FollowOptions & { readonly tails: Tails },
  watcher: Watcher,
  signal: AbortSignal,
): Promise<RunView | undefined> {
  const { store, clock, run, pollMs, tails } = options;
  const beganAt = clock.now();
  let shown = "";
  let view: RunView | undefined;
  let isFirst = true;
  let answeredAt = beganAt;
  const look = async (): Promise<void> => {
    view = await findView(store, run);
    if (!view) return watcher.onWaiting(clock.now() - beganAt);
    const text = JSON.stringify(view);
    if (text !== shown) watcher.onView(view);
    shown = text;
    await readTails(options, { view, tails, isFirst }, watcher);
    isFirst = false;
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
  options: FollowOptions,
  { view, tails, isFirst }: { view: RunView; tails: Tails; isFirst: boolean },
  watcher: Watcher,
): Promise<void> {
  const attempts = attemptsOf(view, options.job).filter(
    ({ attempt }) => attempt.startedAt !== null || attempt.endedAt !== null,
  );
  await begin(options, { attempts, tails, isFirst }, watcher);
  for (const { job, attempt } of attempts) {
    const tail = tails.get(nameOf(job, attempt));
    if (!tail || tail.isDrained) continue;
    await tail.read();
    // The runner writes its last chunk before it reports the end: what this reading found is all.
    tail.isDrained = attempt.endedAt !== null;
    if (tail.isDrained) await tail.leave();
    else if (attempt.instanceId !== null) tail.watch(attempt.instanceId);
  }
}

type Begin = {
  readonly attempts: readonly NamedAttempt[];
  readonly tails: Tails;
  /** A range is of what there is at the first look; what comes later is wanted whole. */
  readonly isFirst: boolean;
};

/** Opens the logs that are new, and gives what they have, in the order of its times. */
async function begin(
  options: ReadOptions & { readonly logs?: Logs | undefined },
  { attempts, tails, isFirst }: Begin,
  watcher: LinesWatcher,
): Promise<void> {
  const fresh = attempts.filter(({ job, attempt }) => !tails.has(nameOf(job, attempt)));
  const starts = isFirst ? await startsOf(options, fresh) : new Map<string, LogStart>();
  const sources = fresh.map(({ job, attempt }) => {
    const name = nameOf(job, attempt);
    const start = starts.get(name);
    const tail = createLogTail({
      ...options,
      logs: options.logs,
      ...(start && { start }),
      attempt: { run: options.run, job, number: attempt.number },
      listener: {
        onLines: (lines) => watcher.onLines(job, lines),
        onOpen: (line) => watcher.onOpen?.(job, line),
        onTrouble: (reason) => watcher.onTrouble?.(job, reason),
      },
    });
    tails.set(name, { ...tail, isDrained: false });
    const began = attempt.startedAt ?? attempt.endedAt;
    const beganAt = began === null ? Number.POSITIVE_INFINITY : Date.parse(began);
    return { job, beganAt, batches: tail.backlog() };
  });
  const isWanted = isSince(options.range?.since);
  for await (const { job, lines } of mergeLogs(sources)) {
    await watcher.onLines(job, lines.filter(isWanted));
  }
}

/**
 * Of what was there at the first look: a line that ends later may have begun long ago. Lines without a time are those of which nobody
 * knows that they are too old.
 */
const isSince =
  (since = Number.NEGATIVE_INFINITY) =>
  ({ at }: LogLine): boolean =>
    at === null || at >= since;

async function startsOf(
  { store, run, range }: ReadOptions,
  attempts: readonly NamedAttempt[],
): Promise<Map<string, LogStart>> {
  const starts = new Map<string, LogStart>();
  if (!range) return starts;
  for (const job of new Set(attempts.map((each) => each.job))) {
    const own = attempts.filter((each) => each.job === job);
    const names = own.map(({ attempt }) => ({ run, job, number: attempt.number }));
    const chosen = await chooseStarts(store, names, range);
    for (const [index, start] of chosen.entries()) {
      const each = own[index];
      if (each) starts.set(nameOf(job, each.attempt), start);
    }
  }
  return starts;
}

type NamedAttempt = { readonly job: string; readonly attempt: AttemptView };

const nameOf = (job: string, attempt: AttemptView): string => `${job}/${attempt.number}`;

const attemptsOf = (view: RunView, only: string | undefined): readonly NamedAttempt[] =>
  view.jobs
    .filter((job) => only === undefined || job.name === only)
    .flatMap((job) => job.attempts.map((attempt) => ({ job: job.name, attempt })));
