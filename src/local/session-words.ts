/** A Session document's command: parameters filled in, then split into words as a POSIX shell would, without a shell. */
import { ApiError } from "./http.ts";

/** Throws ApiError for a parameter that has no value. */
export function fillIn(command: string, values: Readonly<Record<string, string>>): string {
  return command.replaceAll(/\{\{\s*([\w.-]+)\s*\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value !== undefined) return value;
    throw new ApiError(400, "InvalidParameters", `the parameter ${name} has no value`);
  });
}

/** Throws ApiError for quotes that do not close. */
export function splitWords(command: string): readonly string[] {
  const words: string[] = [];
  const token = /\s+|"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)|([^\s"'\\]+)/gsy;
  let word: string | undefined;
  while (token.lastIndex < command.length) {
    const match = token.exec(command);
    if (!match) throw new ApiError(400, "InvalidDocument", `"${command}" has an open quote`);
    const [, double, single, escaped, plain] = match;
    const part = double?.replaceAll(/\\([\\"$`])/g, "$1") ?? single ?? escaped ?? plain;
    if (part !== undefined) word = (word ?? "") + part;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  return word === undefined ? words : [...words, word];
}
