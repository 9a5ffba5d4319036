/**
 * What can be asked of the local cloud itself, under `/_local/` and signed with the owner's keys as a call of any service, such as
 * `curl --aws-sigv4 aws:amz:us-east-1:ec2`:
 *
 * GET /_local/settings; GET, POST and DELETE /_local/faults; DELETE /_local/faults/<id>; POST /_local/secrets, which puts
 * `{name, value}` into Parameter Store (names that begin with a slash) or Secrets Manager. All in JSON; an error is `{error, message}`.
 */
import { z } from "zod";
import { FaultRuleError, parseRules } from "./fault-rules.ts";
import type { Faults } from "./faults.ts";
import { ApiError, type LocalRequest, type LocalResponse, readBody, type Service } from "./http.ts";
import { setParameter } from "./parameters.ts";
import type { SecretStore } from "./secret-store.ts";
import { setSecret } from "./secrets-manager.ts";
import type { Settings } from "./settings.ts";

const BODY_BYTES_MAX = 1 << 20;
const FAULTS = "/_local/faults";

export type ControlOptions = {
  readonly settings: Settings;
  readonly faults: Faults;
  readonly secrets: SecretStore;
  /** Told of rules that have just been added. */
  readonly onAdded: (ids: readonly string[]) => Promise<void>;
};

export const createControl = (options: ControlOptions): Service => ({
  handle: async (request) => {
    try {
      if (request.caller.type !== "owner") {
        throw new ApiError(403, "AccessDenied", "only the owner's keys may ask this");
      }
      return answer(200, await run(request, options));
    } catch (error) {
      if (error instanceof FaultRuleError) return refuse(400, "InvalidRule", error.message);
      if (error instanceof ApiError) return refuse(error.status, error.code, error.message);
      throw error;
    }
  },
});

async function run(request: LocalRequest, options: ControlOptions): Promise<unknown> {
  const { faults } = options;
  const { method, rawPath } = request;
  switch (`${method} ${rawPath}`) {
    case "GET /_local/settings":
      return options.settings;
    case `GET ${FAULTS}`:
      return { rules: faults.list() };
    case `POST ${FAULTS}`: {
      const rules = faults.add(parseRules(parseJson(await readBody(request, BODY_BYTES_MAX))));
      await options.onAdded(rules.map(({ id }) => id));
      return { rules };
    }
    case "POST /_local/secrets":
      return putSecret(options.secrets, parseJson(await readBody(request, BODY_BYTES_MAX)));
    case `DELETE ${FAULTS}`:
      return { removed: faults.clear() };
  }
  if (method === "DELETE" && rawPath.startsWith(`${FAULTS}/`)) {
    const id = rawPath.slice(FAULTS.length + 1);
    if (faults.remove(id)) return { removed: 1 };
    throw new ApiError(404, "NoSuchRule", `there is no rule ${id}`);
  }
  throw new ApiError(404, "NotFound", `the local cloud has no ${method} ${rawPath}`);
}

/** Whatever was there under that name gives way. */
function putSecret(secrets: SecretStore, body: unknown): unknown {
  const { data } = newSecret.safeParse(body);
  if (!data) throw new ApiError(400, "InvalidSecret", "a secret has a name and a value");
  const put = data.name.startsWith("/") ? setParameter : setSecret;
  put(secrets, data);
  return { name: data.name };
}

const newSecret = z.strictObject({ name: z.string().min(1), value: z.string().min(1) });

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (cause) {
    throw new ApiError(400, "InvalidRule", "the body is no JSON", {}, { cause });
  }
}

const refuse = (status: number, error: string, message: string): LocalResponse =>
  answer(status, { error, message });

const answer = (status: number, value: unknown): LocalResponse => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});
