/**
 * JSON Schemas of the files in `.dstack/`, for editors. They are put together from what the readers say that they
 * accept, so that no key is described in two places. A schema accepts at least what `errand check` accepts: what only the
 * check can know (names of other workflows, circles, paths that are not there) is left to it.
 */
import { curl } from "../providers/curl.ts";
import { parts } from "../providers/custom.ts";
import { keywords } from "../providers/json-schema.ts";
import type { Provider } from "../providers/provider.ts";
import { python } from "../providers/python.ts";
import type { JsonSchema } from "../providers/read.ts";
import { NAME_PATTERN } from "./names.ts";
import { runFileSchema } from "./request.ts";
import { DESCRIPTIONS } from "./schema-descriptions.ts";
import { VARIABLE_NAME_PATTERN } from "./variables.ts";

/** The newest that all editors' YAML servers read. */
const DRAFT = "http://json-schema.org/draft-07/schema#";
const PROVIDERS: readonly Provider[] = [python, curl];

/** By the name of the file they are for, without its extension; `provider` is for each of `providers/`. */
export const bundleSchemas = (): Readonly<
  Record<"workflows" | "variables" | "run" | "provider", JsonSchema>
> => ({
  workflows: workflowsSchema(),
  provider: providerSchema(),
  variables: variablesSchema,
  run: {
    $schema: DRAFT,
    title: ".dstack/run.yaml: what is run when nobody says otherwise",
    ...(forEditors(runFileSchema, [], { references: false }) as object),
  },
});

/** A text with a reference in it, whose value nobody knows before it is filled in. */
const reference = { type: "string", pattern: "\\$\\{\\{" };
const name = { type: "string", pattern: NAME_PATTERN };
const dependency = {
  anyOf: [
    { type: "string", pattern: `${NAME_PATTERN.slice(0, -1)}(:${NAME_PATTERN.slice(1, -1)})?$` },
    reference,
  ],
};

const ownKeys = {
  name: { ...name, description: DESCRIPTIONS["workflow.name"] },
  provider: {
    type: "string",
    minLength: 1,
    description: DESCRIPTIONS["workflow.provider"],
    // Shown as proposals; any other is one of the bundle's own.
    examples: PROVIDERS.map((provider) => provider.name),
  },
  "depends-on": {
    anyOf: [{ type: "null" }, dependency, { type: "array", items: dependency }],
    description: DESCRIPTIONS["workflow.depends-on"],
  },
};

function workflowsSchema(): JsonSchema {
  const ofProvider = (provider: Provider) => ({
    if: { properties: { provider: { const: provider.name } }, required: ["provider"] },
    // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema.
    then: { $ref: `#/definitions/${provider.name}` },
  });
  return {
    $schema: DRAFT,
    title: ".dstack/workflows.yaml: the workflows of a project",
    type: "object",
    properties: {
      workflows: { type: "array", minItems: 1, items: { $ref: "#/definitions/workflow" } },
    },
    required: ["workflows"],
    additionalProperties: false,
    definitions: {
      workflow: {
        type: "object",
        properties: ownKeys,
        required: ["name", "provider"],
        allOf: PROVIDERS.map(ofProvider),
      },
      ...Object.fromEntries(
        PROVIDERS.map((provider) => [provider.name, parametersSchema(provider)]),
      ),
    },
  };
}

/** The workflow's own keys stand here too: what is not named here is refused. */
function parametersSchema({ parameters }: Provider): JsonSchema {
  const { properties, ...rest } = forEditors(parameters, [], { references: true });
  return { ...rest, properties: { ...ownKeys, ...(properties as object) } };
}

/** Parameters have any shape, so that a reference may stand for any value. */
function providerSchema(): JsonSchema {
  const job = forEditors(parts.schema, [], { references: true, wholes: true });
  const parameter = forEditors(keywords.schema, [], { references: false });
  const below = { $ref: "#/definitions/parameter" };
  return {
    $schema: DRAFT,
    title: ".dstack/providers/NAME.yaml: a provider of the bundle's own",
    type: "object",
    properties: {
      parameters: { ...below, description: DESCRIPTIONS["provider.parameters"] },
      jobs: { type: "array", minItems: 1, items: { $ref: "#/definitions/job" } },
    },
    required: ["jobs"],
    additionalProperties: false,
    definitions: {
      job: {
        ...job,
        properties: {
          ...(job.properties as object),
          each: {
            anyOf: [reference, { type: "array", minItems: 1 }],
            description: DESCRIPTIONS["provider.each"],
          },
        },
      },
      parameter: {
        ...parameter,
        properties: {
          ...(parameter.properties as object),
          properties: { type: ["object", "null"], additionalProperties: below },
          items: { anyOf: [below, { type: "null" }] },
        },
      },
    },
  };
}

const variablesSchema: JsonSchema = {
  $schema: DRAFT,
  title: ".dstack/variables.yaml: variables of each workflow, and of all",
  type: "object",
  properties: {
    variables: {
      type: ["object", "null"],
      description: DESCRIPTIONS["variables.variables"],
      propertyNames: { pattern: NAME_PATTERN },
      properties: {
        global: { $ref: "#/definitions/section", description: DESCRIPTIONS["variables.global"] },
      },
      additionalProperties: { $ref: "#/definitions/section" },
    },
  },
  additionalProperties: false,
  definitions: {
    section: {
      type: ["object", "null"],
      propertyNames: { pattern: VARIABLE_NAME_PATTERN },
      additionalProperties: { type: ["string", "number", "boolean"] },
    },
  },
};

type Options = {
  /** In place of a single value. */
  readonly references: boolean;
  /** In place of a map or a list, too. */
  readonly wholes?: boolean;
};

/**
 * What a reader accepts, as it may be written: a reference in place of any single value, and nothing in place of
 * what may be absent. `path` is where in the file it stands, for the descriptions below it.
 */
function forEditors(schema: JsonSchema, path: readonly string[], options: Options): JsonSchema {
  const { anyOf, properties, required, items, additionalProperties, ...rest } = schema;
  if (isSchemas(anyOf)) {
    return { ...rest, anyOf: anyOf.map((each) => forEditors(each, path, options)) };
  }
  const orWhole = (each: JsonSchema): JsonSchema =>
    options.wholes && path.length > 0 ? { anyOf: [each, reference] } : each;
  if (schema.type === "object") {
    const needed = Array.isArray(required) ? required : [];
    return orWhole({
      ...rest,
      ...(isSchema(properties) && { properties: forProperties(properties, needed, path, options) }),
      ...(needed.length > 0 && { required }),
      ...(additionalProperties !== undefined && {
        additionalProperties: isSchema(additionalProperties)
          ? forEditors(additionalProperties, path, options)
          : additionalProperties,
      }),
    });
  }
  if (schema.type === "array" && isSchema(items)) {
    return orWhole({ ...rest, items: forEditors(items, path, options) });
  }
  return options.references ? { anyOf: [schema, reference] } : schema;
}

function forProperties(
  properties: JsonSchema,
  required: readonly unknown[],
  path: readonly string[],
  options: Options,
): JsonSchema {
  const entries = Object.entries(properties).map(([key, property]) => {
    const below = [...path, key];
    const description = DESCRIPTIONS[below.join(".")];
    const schema = forEditors(isSchema(property) ? property : {}, below, options);
    const alternatives = isSchemas(schema.anyOf) ? schema.anyOf : [schema];
    const open = required.includes(key) ? schema : { anyOf: [...alternatives, { type: "null" }] };
    return [key, description === undefined ? open : { description, ...open }] as const;
  });
  return Object.fromEntries(entries);
}

const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isSchemas = (value: unknown): value is readonly JsonSchema[] =>
  Array.isArray(value) && value.every(isSchema);
