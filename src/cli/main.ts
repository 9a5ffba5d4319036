#!/usr/bin/env node
/**
 * The command `errand`. Its exit code says what became of what it was asked: 0 done, 1 the run failed or was
 * cancelled, 2 something that the user can mend, 70 a bug.
 */
import { CommanderError } from "commander";
import { CloudError, describeError, UserError } from "../errors.ts";
import { createOutput } from "./output.ts";
import { createProgram } from "./program.ts";
import { readVersion } from "./version.ts";

const EXIT_USER = 2;
const EXIT_BUG = 70;

const output = createOutput();
// Which Node the SDK will ask for next year is news for those who build this, not for those who run it.
process.removeAllListeners("warning");
process.on("warning", ({ name, message }) => {
  if (!message.startsWith("NodeVersionSupportWarning")) output.note(`${name}: ${message}`);
});
const program = createProgram(output, readVersion(), (code) => {
  process.exitCode = code;
});
try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = explain(error);
}

function explain(error: unknown): number {
  const { bad } = output.notePalette;
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USER;
  if (error instanceof UserError) {
    const [first, ...rest] = describeError(error).split("\n");
    output.note(`${bad("error:")} ${first}`);
    for (const line of rest) output.note(`  ${line}`);
    if (error.hint !== "") output.note(error.hint);
    return EXIT_USER;
  }
  if (error instanceof CloudError) {
    output.note(`${bad("error:")} ${describeError(error)}`);
    return EXIT_USER;
  }
  output.note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  output.note("This is a bug in Errand.");
  return EXIT_BUG;
}
