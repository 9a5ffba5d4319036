/**
 * The parameter `environment`: a map, or a list of `K=V`. Values are passed exactly as written; in a map, one may say instead
 * where it is kept.
 */
import type { SecretReference } from "../core/workflow.ts";
import { quote, type Report } from "./problem.ts";
import { byShape, type Reader, reject } from "./read.ts";
import { secretReference } from "./secret-reference.ts";
import { isNull, type ListValue, type Scalar, type Value } from "./value.ts";

export type Environment = Readonly<Record<string, string | SecretReference>>;

/** What begins the names by which Errand tells each job what it is. */
const OWN = "ERRAND_";
export const isOwnName = (name: string): boolean => name.startsWith(OWN);

type Variable = readonly [name: string, value: string | SecretReference];

const WANTED = {
  what: "a map of names to values, or a list of NAME=value",
  hint: "write NAME: value, one a line",
};

const fromMap: Reader<Environment> = {
  schema: {
    type: "object",
    additionalProperties: {
      anyOf: [{ type: ["string", "number", "boolean"] }, ...secretReference.schemas],
    },
  },
  read: (value, report) => {
    if (value.type !== "map") return reject(value, WANTED, report);
    return collect(value.entries.map((entry) => readEntry(entry.key, entry.value, report)));
  },
};

const fromList: Reader<Environment> = {
  schema: { type: "array", items: { type: "string", pattern: "^[^=]+=" } },
  read: (value, report) => {
    if (value.type !== "list") return reject(value, WANTED, report);
    const variables = collect(value.items.map((item) => readItem(item, report)));
    return reportTwice(value, report) ? undefined : variables;
  },
};

export const environment: Reader<Environment> = byShape({ map: fromMap, list: fromList }, WANTED);

function collect(variables: readonly (Variable | undefined)[]): Environment | undefined {
  const read = variables.filter((variable) => variable !== undefined);
  return read.length === variables.length ? Object.fromEntries(read) : undefined;
}

function readEntry(name: string, value: Value, report: Report): Variable | undefined {
  const fault = nameFault(name);
  if (fault) return report(value.place, `${quote(name)} ${fault}`, "choose another name");
  if (value.type === "map") {
    const reference = secretReference.read(value, report);
    return reference && [name, reference];
  }
  const hint = isNull(value) ? 'write "" for an empty text' : "";
  const wanted = { what: "a text, a number, true or false", hint };
  if (value.type !== "scalar" || value.value === null) return reject(value, wanted, report);
  return checked(name, value, value.source, report);
}

function readItem(item: Value, report: Report): Variable | undefined {
  const wanted = { what: "NAME=value", hint: "put the whole of it in quotes, or write a map" };
  if (item.type !== "scalar" || typeof item.value !== "string") {
    return reject(item, wanted, report);
  }
  const equals = item.value.indexOf("=");
  if (equals < 1) return reject(item, wanted, report);
  const name = item.value.slice(0, equals);
  const fault = nameFault(name);
  if (fault) return report(item.place, `${quote(name)} ${fault}`, "choose another name");
  return checked(name, item, item.value.slice(equals + 1), report);
}

function nameFault(name: string): string | undefined {
  // Records and orders are JSON objects, and their readers drop this name from one.
  if (name === "" || name === "__proto__") return "is no name for a variable";
  if (/[=\0]/.test(name)) return "is no name for a variable: it holds = or NUL";
  return isOwnName(name) ? `begins with ${OWN}, as only Errand's own names do` : undefined;
}

/** No process can be given a NUL in its environment. */
function checked(name: string, place: Scalar, text: string, report: Report): Variable | undefined {
  if (!text.includes("\0")) return [name, text];
  return report(place.place, `the value of ${name} holds a NUL character`, "take it out");
}

function reportTwice(value: ListValue, report: Report): boolean {
  const names = new Set<string>();
  let isAny = false;
  for (const item of value.items) {
    const name = item.type === "scalar" ? /^[^=]+(?==)/.exec(item.source)?.[0] : undefined;
    if (name === undefined) continue;
    if (names.has(name)) {
      report(item.place, `${quote(name)} is listed twice`, "keep one");
      isAny = true;
    }
    names.add(name);
  }
  return isAny;
}
