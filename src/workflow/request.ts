/** What is asked for: from the command line or the drop, else from `.dstack/run.yaml`. */
import { type Place, quote, type Report, textFault } from "../providers/problem.ts";
import {
  byShape,
  fields,
  list,
  mapped,
  optional,
  type Reader,
  reject,
  text,
} from "../providers/read.ts";
import type { Scalar, Value } from "../providers/value.ts";
import { nowhere } from "./files.ts";
import { isName, NAME_RULE } from "./names.ts";
import { exportedName } from "./variables.ts";

/** As it came with the submission. */
export type Request = {
  /** Empty: what run.yaml names, else all that no other workflow depends on. */
  readonly workflows: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  readonly tag?: string;
};

/** A value for a variable, to be coerced to the type of what it replaces. */
export type Override = {
  readonly name: string;
  readonly text: string;
  readonly place: Place;
  /** From run.yaml, which is there for any run of the bundle. */
  readonly isDefault: boolean;
};

export type Wish = {
  readonly workflows: readonly { readonly name: string; readonly place: Place }[];
  /** By exported name: case, `-` and `_` make no difference. */
  readonly overrides: ReadonlyMap<string, Override>;
  readonly tag: string | undefined;
};

const WANTED_NAMES = { what: "the name of a workflow, or a list of them" };
const workflowName = text("the name of a workflow");

const override: Reader<Scalar> = {
  schema: { type: ["string", "number", "boolean"] },
  read: (value, report) =>
    value.type === "scalar" && value.value !== null
      ? value
      : reject(value, { what: "a text, a number, true or false" }, report),
};

const overrides: Reader<readonly Override[]> = {
  schema: { type: "object", additionalProperties: override.schema },
  read: (value, report) => {
    if (value.type !== "map") return reject(value, { what: "a map of names to values" }, report);
    return value.entries.flatMap(({ key, place, value: given }) => {
      const read = override.read(given, report);
      return read ? [{ name: key, text: read.source, place, isDefault: true }] : [];
    });
  },
};

const located = (value: Value, report: Report) => {
  const name = workflowName.read(value, report);
  return name === undefined ? undefined : { name, place: value.place };
};
const namedWorkflow = { schema: workflowName.schema, read: located };

const runFile = fields(
  {
    workflows: optional(
      byShape(
        {
          scalar: mapped(namedWorkflow, (name): readonly { name: string; place: Place }[] => [
            name,
          ]),
          list: list(namedWorkflow, WANTED_NAMES),
        },
        WANTED_NAMES,
      ),
    ),
    variables: optional(overrides),
    tag: optional({
      schema: workflowName.schema,
      read: (value: Value, report: Report) => {
        const tag = text("a tag").read(value, report);
        return tag === undefined ? undefined : { tag, place: value.place };
      },
    }),
  },
  { what: "a map of workflows, variables and tag" },
);

export const runFileSchema = runFile.schema;

/** The request wins over the file, variable by variable. Workflows and tag of the file are for a run that names no workflow. */
export function readWish(file: Value | undefined, request: Request, report: Report): Wish {
  const defaults = file ? runFile.read(file, report) : undefined;
  const asked = request.workflows.map((name) => ({
    name,
    place: nowhere("request", "workflows"),
  }));
  const given = Object.entries(request.variables).map(([name, value]) => ({
    name,
    text: value,
    place: nowhere("request", `variables.${name}`),
    isDefault: false,
  }));
  for (const { text: value, place } of [...(defaults?.variables ?? []), ...given]) {
    const fault = textFault(value);
    if (fault) report(place, ...fault);
  }
  return {
    workflows: asked.length > 0 ? asked : (defaults?.workflows ?? []),
    overrides: new Map(
      [...(defaults?.variables ?? []), ...given].map((each) => [exportedName(each.name), each]),
    ),
    tag: readTag(defaults?.tag, request, report),
  };
}

/** A bad one in the file is told even where the request has its own. */
function readTag(
  fromFile: { readonly tag: string; readonly place: Place } | undefined,
  { tag: asked, workflows }: Request,
  report: Report,
): string | undefined {
  const fromRequest =
    asked === undefined ? undefined : { tag: asked, place: nowhere("request", "tag") };
  for (const each of [fromRequest, fromFile]) {
    if (each && !isName(each.tag)) report(each.place, `${quote(each.tag)} is no tag`, NAME_RULE);
  }
  return asked ?? (workflows.length > 0 ? undefined : fromFile?.tag);
}
