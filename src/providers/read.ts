/**
 * Readers: from a value of a YAML file to data, or a problem at its place. Each carries the JSON
 * Schema of what it accepts, so that what is checked and what is published cannot differ.
 */
import { suggest } from "./near.ts";
import { quote, type Report, textFault } from "./problem.ts";
import {
  describeValue,
  type Entry,
  isNull,
  type MapValue,
  type Scalar,
  type Value,
} from "./value.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

export type Reader<T> = {
  readonly schema: JsonSchema;
  /** Undefined after a problem has been reported. */
  readonly read: (value: Value, report: Report) => T | undefined;
};

/** What a reader wants, in the words of its messages. */
export type Wanted = {
  /** As in "must be a whole number, 1 or more". */
  readonly what: string;
  readonly hint?: string;
};

/** Reports "must be …, found …", unless the value's problem has been told already. */
export function reject(value: Value, wanted: Wanted, report: Report): undefined {
  if (value.type === "unknown") return undefined;
  return report(
    value.place,
    `must be ${wanted.what}, found ${describeValue(value)}`,
    wanted.hint ?? "",
  );
}

/** A single value; `parse` returns undefined for what it does not accept. */
export const scalar = <T>(
  schema: JsonSchema,
  wanted: Wanted,
  parse: (scalar: Scalar) => T | undefined,
): Reader<T> => ({
  schema,
  read: (value, report) => {
    const read = value.type === "scalar" ? parse(value) : undefined;
    if (read !== undefined) return read;
    const fault = value.type === "scalar" ? textFault(value.source) : undefined;
    return fault ? report(value.place, ...fault) : reject(value, wanted, report);
  },
});

/** A text that is not empty and that a program can be given. */
export const text = (what: string, hint = ""): Reader<string> =>
  scalar({ type: "string", minLength: 1 }, { what, hint }, ({ value }) =>
    typeof value === "string" && value.trim() !== "" && !value.includes("\0") ? value : undefined,
  );

export function integer(range: { readonly min: number; readonly max: number }): Reader<number> {
  const what =
    range.max === Number.MAX_SAFE_INTEGER
      ? `a whole number, ${range.min} or more`
      : `a whole number from ${range.min} to ${range.max}`;
  const schema = { type: "integer", minimum: range.min, maximum: range.max };
  const hint = "a number has no quotes and no unit";
  return scalar(schema, { what, hint }, ({ value }) =>
    typeof value === "number" &&
    Number.isSafeInteger(value) &&
    value >= range.min &&
    value <= range.max
      ? value
      : undefined,
  );
}

export const boolean: Reader<boolean> = scalar(
  { type: "boolean" },
  { what: "true or false", hint: "write true or false, without quotes" },
  ({ value }) => (typeof value === "boolean" ? value : undefined),
);

export const oneOf = <const T extends string>(names: readonly T[]): Reader<T> =>
  scalar({ enum: names }, { what: names.map(quote).join(" or ") }, ({ value }) =>
    names.find((name) => name === value),
  );

/** A list whose items all read; every bad one is reported. */
export const list = <T>(item: Reader<T>, wanted: Wanted): Reader<readonly T[]> => ({
  schema: { type: "array", items: item.schema },
  read: (value, report) => {
    if (value.type !== "list") return reject(value, wanted, report);
    const items = value.items.map((each) => item.read(each, report));
    return items.includes(undefined) ? undefined : (items as T[]);
  },
});

/** One reader for each shape that a value may have. */
export const byShape = <T>(
  readers: { readonly scalar?: Reader<T>; readonly list?: Reader<T>; readonly map?: Reader<T> },
  wanted: Wanted,
): Reader<T> => ({
  schema: { anyOf: Object.values(readers).map((reader) => reader.schema) },
  read: (value, report) => {
    const reader = value.type === "unknown" ? undefined : readers[value.type];
    return reader ? reader.read(value, report) : reject(value, wanted, report);
  },
});

/** The same reading, then `change`. */
export const mapped = <T, U>(reader: Reader<T>, change: (value: T) => U): Reader<U> => ({
  schema: reader.schema,
  read: (value, report) => {
    const read = reader.read(value, report);
    return read === undefined ? undefined : change(read);
  },
});

export type Field<T, IsRequired extends boolean> = {
  readonly reader: Reader<T>;
  readonly isRequired: IsRequired;
};
type Spec = Readonly<Record<string, Field<unknown, boolean>>>;
export type FieldsOf<S extends Spec> = {
  readonly [K in keyof S]: S[K] extends Field<infer T, infer IsRequired>
    ? IsRequired extends true
      ? T
      : T | undefined
    : never;
};

export const required = <T>(reader: Reader<T>): Field<T, true> => ({ reader, isRequired: true });
export const optional = <T>(reader: Reader<T>): Field<T, false> => ({ reader, isRequired: false });

/** A map with these keys and no others. An optional key without a value counts as absent. */
export const fields = <S extends Spec>(spec: S, wanted: Wanted): Reader<FieldsOf<S>> => ({
  schema: {
    type: "object",
    properties: Object.fromEntries(
      Object.entries(spec).map(([key, field]) => [key, field.reader.schema]),
    ),
    required: Object.keys(spec).filter((key) => spec[key]?.isRequired),
    additionalProperties: false,
  },
  read: (value, report) => {
    if (value.type !== "map") return reject(value, wanted, report);
    const known = Object.keys(spec);
    const strangers = value.entries.filter((entry) => !known.includes(entry.key));
    for (const stranger of strangers) rejectKey(stranger, known, report);
    const read = known.map((key) => [key, readField(key, spec, value, report)] as const);
    // A stranger is told of and left out: what else is wrong with the rest is worth knowing too.
    if (read.some(([, result]) => result === FAILED)) return undefined;
    return Object.fromEntries(read) as FieldsOf<S>;
  },
});

const FAILED = Symbol("failed");

function readField(key: string, spec: Spec, map: MapValue, report: Report): unknown {
  const field = spec[key];
  const entry = map.entries.find((each) => each.key === key);
  const isAbsent = entry === undefined || isNull(entry.value);
  if (!field || (isAbsent && !field.isRequired)) return undefined;
  if (isAbsent) {
    report(entry?.place ?? map.place, `needs ${quote(key)}`, `add ${key}: …`);
    return FAILED;
  }
  return field.reader.read(entry.value, report) ?? FAILED;
}

/** Reports a key that nobody knows. */
export function rejectKey(entry: Entry, known: readonly string[], report: Report): undefined {
  const isMerge = entry.key === "<<";
  const hint = isMerge
    ? "YAML 1.2 has no merge keys: repeat the keys here"
    : suggest(entry.key, known, "keys");
  return report(entry.place, `unknown key ${quote(entry.key)}`, hint);
}

/** The object without its undefined members. */
export function defined<T extends object>(
  object: T,
): { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
} {
  const present = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as never;
}
