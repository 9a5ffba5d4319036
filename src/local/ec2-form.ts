/** Reads the form of EC2's Query protocol (`TagSpecification.1.Tag.2.Key=…`). What an operation does not know is refused, never ignored. */
import { z } from "zod";
import { ApiError } from "./http.ts";
import { describeProblem, isMissing } from "./problems.ts";

/** More than any call we know needs; RunInstances sends about forty. */
const PARAMETERS_MAX = 2_000;
const DEPTH_MAX = 6;

type Node = { [name: string]: string | Node };

export const text = z.string();
export const flag = z.enum(["true", "false"]).transform((value) => value === "true");
export const integer = z
  .string()
  .regex(/^-?\d{1,9}$/, "is not an integer")
  .transform(Number);

/** `Name.1`, `Name.2`, … in the order of their numbers, which may have gaps. */
export const list = <Item extends z.ZodType>(item: Item) =>
  z.record(z.string().regex(/^\d{1,4}$/), item).transform((items) =>
    Object.entries(items)
      .sort(([left], [right]) => Number(left) - Number(right))
      .map(([, value]) => value as z.output<Item>),
  );

export const filters = list(z.strictObject({ Name: text, Value: list(text).optional() }));

export const strictTag = z.strictObject({ Key: text, Value: text.optional() });

/** Throws ApiError: UnknownParameter (501: AWS may know it, we do not), MissingParameter or InvalidParameterValue. */
export function parseForm<Schema extends z.ZodType>(
  schema: Schema,
  form: URLSearchParams,
): z.output<Schema> {
  const parsed = schema.safeParse(readTree(form));
  if (parsed.success) return parsed.data;
  throw refusal(parsed.error);
}

function readTree(form: URLSearchParams): Node {
  if (form.size > PARAMETERS_MAX) {
    throw new ApiError(400, "RequestEntityTooLarge", `more than ${PARAMETERS_MAX} parameters`);
  }
  const root = emptyNode();
  for (const [name, value] of form) {
    const path = name.split(".");
    const last = path.pop();
    if (last === undefined || path.length > DEPTH_MAX) throw malformed(name);
    const parent = path.reduce((node, part) => descend(node, part, name), root);
    if (parent[last] !== undefined) throw malformed(name);
    parent[last] = value;
  }
  return root;
}

function descend(node: Node, part: string, name: string): Node {
  const child = node[part] ?? emptyNode();
  if (typeof child === "string") throw malformed(name);
  node[part] = child;
  return child;
}

/** Without a prototype, so that no name a caller sends means anything to JavaScript. */
const emptyNode = (): Node => Object.create(null);

const malformed = (name: string): ApiError =>
  new ApiError(
    400,
    "MalformedQueryString",
    `the parameter ${name} is given twice, or in two forms`,
  );

function refusal(error: z.ZodError): ApiError {
  const issue = error.issues[0];
  const path = issue?.path.map(String) ?? [];
  if (issue?.code === "unrecognized_keys") {
    const name = [...path, issue.keys[0]].join(".");
    return new ApiError(501, "UnknownParameter", `the local cloud does not know ${name}`);
  }
  const name = path.join(".");
  if (issue && isMissing(issue)) {
    const message = `The request must contain the parameter ${name}`;
    return new ApiError(400, "MissingParameter", message);
  }
  const message = `Invalid value for ${name}: ${issue ? describeProblem(issue) : "not understood"}`;
  return new ApiError(400, "InvalidParameterValue", message);
}
