/** `${{ name }}` in texts: found, looked up and put in. */
import { suggest } from "./near.ts";
import { type Place, quote, type Report } from "./problem.ts";
import { describeValue, type Entry, type Scalar, textScalar, type Value } from "./value.ts";

/** The names that a text may refer to. */
export type Scope = {
  readonly find: (name: string) => Value | undefined;
  readonly names: readonly string[];
  /** What to do about a name that is not found, where more is known of it. */
  readonly hintFor?: (name: string) => string | undefined;
  /** Who asks, as in `workflow "train"`. */
  readonly owner: string;
  /** Characters that filling in may still make, in the whole bundle; counted down. */
  readonly budget: { characters: number };
};

/** The longest text: no process on Linux can be given a longer argument or environment value. */
const TEXT_MAX = 131_072;
/** For all texts of a bundle together, or a short file could be made to fill the memory. */
export const BUDGET_CHARACTERS = 16 * 1_048_576;
const OPEN = "${{";
const ESCAPE_HINT = `write $${OPEN} for the characters ${OPEN}`;
const HOW_TO_REFER = `write ${OPEN} name }}, or $${OPEN} for the characters ${OPEN}`;
const NAME = /^[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*$/;

export type Piece =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reference"; readonly name: string; readonly written: string }
  /** `${{` without its `}}`. */
  | { readonly type: "open"; readonly written: string };

/** The text in pieces; `$${{` is the three characters `${{`. */
export function parseTemplate(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(/\$?\$\{\{/g)) {
    if (match.index < from) continue;
    if (match.index > from) pieces.push({ type: "text", text: text.slice(from, match.index) });
    const start = match.index + match[0].length;
    if (match[0].startsWith("$$")) {
      pieces.push({ type: "text", text: OPEN });
      from = start;
      continue;
    }
    const end = text.indexOf("}}", start);
    if (end < 0) return [...pieces, { type: "open", written: text.slice(match.index) }];
    const written = text.slice(match.index, end + 2);
    pieces.push({ type: "reference", name: text.slice(start, end).trim(), written });
    from = end + 2;
  }
  if (from < text.length) pieces.push({ type: "text", text: text.slice(from) });
  return pieces;
}

/**
 * The value with every reference in its texts filled in. A text that is one reference and nothing
 * else becomes the value referred to, type and source and all; in a longer one it is put in as written.
 */
export function interpolate(value: Value, scope: Scope, report: Report): Value {
  switch (value.type) {
    case "unknown":
      return value;
    case "scalar":
      return interpolateScalar(value, scope, report);
    case "list":
      return { ...value, items: value.items.map((item) => interpolate(item, scope, report)) };
    case "map":
      return { ...value, entries: value.entries.map((entry) => fillEntry(entry, scope, report)) };
  }
}

function fillEntry(entry: Entry, scope: Scope, report: Report): Entry {
  if (entry.key.includes(OPEN)) {
    report(
      entry.place,
      `the key ${quote(entry.key)} holds a reference`,
      "keys are taken as written; put references in values",
    );
  }
  return { ...entry, value: interpolate(entry.value, scope, report) };
}

function interpolateScalar(value: Scalar, scope: Scope, report: Report): Value {
  if (typeof value.value !== "string" || !value.value.includes(OPEN)) return value;
  const pieces = parseTemplate(value.value);
  const values = pieces.map((piece) => resolve(piece, value.place, scope, report));
  const [only] = values;
  if (values.length === 1 && only && pieces[0]?.type === "reference") {
    const { givenAt } = only.place;
    return { ...only, place: givenAt ? { ...value.place, givenAt } : value.place };
  }
  const texts = values.map((each) => textOf(each, value.place, report));
  const unknown: Value = { type: "unknown", place: value.place };
  if (texts.includes(undefined)) return unknown;
  const length = texts.reduce((sum, text) => sum + (text?.length ?? 0), 0);
  scope.budget.characters -= length;
  if (length <= TEXT_MAX && scope.budget.characters >= 0) {
    return textScalar(texts.join(""), value.place);
  }
  const grown = length > TEXT_MAX ? "grows to over 128 KiB" : "makes the bundle too large";
  report(value.place, `${grown} when its references are filled in`, "make it shorter");
  return unknown;
}

function resolve(piece: Piece, place: Place, scope: Scope, report: Report): Value {
  const unknown: Value = { type: "unknown", place };
  if (piece.type === "text") return textScalar(piece.text, place);
  if (piece.type === "open") {
    report(place, `${quote(piece.written)} has no closing }}`, ESCAPE_HINT);
    return unknown;
  }
  const found = NAME.test(piece.name) ? scope.find(piece.name) : undefined;
  if (found) return found;
  if (NAME.test(piece.name)) {
    const hint = scope.hintFor?.(piece.name) ?? suggest(piece.name, scope.names, "variables");
    report(place, `${scope.owner} knows no variable ${quote(piece.name)}`, hint);
  } else {
    report(place, `${quote(piece.written)} holds no name`, HOW_TO_REFER);
  }
  return unknown;
}

function textOf(value: Value, place: Place, report: Report): string | undefined {
  if (value.type === "scalar") return value.source;
  if (value.type === "unknown") return undefined;
  return report(place, `${describeValue(value)} cannot stand inside a text`, "refer to it alone");
}
