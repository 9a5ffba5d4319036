/** Columns that line up, two spaces apart, without boxes. */

export type Column = { readonly title: string; readonly align?: "left" | "right" };

/** Lines, the titles first. A column with no title in any row and no value is left out. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paintTitle: (text: string) => string = (text) => text,
): string[] {
  const shown = columns
    .map((column, index) => ({ column, index }))
    .filter(({ index }) => rows.some((row) => (row[index] ?? "") !== ""));
  const widths = shown.map(({ column, index }) =>
    Math.max(textWidth(column.title), ...rows.map((row) => textWidth(row[index] ?? ""))),
  );
  const lineOf = (cells: readonly string[]): string =>
    shown
      .map(({ column }, at) => pad(cells[at] ?? "", widths[at] ?? 0, column.align ?? "left"))
      .join("  ")
      .trimEnd();
  const head = lineOf(shown.map(({ column }) => column.title));
  return [
    ...(head === "" ? [] : [paintTitle(head)]),
    ...rows.map((row) => lineOf(shown.map(({ index }) => row[index] ?? ""))),
  ];
}

function pad(text: string, width: number, align: "left" | "right"): string {
  const space = " ".repeat(Math.max(0, width - textWidth(text)));
  return align === "right" ? space + text : text + space;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one.
const COLOUR = /\x1b\[[0-9;]*m/g;

/** How many columns a text takes on a terminal: colours none, East Asian characters and emoji two. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text.replace(COLOUR, "")) width += characterWidth(character);
  return width;
}

const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;
const NONE = /\p{Mark}|\p{Cf}/u;

function characterWidth(character: string): number {
  if (character < "\u0300") return 1;
  if (NONE.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** At most `columns` wide, colours kept, with an ellipsis where something was cut. */
export function clip(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  let width = 0;
  let clipped = "";
  let at = 0;
  for (const match of [...text.matchAll(COLOUR), undefined]) {
    for (const character of text.slice(at, match?.index ?? text.length)) {
      width += characterWidth(character);
      if (width < columns) clipped += character;
    }
    if (match) clipped += match[0];
    at = match ? match.index + match[0].length : text.length;
  }
  return `${clipped}…`;
}
