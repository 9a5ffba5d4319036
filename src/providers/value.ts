/**
 * What a YAML file holds, with the place of each value and the text it was written as. Numbers keep
 * their source text: `3.10`, `0x10` and `1e3` reach a job as the user wrote them.
 */
import { type Place, quote } from "./problem.ts";

export type Scalar = {
  readonly type: "scalar";
  readonly value: string | number | boolean | null;
  /** As written, without quotes; what a job's environment and longer texts get. */
  readonly source: string;
  readonly place: Place;
};

export type ListValue = {
  readonly type: "list";
  readonly items: readonly Value[];
  readonly place: Place;
};

export type Entry = { readonly key: string; readonly place: Place; readonly value: Value };

export type MapValue = {
  readonly type: "map";
  /** In the order of the file, keys unique. */
  readonly entries: readonly Entry[];
  readonly place: Place;
};

/** A value whose problem has been reported: whoever reads it adds no second one. */
export type UnknownValue = { readonly type: "unknown"; readonly place: Place };

export type Value = Scalar | ListValue | MapValue | UnknownValue;

export const textScalar = (text: string, place: Place): Scalar => ({
  type: "scalar",
  value: text,
  source: text,
  place,
});

export const findEntry = (map: MapValue, key: string): Entry | undefined =>
  map.entries.find((entry) => entry.key === key);

export const isNull = (value: Value): boolean => value.type === "scalar" && value.value === null;

/** For messages: `the text "two"`, `the number 3.10`, `a list`, `nothing`. */
export function describeValue(value: Value): string {
  if (value.type === "list") return "a list";
  if (value.type === "map") return "a map";
  if (value.type === "unknown" || value.value === null) return "nothing";
  if (typeof value.value === "string") return `the text ${quote(value.value)}`;
  return typeof value.value === "number" ? `the number ${value.source}` : value.source;
}
