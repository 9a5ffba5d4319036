/**
 * SSM's parameters: PutParameter, GetParameter, GetParameters and DeleteParameter, and the public names of the machine images.
 *
 * Gaps: labels and older versions, policies, tiers, patterns, GetParametersByPath, DescribeParameters.
 * By design: a machine's role, and roles that jobs have, read what is public and what is under `/errand/`, as a policy for Errand
 * would have it.
 */
import { z } from "zod";
import { ACCOUNT_ID, IMAGES, REGION } from "./ec2-world.ts";
import { ApiError, type Caller } from "./http.ts";
import type { SSM_PARAMETER_OPERATIONS } from "./operations.ts";
import { describeProblems } from "./problems.ts";
import type { KeptValue, NewSecret, SecretStore } from "./secret-store.ts";

/** As AWS limits GetParameters. */
const NAMES_MAX = 10;
const VALUE_BYTES_MAX = 8 * 1024;
const READABLE = "/errand/";
const PUBLIC = "/aws/";

const putParameter = z.strictObject({
  Name: z
    .string()
    .regex(/^\/?[\w.-]+(\/[\w.-]+)*$/, "is no name for a parameter")
    .max(1011),
  Value: z.string().min(1),
  Type: z.enum(["String", "StringList", "SecureString"]).optional(),
  Description: z.string().optional(),
  KeyId: z.string().optional(),
  Overwrite: z.boolean().default(false),
  Tier: z.enum(["Standard", "Advanced", "Intelligent-Tiering"]).optional(),
  DataType: z.literal("text").optional(),
  Tags: z.array(z.object({ Key: z.string(), Value: z.string() })).optional(),
});
const getParameter = z.strictObject({ Name: z.string(), WithDecryption: z.boolean().optional() });
const getParameters = z.strictObject({
  Names: z.array(z.string()).min(1).max(NAMES_MAX),
  WithDecryption: z.boolean().optional(),
});
const deleteParameter = z.strictObject({ Name: z.string() });

export type Parameters = {
  /** Undefined for an operation that is none of its own. Throws ApiError. */
  answer(operation: string, body: unknown, caller: Caller): unknown;
};

export function createParameters(store: SecretStore): Parameters {
  const find = (name: string, isDecrypted = false): object | undefined => {
    const image = IMAGES.find(({ parameter }) => parameter === name);
    if (image) return renderParameter(name, { value: image.id, ...PUBLISHED }, true);
    const kept = store.find(keyOf(name));
    return kept && renderParameter(name, kept, isDecrypted);
  };
  const operations: Readonly<Record<Operation, (body: unknown, caller: Caller) => unknown>> = {
    GetParameter: (body, caller) => {
      const { Name, WithDecryption } = parse(getParameter, body);
      checkAccess(caller, "GetParameter", [Name]);
      const Parameter = find(Name, WithDecryption);
      if (Parameter) return { Parameter };
      throw notFound(Name);
    },
    GetParameters: (body, caller) => {
      const { Names, WithDecryption } = parse(getParameters, body);
      checkAccess(caller, "GetParameters", Names);
      const found = Names.map((name) => find(name, WithDecryption));
      return {
        Parameters: found.filter((each) => each !== undefined),
        InvalidParameters: Names.filter((_, index) => found[index] === undefined),
      };
    },
    PutParameter: (body, caller) => {
      checkOwner(caller, "PutParameter");
      return put(store, parse(putParameter, body));
    },
    DeleteParameter: (body, caller) => {
      checkOwner(caller, "DeleteParameter");
      const { Name } = parse(deleteParameter, body);
      if (store.remove(keyOf(Name))) return {};
      throw notFound(Name);
    },
  };
  return {
    answer: (name, body, caller) =>
      Object.hasOwn(operations, name) ? operations[name as Operation](body, caller) : undefined,
  };
}

type Operation = (typeof SSM_PARAMETER_OPERATIONS)[number];

/** As PutParameter of a SecureString that may be there. Throws ApiError. */
export function setParameter(store: SecretStore, { name, value }: NewSecret): void {
  const input = { Name: name, Value: value, Type: "SecureString", Overwrite: true };
  put(store, parse(putParameter, input));
}

const PUBLISHED = { type: "String", version: 1, at: 1_767_225_600_000 } as const;

const keyOf = (name: string): string => `parameter ${name}`;

const notFound = (name: string): ApiError =>
  new ApiError(400, "ParameterNotFound", `there is no parameter ${name}`);

function put(store: SecretStore, input: z.infer<typeof putParameter>): unknown {
  const { Name, Value, Overwrite } = input;
  const before = store.find(keyOf(Name));
  if (before && !Overwrite) {
    const message = `the parameter ${Name} is there already: pass Overwrite`;
    throw new ApiError(400, "ParameterAlreadyExists", message);
  }
  if (Buffer.byteLength(Value) > VALUE_BYTES_MAX) {
    throw new ApiError(400, "ValidationException", "a value has 8 KB at most");
  }
  const type = input.Type ?? before?.type;
  if (!type) throw new ApiError(400, "ValidationException", "a new parameter needs a Type");
  const { version } = store.put(keyOf(Name), { type, suffix: "", value: Value });
  return { Version: version, Tier: "Standard" };
}

function renderParameter(
  name: string,
  kept: Pick<KeptValue, "type" | "version" | "at" | "value"> & { readonly ciphertext?: string },
  isDecrypted: boolean,
): object {
  const isHidden = kept.type === "SecureString" && !isDecrypted;
  return {
    Name: name,
    Type: kept.type,
    Value: isHidden ? kept.ciphertext : kept.value,
    Version: kept.version,
    LastModifiedDate: kept.at / 1000,
    ARN: `arn:aws:ssm:${REGION}:${ACCOUNT_ID}:parameter${name.startsWith("/") ? "" : "/"}${name}`,
    DataType: "text",
  };
}

function checkAccess(caller: Caller, operation: string, names: readonly string[]): void {
  if (caller.type === "owner") return;
  const denied = names.find((name) => !name.startsWith(READABLE) && !name.startsWith(PUBLIC));
  if (denied === undefined) return;
  const message = `the role of instances may not call ssm:${operation} on ${denied}, only below ${READABLE}`;
  throw new ApiError(400, "AccessDeniedException", message);
}

function checkOwner(caller: Caller, operation: string): void {
  if (caller.type === "owner") return;
  const message = `the role of instances may not call ssm:${operation}`;
  throw new ApiError(400, "AccessDeniedException", message);
}

function parse<Value>(schema: z.ZodType<Value>, body: unknown): Value {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ApiError(400, "ValidationException", describeProblems(parsed.error).join("; "));
}
