/** infra/errand.yaml as CloudFormation would see it: intrinsic functions resolved, and its policies asked what they allow. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, type ScalarTag } from "yaml";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Fields = { readonly [key: string]: Json };

export const TEMPLATE_PATH = join(import.meta.dirname, "../../infra/errand.yaml");

export const ACCOUNT = "123456789012";
export const STACK_UUID = "11111111-2222-3333-4444-555555555555";

const PSEUDO: Readonly<Record<string, Json>> = {
  "AWS::AccountId": ACCOUNT,
  "AWS::Region": "us-east-1",
  "AWS::Partition": "aws",
  "AWS::URLSuffix": "amazonaws.com",
  "AWS::StackName": "errand",
  "AWS::StackId": `arn:aws:cloudformation:us-east-1:${ACCOUNT}:stack/errand/${STACK_UUID}`,
  "AWS::NoValue": null,
};

const FUNCTIONS = ["Sub", "GetAtt", "If", "Join", "Split", "Select", "Equals", "Not", "And", "Or"];
const nameOf = (tag: string): string => (tag === "Ref" || tag === "Condition" ? tag : `Fn::${tag}`);
const resolveTag = (tag: string) => (value: unknown) => ({ [nameOf(tag)]: value });

const customTags = [...FUNCTIONS, "GetAZs", "FindInMap", "Ref", "Condition"].flatMap((tag) => [
  { tag: `!${tag}`, resolve: resolveTag(tag) } satisfies ScalarTag,
  ...(["seq", "map"] as const).map((collection) => ({
    tag: `!${tag}`,
    collection,
    resolve: (node: unknown) => resolveTag(tag)((node as { toJSON: () => unknown }).toJSON()),
  })),
]);

export type Template = {
  readonly text: string;
  readonly resources: Readonly<Record<string, Fields>>;
  readonly outputs: Readonly<Record<string, Fields>>;
  /** Undefined for a resource that these parameters do not make. */
  readonly properties: (resource: string) => Fields | undefined;
  readonly output: (name: string) => Json;
};

const text = readFileSync(TEMPLATE_PATH, "utf8");
const document = parse(text, { customTags }) as Readonly<Record<string, Record<string, Fields>>>;

/** With these parameters, and the defaults of all others. */
export function readTemplate(parameters: Readonly<Record<string, string>> = {}): Template {
  const {
    Parameters = {},
    Conditions = {},
    Resources = {},
    Outputs = {},
    Mappings = {},
  } = document;

  function ref(name: string): Json {
    const declared = Parameters[name];
    if (!declared) return name in PSEUDO ? (PSEUDO[name] ?? null) : `${name}-id`;
    const given = parameters[name] ?? String(declared.Default);
    return declared.Type === "CommaDelimitedList" ? given.split(",") : given;
  }

  const isTrue = (condition: string): boolean => resolve(Conditions[condition] ?? null) === true;

  function getAtt(path: Json): string {
    const [name = "", attribute = ""] = Array.isArray(path) ? path : String(path).split(".");
    if (attribute !== "Arn") return `${name}-${attribute}`;
    const isBucket = Resources[String(name)]?.Type === "AWS::S3::Bucket";
    return isBucket ? `arn:aws:s3:::${name}-id` : `arn:aws:any:us-east-1:${ACCOUNT}:${name}`;
  }

  function sub(value: Json): string {
    const [pattern = "", own = {}] = Array.isArray(value) ? value : [value];
    const names = resolve(own as Json) as Fields;
    return String(pattern)
      .replace(/\$\{([^!][^}]*)\}/g, (_, name: string) =>
        String(names[name] ?? (name.includes(".") ? getAtt(name) : ref(name))),
      )
      .replaceAll("${!", "${");
  }

  const functions: Readonly<Record<string, (value: Json) => Json>> = {
    Ref: (value) => ref(String(value)),
    Condition: (value) => isTrue(String(value)),
    "Fn::Sub": sub,
    "Fn::GetAtt": getAtt,
    "Fn::If": (value) => {
      const [condition, yes = null, no = null] = value as readonly Json[];
      return resolve(isTrue(String(condition)) ? yes : no);
    },
    "Fn::Join": (value) => {
      const [separator, items] = value as readonly [string, Json];
      return (resolve(items) as readonly Json[]).join(separator);
    },
    "Fn::Split": (value) => {
      const [separator, joined] = value as readonly [string, Json];
      return String(resolve(joined)).split(separator);
    },
    "Fn::Select": (value) => {
      const [index, items] = value as readonly [number, Json];
      return (resolve(items) as readonly Json[])[index] ?? null;
    },
    "Fn::Equals": (value) => {
      const [left, right] = (value as readonly Json[]).map(resolve);
      return String(left) === String(right);
    },
    "Fn::Not": (value) => resolve((value as readonly Json[])[0] ?? null) !== true,
    "Fn::And": (value) => (value as readonly Json[]).every((each) => resolve(each) === true),
    "Fn::Or": (value) => (value as readonly Json[]).some((each) => resolve(each) === true),
    "Fn::GetAZs": () => ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"],
    "Fn::Base64": (value) => resolve(value),
    "Fn::FindInMap": (value) => {
      const [map = "", first = "", second = ""] = (value as readonly Json[])
        .map(resolve)
        .map(String);
      return (Mappings[map]?.[first] as Fields | undefined)?.[second] ?? null;
    },
  };

  function resolve(value: Json): Json {
    if (Array.isArray(value)) return value.map(resolve).filter((each) => each !== null);
    if (typeof value !== "object" || value === null) return value;
    const [name = "", ...others] = Object.keys(value);
    const call = others.length === 0 ? functions[name] : undefined;
    if (call) return call((value as Fields)[name] ?? null);
    const entries = Object.entries(value).map(([key, each]) => [key, resolve(each)] as const);
    return Object.fromEntries(entries.filter(([, each]) => each !== null));
  }

  return {
    text,
    resources: Resources,
    outputs: Outputs,
    properties: (name) => {
      const { Condition: condition, Properties = {} } = Resources[name] ?? {};
      if (typeof condition === "string" && !isTrue(condition)) return undefined;
      return resolve(Properties) as Fields;
    },
    output: (name) => resolve(Outputs[name]?.Value ?? null),
  };
}

export type Statement = {
  readonly Sid: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<
    Record<string, Readonly<Record<string, string | readonly string[]>>>
  >;
};

/** Of a role: its inline policies, those that are attached to it, and policies that name it. */
export function statementsOf(template: Template, holder: string): readonly Statement[] {
  const properties = template.properties(holder) ?? {};
  const inline = ((properties.Policies ?? []) as readonly Fields[]).map(
    (each) => each.PolicyDocument,
  );
  const naming = Object.keys(template.resources).flatMap((name) => {
    const policy = template.properties(name);
    return (policy?.Roles as readonly string[] | undefined)?.includes(`${holder}-id`)
      ? [policy?.PolicyDocument]
      : [];
  });
  return [properties.PolicyDocument, ...inline, ...naming].flatMap(
    (document) => ((document as Fields | undefined)?.Statement ?? []) as readonly Statement[],
  );
}

export const actionsOf = (statements: readonly Statement[]): readonly string[] =>
  [...new Set(statements.flatMap(({ Action }) => Action))].sort();

export type Request = {
  readonly action: string;
  readonly resource: string;
  /** Condition keys that the request has. */
  readonly context?: Readonly<Record<string, string>>;
};

/** As IAM decides, for the operators that the template uses. */
export const isAllowed = (
  statements: readonly Statement[],
  { action, resource, context = {} }: Request,
): boolean =>
  statements.some(
    (each) =>
      each.Effect === "Allow" &&
      [each.Action].flat().includes(action) &&
      [each.Resource].flat().some((pattern) => matches(pattern, resource)) &&
      Object.entries(each.Condition ?? {}).every(([operator, keys]) =>
        Object.entries(keys).every(([key, values]) =>
          holds(
            operator,
            context[key],
            [values].flat().map((value) => fillIn(String(value), context)),
          ),
        ),
      ),
  );

/** IAM's variables, which are condition keys of the request. */
const fillIn = (value: string, context: Readonly<Record<string, string>>): string =>
  value.replace(/\$\{([^}]+)\}/g, (variable, key: string) => context[key] ?? variable);

function holds(operator: string, actual: string | undefined, wanted: readonly string[]): boolean {
  if (operator === "Null") return String(actual === undefined) === wanted[0];
  if (!["StringEquals", "ArnEquals", "Bool"].includes(operator)) {
    throw new Error(`this test knows no condition operator ${operator}`);
  }
  return actual !== undefined && wanted.includes(actual);
}

function matches(pattern: string, resource: string): boolean {
  const escaped = pattern.split("*").map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`, "s").test(resource);
}
