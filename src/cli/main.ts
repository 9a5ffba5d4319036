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
const CLOUD_HINTS = [
  {
    codes: ["CredentialsProviderError"],
    hint: "Credentials come as in every AWS tool: aws configure, AWS_PROFILE, an instance's role. For the local cloud add --local.",
  },
  {
    codes: ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"],
    hint: "Nothing answers there: check the network, the region and --endpoint.",
  },
];
const REFUSALS = [
  ...["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENAMETOOLONG"],
];

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
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USER;
  const hint = findHint(error);
  if (hint === undefined) {
    output.note(error instanceof Error ? (error.stack ?? error.message) : String(error));
    output.note("This is a bug in Errand.");
    return EXIT_BUG;
  }
  const [first, ...rest] = describeError(error).split("\n");
  output.note(`${output.notePalette.bad("error:")} ${first}`);
  for (const line of rest) output.note(`  ${line}`);
  if (hint !== "") output.note(hint);
  return EXIT_USER;
}

/** How to mend it, empty when the message says it; undefined for a bug. */
function findHint(error: unknown): string | undefined {
  if (error instanceof UserError) return error.hint;
  if (error instanceof CloudError) {
    return CLOUD_HINTS.find(({ codes }) => codes.includes(error.code))?.hint ?? "";
  }
  return isRefusedBySystem(error) ? "" : undefined;
}

/** Files and disks of the user's that do not let us: the message names them. */
function isRefusedBySystem(error: unknown): boolean {
  const { code = "" } = error as NodeJS.ErrnoException;
  return error instanceof Error && "syscall" in error && REFUSALS.includes(code);
}
