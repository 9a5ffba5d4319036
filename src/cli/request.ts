/** What the user asks for on the command line: `submit [DIR] [WORKFLOW…] [--NAME VALUE]…`. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { UserError } from "../errors.ts";
import type { Request } from "../workflow/request.ts";
import { hintNear } from "./near-hints.ts";

export type Asked = { readonly directory: string; readonly request: Request };

export type AskedOptions = {
  /** Each as `NAME=VALUE`. */
  readonly var?: readonly string[];
  readonly tag?: string;
  /** Those of the command, as `--local`: one that is misspelt looks like a variable. */
  readonly optionNames?: readonly string[];
};

/**
 * `words` are the arguments that no known option took: DIR and workflows, and variables as `--NAME VALUE` or
 * `--NAME=VALUE`. Throws UserError.
 */
export async function readAsked(
  words: readonly string[],
  { var: given = [], tag, optionNames = [] }: AskedOptions,
): Promise<Asked> {
  const { operands, variables } = splitWords(words, optionNames);
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw new UserError(`--var "${text}" names no value`, "Write --var NAME=VALUE.");
    variables.push([text.slice(0, at), text.slice(at + 1)]);
  }
  const { directory, workflows } = await splitOperands(operands);
  return {
    directory,
    request: {
      workflows,
      variables: Object.fromEntries(variables),
      ...(tag === undefined ? {} : { tag }),
    },
  };
}

function splitWords(words: readonly string[], optionNames: readonly string[]) {
  const operands: string[] = [];
  const variables: [name: string, value: string][] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? "";
    const [, name, value] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) {
      if (/^-\D/.test(word)) {
        throw new UserError(`there is no option "${word}"`, "Variables are set by --NAME VALUE.");
      }
      operands.push(word);
    } else if (value !== undefined) {
      variables.push([name, value]);
    } else {
      at += 1;
      variables.push([name, requireValue(name, words[at], optionNames)]);
    }
  }
  return { operands, variables };
}

function requireValue(
  name: string,
  word: string | undefined,
  optionNames: readonly string[],
): string {
  if (word !== undefined && !word.startsWith("--")) return word;
  const cure = `Write --${name} VALUE; a value that begins with -- as --${name}=VALUE. Options: --help.`;
  throw new UserError(`--${name} has no value`, hintNear(`--${name}`, optionNames, cure));
}

/** The first operand is DIR when it is a project's directory, or can only be meant as a path. */
async function splitOperands(operands: readonly string[]) {
  const [first, ...rest] = operands;
  if (first !== undefined && (await hasWorkflows(first))) {
    return { directory: first, workflows: rest };
  }
  if (first !== undefined && (/[/\\]|^\.{1,2}$/.test(first) || !(await hasWorkflows(".")))) {
    throw notAProject(first, await isDirectory(first));
  }
  if (first === undefined && !(await hasWorkflows("."))) throw notAProject(".", true);
  return { directory: ".", workflows: operands };
}

const isDirectory = (place: string): Promise<boolean> =>
  stat(place).then(
    (status) => status.isDirectory(),
    () => false,
  );

const hasWorkflows = (place: string): Promise<boolean> => isDirectory(path.join(place, ".dstack"));

function notAProject(place: string, isThere: boolean): UserError {
  const shown = place === "." ? "this directory" : `"${place}"`;
  return new UserError(
    isThere ? `${shown} has no .dstack folder` : `there is no directory ${shown}`,
    "Give the directory that holds .dstack/workflows.yaml, before the workflows.",
  );
}
