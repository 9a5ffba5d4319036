/** What is wrong in the files of a bundle, and where: said once, in one form, by everything that reads them. */

/** Where something stands. Lines and columns count from 1; line 0 is "not in a file". */
export type Place = {
  /** As ".dstack/workflows.yaml", or "request" for what came with the submission. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** As "workflows[train].resources.gpu"; empty where the file could not be read that far. */
  readonly path: string;
  /** Where the value was given that takes the place of what is written here. */
  readonly givenAt?: Place;
};

export type Problem = Omit<Place, "givenAt"> & {
  readonly message: string;
  /** How to mend it; empty when the message says it. */
  readonly hint: string;
};

/** Notes a problem and returns undefined, so that a reader can end with it. */
export type Report = (place: Place, message: string, hint?: string) => undefined;

/** `file:line:column: path: what is wrong; how to mend it`, on one line. */
export function renderProblem(problem: Problem): string {
  const position = problem.line > 0 ? `:${problem.line}:${problem.column}` : "";
  const path = problem.path === "" ? "" : `${problem.path}: `;
  const hint = problem.hint === "" ? "" : `; ${problem.hint}`;
  return `${problem.file}${position}: ${oneLine(`${path}${problem.message}${hint}`)}`;
}

/** A text as it may stand in a message: in quotes, on one line, not too long. */
export function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(short);
}

/**
 * Why a text can reach no process as it is: no environment, argument or path holds a NUL, and half a surrogate pair is no
 * character that UTF-8 could say.
 */
export function textFault(text: string): [message: string, hint: string] | undefined {
  if (text.includes("\0")) return ["holds a NUL character", "take it out"];
  const half = /\p{Surrogate}/u.exec(text)?.[0].charCodeAt(0).toString(16);
  if (half === undefined) return undefined;
  const message = `holds \\u${half}, which is half a character: one that is written as two goes together`;
  return [message, "write both halves, or the character itself"];
}

const oneLine = (text: string): string => text.replace(/[\r\n]+/g, " ");
