/** YAML text to values with places: YAML 1.2, one document, within limits that no honest file meets. */
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type YAMLError,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { type Place, quote, type Report, textFault } from "../providers/problem.ts";
import { type Entry, isNull, type Scalar, type Value } from "../providers/value.ts";

const BYTES_MAX = 1_048_576;
/** The composer recurses, and V8 ends the process when a regular expression meets the end of the stack. */
const DEPTH_MAX = 50;

/** What the files of a bundle may still hold, counted down. The daemon does nothing else while it reads them. */
export type YamlBudget = {
  lexemes: number;
  /** After aliases have been followed. */
  values: number;
};
export const yamlBudget = (): YamlBudget => ({ lexemes: 200_000, values: 50_000 });

const TAGS = new Set(
  ["str", "int", "float", "bool", "null", "map", "seq"].map((name) => `tag:yaml.org,2002:${name}`),
);

/** Undefined after problems have been reported; null where the file has nothing but comments. */
export function parseYaml(
  file: string,
  source: string,
  report: Report,
  budget = yamlBudget(),
): Value | null | undefined {
  const lines = new LineCounter();
  const place = (offset: number, path: string): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path };
  };
  const start: Place = { file, line: 1, column: 1, path: "" };
  const fault = faultOf(source);
  if (fault) return report(start, ...fault);
  const undecoded = source.indexOf(REPLACEMENT);
  if (undecoded >= 0) {
    const before = source.slice(0, undecoded).split("\n");
    const column = (before.at(-1) ?? "").length + 1;
    const hint = "save the file as UTF-8";
    return report({ ...start, line: before.length, column }, "is not UTF-8 text", hint);
  }

  const reportAt: ReportAt = (offset, message, hint) => report(place(offset, ""), message, hint);
  const document = compose(source, lines, reportAt, budget);
  if (!document) return document;
  if (!document.contents) return null;
  const state = { placeOf: place, report, anchors: new Map(), budget };
  const value = toValue(state, document.contents, { path: "", offset: 0, depth: 0 });
  return isNull(value) ? null : value;
}

/** What decoders put in place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";

function faultOf(source: string): [message: string, hint: string] | undefined {
  // A character has at least one byte, and the limit need not be exact beyond that.
  if (source.length > BYTES_MAX) return ["is larger than 1 MiB", "move data out of it"];
  for (let index = 0; index < source.length; index += 1) {
    const code = source.charCodeAt(index);
    if ((code < 32 && code !== 9 && code !== 10 && code !== 13) || code === 127) {
      return ["is not text: it holds control characters", "write it as UTF-8 text"];
    }
  }
  return undefined;
}

type ReportAt = (offset: number, message: string, hint: string) => undefined;

function compose(
  source: string,
  lines: LineCounter,
  report: ReportAt,
  budget: YamlBudget,
): Document.Parsed | null | undefined {
  const tokens = tokenise(source, lines, report, budget);
  if (!tokens) return undefined;
  const composer = new Composer({
    version: "1.2",
    schema: "core",
    strict: true,
    prettyErrors: false,
    // Checked while converting: the composer compares every key with every other.
    uniqueKeys: false,
    stringKeys: false,
  });
  const documents = [...composer.compose(tokens, false, source.length)];
  const [first, second] = documents;
  const errors = documents.flatMap((each) => each.errors);
  // What is said after the first syntax error mostly follows from it; warnings stand alone.
  const told = errors.length > 0 ? errors.slice(0, 1) : documents.flatMap((each) => each.warnings);
  for (const error of told) report(error.pos[0], ...explain(error, source));
  if (told.length > 0) return undefined;
  if (second) {
    const hint = "keep one document in a file, without ---";
    return report(second.range[0], "a second document begins here", hint);
  }
  if (first?.directives.yaml.explicit && first.directives.yaml.version !== "1.2") {
    return report(
      0,
      `asks for YAML ${first.directives.yaml.version}`,
      "take out the %YAML line: files are YAML 1.2",
    );
  }
  return first ?? null;
}

/** The parser's tokens; undefined, reported, where the nesting or the number of tokens passes its limit. */
function tokenise(source: string, lines: LineCounter, report: ReportAt, budget: YamlBudget) {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens = [];
  for (const lexeme of new Lexer().lex(source)) {
    const { offset } = parser;
    tokens.push(...parser.next(lexeme));
    budget.lexemes -= 1;
    if (parser.stack.length > DEPTH_MAX) {
      return report(offset, `is nested more than ${DEPTH_MAX} levels deep`, "nest less");
    }
    if (budget.lexemes === 0) return report(offset, "holds too many values", "split the bundle");
    // Told of another file.
    if (budget.lexemes < 0) return undefined;
  }
  return [...tokens, ...parser.end()];
}

const QUOTE_REFERENCES = 'inside [ ] and { }, put "${{ … " in quotes';

const EXPLAINED: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  TAB_AS_INDENT: ["a tab indents this line", "indent with spaces"],
  BAD_ALIAS: ["an alias names no anchor", "put a text that begins with * in quotes"],
  BAD_SCALAR_START: ["a plain text cannot begin with this character", "put the text in quotes"],
  BLOCK_AS_IMPLICIT_KEY: [
    "this line is not YAML: a key or a list is where none can be",
    "indent it like its neighbours, and put a text that holds a colon and a blank in quotes",
  ],
  MULTILINE_IMPLICIT_KEY: [
    "a key must stand on one line",
    "look for a missing colon on the line before",
  ],
  BAD_INDENT: [
    "the indentation is wrong, or a bracket is not closed",
    "indent it like its neighbours",
  ],
  UNEXPECTED_TOKEN: [
    "this line is not YAML",
    "look for wrong indentation, a missing quote, or text after a closing quote",
  ],
};

function explain(error: YAMLError, source: string): [message: string, hint: string] {
  const line = source.slice(source.lastIndexOf("\n", error.pos[0] - 1) + 1).split("\n", 1)[0] ?? "";
  if (error.code === "MISSING_CHAR" && /[[{,].*\$\{\{/.test(line)) {
    return ["a reference breaks this line", QUOTE_REFERENCES];
  }
  if (error.code === "TAG_RESOLVE_FAILED") {
    return [lowerFirst(error.message), "take the tag out: values are plain YAML"];
  }
  if (error.code === "MISSING_CHAR" && error.message.endsWith("quote")) {
    return ["a quote is not closed", "look for it in the lines above"];
  }
  const hint = "look at the indentation and the punctuation of this line and the one before";
  return [...(EXPLAINED[error.code] ?? [lowerFirst(error.message), hint])];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

type Node = Document.Parsed["contents"];
type Conversion = {
  readonly placeOf: (offset: number, path: string) => Place;
  readonly report: Report;
  /** As met so far: an alias means the last anchor of its name before it. */
  readonly anchors: Map<string, Node>;
  readonly budget: YamlBudget;
};
/** Where a value stands: its path, where its key is, and how deep. */
type Spot = { readonly path: string; readonly offset: number; readonly depth: number };

function fail(state: Conversion, place: Place, message: string, hint: string): Value {
  state.report(place, message, hint);
  return { type: "unknown", place };
}

function toValue(state: Conversion, node: Node | null | undefined, spot: Spot): Value {
  const place = state.placeOf(node?.range[0] ?? spot.offset, spot.path);
  state.budget.values -= 1;
  if (state.budget.values === 0) {
    return fail(state, place, "holds too many values, aliases followed", "use fewer aliases");
  }
  if (state.budget.values < 0) return { type: "unknown", place };
  if (!node) return { type: "scalar", value: null, source: "", place };
  if (spot.depth > DEPTH_MAX) {
    const message = `is nested more than ${DEPTH_MAX} levels deep, aliases followed`;
    return fail(state, place, message, "nest less");
  }
  if (isAlias(node)) return follow(state, node.source, place, spot);
  if (node.anchor !== undefined) state.anchors.set(node.anchor, node);
  if (node.tag !== undefined && !TAGS.has(node.tag)) {
    const hint = "take the tag out: values are plain YAML";
    return fail(state, place, `has the tag ${quote(node.tag)}`, hint);
  }
  if (isScalar(node)) return checked(state, toScalar(node.value, node.source, place));
  return isSeq(node) ? toList(state, node, place, spot) : toMap(state, node, place, spot);
}

/** A NUL is told of where it matters: there it can be said what it is in. */
function checked(state: Conversion, scalar: Scalar): Value {
  const fault = scalar.source.includes("\0") ? undefined : textFault(scalar.source);
  return fault ? fail(state, scalar.place, ...fault) : scalar;
}

function follow(state: Conversion, name: string, place: Place, spot: Spot): Value {
  const node = state.anchors.get(name);
  if (node) return toValue(state, node, { ...spot, depth: spot.depth + 1 });
  const hint = "put a text that begins with * in quotes";
  return fail(state, place, `the alias *${name} names no anchor before it`, hint);
}

function toList(state: Conversion, node: YAMLSeq.Parsed, place: Place, spot: Spot): Value {
  const items = node.items.map((item, index) =>
    toValue(state, item, {
      path: `${spot.path}[${nameOf(item) ?? index}]`,
      offset: item?.range?.[0] ?? spot.offset,
      depth: spot.depth + 1,
    }),
  );
  return { type: "list", items, place };
}

function toMap(state: Conversion, node: YAMLMap.Parsed, place: Place, spot: Spot): Value {
  const entries = new Map<string, Entry>();
  for (const pair of node.items) {
    const offset = pair.key.range[0];
    const key = isScalar(pair.key) ? (pair.key.source ?? String(pair.key.value)) : undefined;
    if (key === undefined) {
      fail(
        state,
        state.placeOf(offset, spot.path),
        "a key must be a plain text",
        "write key: value",
      );
      continue;
    }
    const fault = textFault(key);
    if (fault) {
      fail(state, state.placeOf(offset, spot.path), `the key ${quote(key)} ${fault[0]}`, fault[1]);
      continue;
    }
    const path = spot.path === "" ? key : `${spot.path}.${key}`;
    const keyPlace = state.placeOf(offset, path);
    if (entries.has(key)) {
      fail(state, keyPlace, `the key ${quote(key)} is there twice`, "keep one");
      continue;
    }
    const value = toValue(state, pair.value, { path, offset, depth: spot.depth + 1 });
    entries.set(key, { key, place: keyPlace, value });
  }
  return { type: "map", entries: [...entries.values()], place };
}

function toScalar(value: unknown, source: string | undefined, place: Place): Scalar {
  const written = source ?? String(value ?? "");
  const isPlain = typeof value === "number" || typeof value === "boolean" || value === null;
  return isPlain
    ? { type: "scalar", value, source: written, place }
    : { type: "scalar", value: String(value), source: String(value), place };
}

/** An item that has a name is called by it in paths: `workflows[train]`. */
function nameOf(item: Node): string | undefined {
  if (!isMap(item)) return undefined;
  const name = item.get("name");
  return typeof name === "string" && /^[\w.-]{1,64}$/.test(name) ? name : undefined;
}
