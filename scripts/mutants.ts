/**
 * Plants each bug of test/simulation/mutants.ts and has the simulation look for it. Prints a line
 * `caught NAME seed N` each, and `MISSED NAME` where the simulation passes, which fails the whole.
 */
import { spawnSync } from "node:child_process";
import { MUTANTS } from "../test/simulation/mutants.ts";

const SEEDS = process.env.SEEDS ?? "400";
let caught = 0;
let missed = 0;
for (const { name, test = "every run" } of MUTANTS) {
  const run = spawnSync(
    "node_modules/.bin/vitest",
    ["run", "--project", "simulation", "-t", test, "--reporter=dot", "--bail=1"],
    { env: { ...process.env, MUTANT: name, SEEDS, SEED: "" }, encoding: "utf8" },
  );
  const seed = /seed (\d+): ([^\n]*)/.exec(`${run.stdout}${run.stderr}`);
  if (run.status !== 0 && seed) {
    caught += 1;
    console.log(`caught ${name} seed ${seed[1]}: ${seed[2]}`);
  } else {
    missed += 1;
    console.log(`MISSED ${name}${run.status === 0 ? "" : `\n${run.stdout}${run.stderr}`}`);
  }
}
console.log(`${caught} passed, ${missed} failed, 0 skipped`);
if (missed > 0) process.exitCode = 1;
