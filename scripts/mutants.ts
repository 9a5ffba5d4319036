/**
 * Plants each bug of test/simulation/mutants.ts and has the simulation look for it, and each of test/hostile/mutants.ts
 * for the fuzz. Prints a line `caught NAME seed N` each, and `MISSED NAME` where all passes, which fails the whole.
 * `MUTANT=name,name` plants those alone; `SEEDS` says how many storms each may take.
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { createViteServer } from "vitest/node";
import type { runCase } from "../test/hostile/fuzz.ts";
import { FUZZ_MUTANTS } from "../test/hostile/mutants.ts";
import { MUTANTS, type Mutant } from "../test/simulation/mutants.ts";
import type { play } from "../test/simulation/plays.ts";

/** Throws when it has found something. */
type Try = (number: number) => Promise<unknown>;
type Found = { readonly number: number; readonly message: string } | undefined;

const SEEDS = Number(process.env.SEEDS ?? 400);
/** A case of the fuzz is a thousandth of a storm. */
const FUZZ_CASES = 20_000;
/** One that never answers has not been caught. */
const MUTANT_MS_MAX = 180_000;
const MESSAGE_MAX = 200;

if (isMainThread) await plantAll();
else await work();

/** The source is loaded through Vite, so that a bug can be planted while it is, and only what depends on it is loaded again. */
async function work(): Promise<void> {
  let planted: Mutant | undefined;
  const server = await createViteServer({
    configFile: false,
    logLevel: "error",
    server: { middlewareMode: true, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true },
    plugins: [
      {
        name: "plant-mutant",
        enforce: "pre",
        transform: (code, id) =>
          planted && id.endsWith(planted.file) ? plant(planted, code) : undefined,
      },
    ],
  });
  const reload = async (mutant: Mutant): Promise<Try> => {
    for (const file of [planted?.file, mutant.file]) {
      for (const each of server.moduleGraph.getModulesByFile(`${process.cwd()}/${file}`) ?? []) {
        server.moduleGraph.invalidateModule(each);
      }
    }
    planted = mutant;
    const { play: kind = "storm" } = mutant;
    if (kind === "fuzz") {
      const fuzz = await server.ssrLoadModule("/test/hostile/fuzz.ts");
      return fuzz.runCase as typeof runCase;
    }
    const plays = await server.ssrLoadModule("/test/simulation/plays.ts");
    return (number) => (plays.play as typeof play)(kind, number);
  };
  parentPort?.on("message", async (mutant: Mutant) => {
    try {
      parentPort?.postMessage(await lookFor(mutant, await reload(mutant)));
    } catch (error) {
      // Its place is not found any more.
      console.log((error as Error).message);
      parentPort?.postMessage(undefined);
    }
  });
}

function plant({ name, file, find, replace }: Mutant, code: string): string {
  if (code.split(find).length !== 2)
    throw new Error(`"${name}" does not find its place in ${file}`);
  return code.replace(find, () => replace);
}

async function lookFor({ play: kind, number }: Mutant, attempt: Try): Promise<Found> {
  const length = kind === "fuzz" ? FUZZ_CASES : SEEDS;
  const numbers = Array.from({ length }, (_, index) => index + 1);
  for (const each of number === undefined ? numbers : [number, ...numbers]) {
    try {
      await attempt(each);
    } catch (error) {
      const [message = ""] = (error as Error).message.split("\n");
      return { number: each, message: message.slice(0, MESSAGE_MAX) };
    }
  }
  return undefined;
}

async function plantAll(): Promise<void> {
  const names = process.env.MUTANT?.split(",");
  const chosen = [...MUTANTS, ...FUZZ_MUTANTS].filter(({ name }) => names?.includes(name) ?? true);
  const beganAt = performance.now();
  const waiting = chosen.values();
  let missed = 0;
  const tell = (mutant: Mutant, found: Found): void => {
    if (found) console.log(`caught ${mutant.name} seed ${found.number}: ${found.message}`);
    else console.log(`MISSED ${mutant.name}`);
    if (!found) missed += 1;
  };
  const workers = Math.min(chosen.length, availableParallelism());
  await Promise.all(Array.from({ length: workers }, () => employ(waiting, tell)));
  console.log(`in ${Math.round((performance.now() - beganAt) / 1000)} s`);
  console.log(`${chosen.length - missed} passed, ${missed} failed, 0 skipped`);
  if (missed > 0) process.exitCode = 1;
}

async function employ(
  waiting: Iterator<Mutant>,
  tell: (mutant: Mutant, found: Found) => void,
): Promise<void> {
  let worker = new Worker(new URL(import.meta.url));
  for (let next = waiting.next(); !next.done; next = waiting.next()) {
    const found = await ask(worker, next.value);
    tell(next.value, found === "silent" ? undefined : found);
    if (found !== "silent") continue;
    await worker.terminate();
    worker = new Worker(new URL(import.meta.url));
  }
  await worker.terminate();
}

function ask(worker: Worker, mutant: Mutant): Promise<Found | "silent"> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve("silent"), MUTANT_MS_MAX);
    worker.removeAllListeners();
    worker.once("message", (found: Found) => {
      clearTimeout(timer);
      resolve(found);
    });
    worker.once("error", reject);
    worker.postMessage(mutant);
  });
}
