/**
 * Secrets Manager: CreateSecret, PutSecretValue, GetSecretValue, and DeleteSecret without a time to think it over.
 *
 * Gaps: older versions and stages, rotation, policies, replicas, lists, tags.
 * By design: a machine's role, and roles that jobs have, read what is under `errand/`.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { ACCOUNT_ID, REGION } from "./ec2-world.ts";
import { ApiError, type Caller, notImplemented, readBody, type Service } from "./http.ts";
import type { SECRETS_MANAGER_OPERATIONS } from "./operations.ts";
import { describeProblems } from "./problems.ts";
import type { KeptValue, NewSecret, SecretStore } from "./secret-store.ts";

const BODY_BYTES_MAX = 256 * 1024;
const VALUE_BYTES_MAX = 64 * 1024;
const READABLE = "errand/";

const value = {
  SecretString: z.string().min(1).optional(),
  /** Base64. */
  SecretBinary: z.base64().min(1).optional(),
  ClientRequestToken: z.string().optional(),
};
const name = z
  .string()
  .regex(/^[\w/+=.@-]+$/, "is no name for a secret")
  .max(512);
const createSecret = z.strictObject({
  Name: name,
  Description: z.string().optional(),
  KmsKeyId: z.string().optional(),
  ...value,
});
const putSecretValue = z.strictObject({ SecretId: z.string(), ...value });
const getSecretValue = z.strictObject({ SecretId: z.string() });
const deleteSecret = z.strictObject({
  SecretId: z.string(),
  ForceDeleteWithoutRecovery: z.boolean().default(false),
});

export function createSecretsManager(store: SecretStore): Service {
  return {
    handle: async (request) => {
      const target = String(request.headers["x-amz-target"] ?? "");
      const body = (await readBody(request, BODY_BYTES_MAX)).toString();
      return {
        status: 200,
        headers: { "content-type": "application/x-amz-json-1.1" },
        body: JSON.stringify(answer(store, { target, body, caller: request.caller })),
      };
    },
  };
}

/** As CreateSecret, or PutSecretValue where it is there. Throws ApiError. */
export function setSecret(store: SecretStore, { name: secret, value: text }: NewSecret): void {
  const operation = store.find(keyOf(secret))
    ? { target: "PutSecretValue", body: { SecretId: secret, SecretString: text } }
    : { target: "CreateSecret", body: { Name: secret, SecretString: text } };
  const { target, body } = operation;
  answer(store, { target, body: JSON.stringify(body), caller: { type: "owner" } });
}

type Call = { readonly target: string; readonly body: string; readonly caller: Caller };

type Operation = (typeof SECRETS_MANAGER_OPERATIONS)[number];

function answer(store: SecretStore, { target, body, caller }: Call): unknown {
  const name = target.replace(/^secretsmanager\./, "");
  if (!Object.hasOwn(OPERATIONS, name)) throw notImplemented(`${target} of Secrets Manager`);
  if (caller.type !== "owner" && name !== "GetSecretValue") throw denied(name, "");
  return OPERATIONS[name as Operation](store, body, caller);
}

const OPERATIONS: Readonly<
  Record<Operation, (store: SecretStore, body: string, caller: Caller) => unknown>
> = {
  CreateSecret: (store, body) => {
    const input = parse(createSecret, body);
    if (store.find(keyOf(input.Name))) {
      const message = `the secret ${input.Name} is there already`;
      throw new ApiError(400, "ResourceExistsException", message);
    }
    // AWS ends an ARN with six letters, so that a name used again has another one.
    const suffix = randomBytes(6).toString("base64url").replace(/[_-]/g, "x").slice(0, 6);
    return putValue(store, input.Name, suffix, input);
  },
  PutSecretValue: (store, body) => {
    const input = parse(putSecretValue, body);
    const { name: found, kept } = findSecret(store, input.SecretId);
    return putValue(store, found, kept.suffix, input);
  },
  GetSecretValue: (store, body, caller) => {
    const { SecretId } = parse(getSecretValue, body);
    if (caller.type !== "owner" && !nameOf(SecretId).startsWith(READABLE)) {
      throw denied("GetSecretValue", ` on ${SecretId}, only below ${READABLE}`);
    }
    const { name: found, kept } = findSecret(store, SecretId);
    return { ...describe(found, kept), ...shownValue(kept), CreatedDate: kept.at / 1000 };
  },
  DeleteSecret: (store, body) => {
    const { SecretId, ForceDeleteWithoutRecovery } = parse(deleteSecret, body);
    if (!ForceDeleteWithoutRecovery) {
      throw notImplemented("DeleteSecret without ForceDeleteWithoutRecovery");
    }
    const { name: found, kept } = findSecret(store, SecretId);
    store.remove(keyOf(found));
    return { Name: found, ARN: arnOf(found, kept), DeletionDate: kept.at / 1000 };
  },
};

const keyOf = (secret: string): string => `secret ${secret}`;

const denied = (operation: string, where: string): ApiError =>
  new ApiError(
    400,
    "AccessDeniedException",
    `the role of instances may not call secretsmanager:${operation}${where}`,
  );

const arnOf = (secret: string, { suffix }: Pick<KeptValue, "suffix">): string =>
  `arn:aws:secretsmanager:${REGION}:${ACCOUNT_ID}:secret:${secret}-${suffix}`;

/** Of a name, or of an ARN with or without its six letters. */
function nameOf(id: string): string {
  const [, inArn] = /^arn:[^:]+:secretsmanager:[^:]*:\d*:secret:(.+)$/.exec(id) ?? [];
  return inArn?.replace(/-[A-Za-z0-9]{6}$/, "") ?? id;
}

function findSecret(store: SecretStore, id: string): { name: string; kept: KeptValue } {
  const secret = nameOf(id);
  const kept = store.find(keyOf(secret));
  if (kept) return { name: secret, kept };
  const message = "Secrets Manager can't find the specified secret.";
  throw new ApiError(400, "ResourceNotFoundException", message);
}

/** What is kept says with its first letter whether it is a text or bytes. */
function putValue(
  store: SecretStore,
  secret: string,
  suffix: string,
  input: { readonly SecretString?: string | undefined; readonly SecretBinary?: string | undefined },
): unknown {
  const { SecretString, SecretBinary } = input;
  if ((SecretString === undefined) === (SecretBinary === undefined)) {
    const message = "a secret needs either SecretString or SecretBinary";
    throw new ApiError(400, "InvalidParameterException", message);
  }
  const text = SecretString === undefined ? `b${SecretBinary}` : `s${SecretString}`;
  if (Buffer.byteLength(text) > VALUE_BYTES_MAX) {
    throw new ApiError(400, "InvalidParameterException", "a secret has 64 KB at most");
  }
  const kept = store.put(keyOf(secret), { type: "secret", suffix, value: text });
  return describe(secret, kept);
}

const shownValue = ({ value: text }: KeptValue) =>
  text.startsWith("b") ? { SecretBinary: text.slice(1) } : { SecretString: text.slice(1) };

const versionId = ({ version }: KeptValue): string =>
  `00000000-0000-4000-8000-${version.toString(16).padStart(12, "0")}`;

const describe = (secret: string, kept: KeptValue) => ({
  ARN: arnOf(secret, kept),
  Name: secret,
  VersionId: versionId(kept),
  VersionStages: ["AWSCURRENT"],
});

function parse<Value>(schema: z.ZodType<Value>, body: string): Value {
  const parsed = schema.safeParse(readJson(body));
  if (parsed.success) return parsed.data;
  throw new ApiError(400, "InvalidParameterException", describeProblems(parsed.error).join("; "));
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
