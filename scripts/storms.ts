/**
 * Plays storms, crash sweeps and the race of retention on all cores. `SEEDS=20000` says how many storms; `SEED=7` plays
 * that one alone and tells its story. Ends with `N passed, N failed, N skipped`, one for each kind of play.
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { listPlays, play } from "../test/simulation/plays.ts";
import { simulate } from "../test/simulation/simulate.ts";

type Task = {
  readonly kind: string;
  readonly first: number;
  readonly last: number;
};

const SEEDS = Number(process.env.SEEDS ?? 20_000);
const AT_ONCE = 50;
/** More than these teach nothing new either. */
const FAILURES_TOLD = 5;
/** Of a story, the last of it is told. */
const LINES_TOLD = 60;

if (!isMainThread) work();
else if (process.env.SEED) await playOne(Number(process.env.SEED));
else await playAll();

async function playOne(seed: number): Promise<void> {
  const world = await simulate({ seed });
  console.log(world.story.join("\n"));
}

function work(): void {
  parentPort?.on("message", async (task: Task) => {
    const failures: string[] = [];
    for (let number = task.first; number <= task.last; number++) {
      try {
        await play(task.kind, number);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    parentPort?.postMessage(failures);
  });
}

async function playAll(): Promise<void> {
  const beganAt = performance.now();
  const plays = await listPlays(SEEDS);
  const tasks = [...plays].flatMap(([kind, count]) => tasksOf(kind, count));
  const played = new Map([...plays.keys()].map((kind) => [kind, 0]));
  const failed = new Map<string, number>();
  let told = 0;
  const take = (task: Task, failures: readonly string[]): void => {
    played.set(task.kind, (played.get(task.kind) ?? 0) + task.last - task.first + 1);
    if (failures.length === 0) return;
    failed.set(task.kind, (failed.get(task.kind) ?? 0) + failures.length);
    for (const failure of failures) {
      if (told < FAILURES_TOLD) console.log(shortened(failure));
      told += 1;
    }
  };
  const waiting = tasks.values();
  await Promise.all(Array.from({ length: availableParallelism() }, () => employ(waiting, take)));
  for (const [kind, count] of played) {
    console.log(
      `${failed.has(kind) ? "FAILED " : ""}${kind}: ${count} played, ${failed.get(kind) ?? 0} failed`,
    );
  }
  console.log(`in ${Math.round((performance.now() - beganAt) / 1000)} s`);
  console.log(`${played.size - failed.size} passed, ${failed.size} failed, 0 skipped`);
  if (failed.size > 0) process.exitCode = 1;
}

function tasksOf(kind: string, count: number): Task[] {
  return Array.from({ length: Math.ceil(count / AT_ONCE) }, (_, index) => ({
    kind,
    first: index * AT_ONCE + 1,
    last: Math.min(count, (index + 1) * AT_ONCE),
  }));
}

/** One worker, task after task, until there are none. */
async function employ(
  waiting: Iterator<Task>,
  take: (task: Task, failures: readonly string[]) => void,
): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  for (let next = waiting.next(); !next.done; next = waiting.next()) {
    take(next.value, await give(worker, next.value));
  }
  await worker.terminate();
}

/** The failures of a task. Rejects when the worker dies of it. */
async function give(worker: Worker, task: Task): Promise<readonly string[]> {
  const done = new AbortController();
  const { signal } = done;
  const died = async (): Promise<never> => {
    const [code] = await once(worker, "exit", { signal });
    throw new Error(`a worker ended with ${code} in ${task.kind}`);
  };
  // `once` rejects on "error".
  const answer = once(worker, "message", { signal });
  worker.postMessage(task);
  try {
    const [failures] = await Promise.race([answer, died()]);
    return failures as readonly string[];
  } finally {
    done.abort();
  }
}

function shortened(failure: string): string {
  const [title = "", ...story] = failure.split("\n");
  return [title, ...story.slice(-LINES_TOLD)].join("\n");
}
