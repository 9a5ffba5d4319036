/** Problems with the line they stand in, and a caret under the place. */
import { type Problem, renderProblem } from "../providers/problem.ts";
import type { Palette } from "./palette.ts";
import { tameLine } from "./render-lines.ts";
import { textWidth } from "./render-table.ts";

/** Of a longer line, what stands around the place is shown. */
const COLUMNS_MAX = 100;
const COLUMNS_BEFORE = 60;

export type RenderProblemsOptions = {
  /** Text by file. */
  readonly texts: ReadonlyMap<string, string>;
  readonly palette: Palette;
  readonly paint: (text: string) => string;
  /** Before each, as "warning: ". */
  readonly label?: string;
};

export function renderProblems(
  problems: readonly Problem[],
  { texts, palette, paint, label = "" }: RenderProblemsOptions,
): readonly string[] {
  const linesOf = new Map<string, readonly string[]>();
  return problems.flatMap((problem) => {
    const { file, line, column } = problem;
    const lines = linesOf.get(file) ?? (texts.get(file) ?? "").split(/\r\n|\r|\n/);
    linesOf.set(file, lines);
    const source = line > 0 ? lines[line - 1] : undefined;
    const excerpt = source === undefined ? [] : renderExcerpt(source, { line, column }, palette);
    return [paint(`${label}${renderProblem(problem)}`), ...excerpt];
  });
}

/** `column` counts UTF-16 units from 1, as the parser does. */
function renderExcerpt(
  source: string,
  { line, column }: Pick<Problem, "line" | "column">,
  palette: Palette,
): readonly string[] {
  const from = source.length > COLUMNS_MAX ? Math.max(0, column - 1 - COLUMNS_BEFORE) : 0;
  const shown = source.slice(from, from + COLUMNS_MAX);
  const [head, tail] = [from > 0 ? "…" : "", from + COLUMNS_MAX < source.length ? "…" : ""];
  const before = `${head}${plain(source.slice(from, column - 1))}`;
  const number = String(line).padStart(5);
  const gap = " ".repeat(number.length);
  return [
    `${palette.faint(`${number} |`)} ${head}${plain(shown)}${tail}`,
    `${palette.faint(`${gap} |`)} ${" ".repeat(textWidth(before))}${palette.bad("^")}`,
  ];
}

/** A tab as one column, control characters as nothing that a terminal would act on. */
const plain = (text: string): string => tameLine(text.replaceAll("\t", " ")).replaceAll("\r", "");

/** What is published of a problem; places that are in no file have neither line nor column. */
export const problemJson = ({ file, line, column, path, message, hint }: Problem) => ({
  file,
  line: line > 0 ? line : null,
  column: line > 0 ? column : null,
  path,
  message,
  hint,
});
