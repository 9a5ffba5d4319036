/**
 * `{ssm: /errand/…}` and `{secret: errand/…}` in place of a value: where it is kept. Under `/errand/` alone, so that who may
 * write a workflow cannot have a machine read everything that its role could be let read.
 */
import type { SecretReference } from "../core/workflow.ts";
import { quote, type Report } from "./problem.ts";
import {
  defined,
  fields,
  type JsonSchema,
  optional,
  type Reader,
  reject,
  required,
  scalar,
  text,
} from "./read.ts";
import { findEntry, type MapValue } from "./value.ts";

/** What a parameter may be called: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html */
const PARAMETER = "^/errand/[A-Za-z0-9_.\\-/]{1,1000}$";
/** A secret: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html */
const SECRET = "^errand/[A-Za-z0-9_+=.@\\-/]{1,500}$";

const named = (pattern: string, what: string): Reader<string> =>
  scalar({ type: "string", pattern }, { what }, ({ value }) =>
    typeof value === "string" && new RegExp(pattern).test(value) ? value : undefined,
  );

const WANTED = {
  what: "a text, a number, true or false, or where a secret is kept",
  hint: "write {ssm: /errand/NAME} or {secret: errand/NAME}",
};

const parameter = fields(
  {
    ssm: required(
      named(PARAMETER, 'the name of a parameter under /errand/, as in "/errand/token"'),
    ),
  },
  WANTED,
);
const secret = fields(
  {
    secret: required(named(SECRET, 'the name of a secret under errand/, as in "errand/token"')),
    key: optional(text("a key of the secret's JSON")),
  },
  WANTED,
);

export const secretReference = {
  schemas: [parameter.schema, secret.schema],
  read,
} as const satisfies {
  readonly schemas: readonly JsonSchema[];
  readonly read: (map: MapValue, report: Report) => SecretReference | undefined;
};

function read(map: MapValue, report: Report): SecretReference | undefined {
  const [ssm, other] = [findEntry(map, "ssm"), findEntry(map, "secret")];
  if (ssm && other) {
    return report(map.place, `names both ${quote("ssm")} and ${quote("secret")}`, "keep one");
  }
  if (ssm) return parameter.read(map, report);
  if (!other) return reject(map, WANTED, report);
  const found = secret.read(map, report);
  return found && defined({ secret: found.secret, key: found.key });
}
