/**
 * The part of JSON Schema in which a bundle's own providers declare their parameters. A keyword that
 * is not known is refused: one that is ignored would promise a check that nobody makes.
 */
import { quote, type Report } from "./problem.ts";
import {
  boolean,
  defined,
  fields,
  type JsonSchema,
  list,
  oneOf,
  optional,
  type Reader,
  reject,
  rejectKey,
  scalar,
  text,
} from "./read.ts";
import {
  describeValue,
  findEntry,
  isNull,
  type MapValue,
  type Scalar,
  type Value,
} from "./value.ts";

export type ParameterSchema = {
  readonly type?: (typeof TYPES)[number];
  readonly properties?: ReadonlyMap<string, ParameterSchema>;
  readonly required?: readonly string[];
  readonly isClosed: boolean;
  readonly items?: ParameterSchema;
  readonly enum?: readonly Scalar[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly default?: Value;
};

const TYPES = ["string", "number", "integer", "boolean", "array", "object"] as const;

const number = scalar<number>({ type: "number" }, { what: "a number" }, ({ value }) =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined,
);
const anyText: Reader<string> = {
  schema: {},
  read: (value, report) => text("a text").read(value, report),
};
const anyScalar = scalar<Scalar>({}, { what: "a single value" }, (value) => value);
const anyValue: Reader<Value> = { schema: {}, read: (value) => value };

const schemas: Reader<ReadonlyMap<string, ParameterSchema>> = {
  schema: { type: "object" },
  read: (value, report) => {
    if (value.type !== "map") return reject(value, { what: "a map of names to schemas" }, report);
    const read = value.entries.flatMap(({ key, value: schema }) => {
      const result = parameterSchema.read(schema, report);
      return result ? [[key, result] as const] : [];
    });
    return read.length === value.entries.length ? new Map(read) : undefined;
  },
};

/** Calls itself for what stands inside. */
const nested: Reader<ParameterSchema> = {
  schema: { type: "object" },
  read: (value, report) => parameterSchema.read(value, report),
};

export const keywords = fields(
  {
    type: optional(oneOf(TYPES)),
    properties: optional(schemas),
    required: optional(list(anyText, { what: "a list of names" })),
    additionalProperties: optional(boolean),
    items: optional(nested),
    enum: optional(list(anyScalar, { what: "a list of values" })),
    minimum: optional(number),
    maximum: optional(number),
    minLength: optional(number),
    maxLength: optional(number),
    minItems: optional(number),
    maxItems: optional(number),
    default: optional(anyValue),
    title: optional(anyText),
    description: optional(anyText),
  },
  { what: "a JSON Schema", hint: "write type: string, or what it is" },
);

export const parameterSchema: Reader<ParameterSchema> = {
  schema: keywords.schema,
  read: (value, report) => {
    const read = keywords.read(value, report);
    if (!read) return undefined;
    const { additionalProperties, title: _, description: __, ...rest } = read;
    const schema = { ...defined(rest), isClosed: additionalProperties === false };
    if (schema.default !== undefined) conform(schema.default, schema, report);
    return schema;
  },
};

/** The value with defaults put in; what does not conform is reported and unknown. */
export function conform(value: Value, schema: ParameterSchema, report: Report): Value {
  const unknown: Value = { type: "unknown", place: value.place };
  if (!hasType(value, schema.type)) {
    return reject(value, { what: TYPE_WORDS[schema.type ?? "string"] }, report) ?? unknown;
  }
  if (value.type === "list") {
    if (!hasSize(value, value.items.length, { ...itemBounds(schema), unit: "items" }, report)) {
      return unknown;
    }
    const { items } = schema;
    if (!items) return value;
    return { ...value, items: value.items.map((item) => conform(item, items, report)) };
  }
  if (value.type === "map") return conformMap(value, schema, report);
  return value.type === "scalar" && !isWithin(value, schema, report) ? unknown : value;
}

const TYPE_WORDS = {
  string: "a text",
  number: "a number",
  integer: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
} as const;

function hasType(value: Value, type: ParameterSchema["type"]): boolean {
  if (type === undefined || value.type === "unknown") return true;
  if (type === "array") return value.type === "list";
  if (type === "object") return value.type === "map";
  if (value.type !== "scalar") return false;
  return type === "integer" ? Number.isSafeInteger(value.value) : typeof value.value === type;
}

function isWithin(value: Scalar, schema: ParameterSchema, report: Report): boolean {
  const { enum: allowed, minimum = -Infinity, maximum = Infinity } = schema;
  if (allowed && !allowed.some((each) => each.value === value.value)) {
    const what = `one of ${allowed.map(({ source }) => source).join(", ")}`;
    reject(value, { what }, report);
    return false;
  }
  if (typeof value.value === "string") {
    const { minLength: min = 0, maxLength: max = Infinity } = schema;
    return hasSize(value, [...value.value].length, { min, max, unit: "characters" }, report);
  }
  if (typeof value.value !== "number" || (value.value >= minimum && value.value <= maximum)) {
    return true;
  }
  const bound = value.value < minimum ? `${minimum} or more` : `${maximum} or less`;
  report(value.place, `must be ${bound}, found ${describeValue(value)}`);
  return false;
}

const itemBounds = ({ minItems: min = 0, maxItems: max = Infinity }: ParameterSchema) => ({
  min,
  max,
});

function hasSize(
  value: Value,
  size: number,
  { min, max, unit }: { readonly min: number; readonly max: number; readonly unit: string },
  report: Report,
): boolean {
  if (size >= min && size <= max) return true;
  const bound = size < min ? `${min} ${unit} or more` : `${max} ${unit} or fewer`;
  report(value.place, `must have ${bound}, found ${size}`);
  return false;
}

function conformMap(map: MapValue, schema: ParameterSchema, report: Report): MapValue {
  const properties = schema.properties ?? new Map<string, ParameterSchema>();
  for (const entry of map.entries) {
    if (schema.isClosed && !properties.has(entry.key))
      rejectKey(entry, [...properties.keys()], report);
  }
  for (const name of schema.required ?? []) {
    const entry = findEntry(map, name);
    if (!entry || isNull(entry.value)) {
      report(entry?.place ?? map.place, `needs ${quote(name)}`, `add ${name}: …`);
    }
  }
  const given = map.entries
    .filter(({ value }) => !isNull(value))
    .map((entry) => {
      const property = properties.get(entry.key);
      return property ? { ...entry, value: conform(entry.value, property, report) } : entry;
    });
  const defaults = [...properties].flatMap(([key, { default: value }]) =>
    value && !given.some((entry) => entry.key === key) ? [{ key, place: value.place, value }] : [],
  );
  return { ...map, entries: [...given, ...defaults] };
}

/** The value as plain data, for publishing. */
export function toPlain(value: Value): JsonSchema[string] {
  switch (value.type) {
    case "scalar":
      return value.value;
    case "list":
      return value.items.map(toPlain);
    case "map":
      return Object.fromEntries(value.entries.map((entry) => [entry.key, toPlain(entry.value)]));
    case "unknown":
      return undefined;
  }
}
