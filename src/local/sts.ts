/**
 * STS: GetCallerIdentity and AssumeRole.
 *
 * By design: there are no roles to manage. Any role of the account may be taken by the owner and by instances, and may do what an
 * instance may; it takes no policies, tags or MFA.
 */

import type { Credentials } from "./credentials.ts";
import { ACCOUNT_ID, INSTANCE_PROFILE } from "./ec2-world.ts";
import { ApiError, type Caller, notImplemented, readBody, type Service } from "./http.ts";
import type { STS_ACTIONS } from "./operations.ts";
import { type XmlValue, xmlDocument } from "./xml.ts";

const BODY_BYTES_MAX = 64 * 1024;
const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";
const SECONDS_MIN = 900;
const SECONDS_MAX = 43_200;
/** What whoever has a role already may have another for. */
const CHAINED_SECONDS_MAX = 3_600;
const KNOWN = ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds"];

type StsOptions = {
  readonly issue: Credentials["issueForRole"];
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

export function createSts(options: StsOptions): Service {
  return {
    handle: async (request) => {
      const form = new URLSearchParams((await readBody(request, BODY_BYTES_MAX)).toString());
      const action = form.get("Action") ?? request.query.get("Action") ?? "";
      if (!isAction(action)) {
        const message = `the local cloud does not know the action ${action} of STS`;
        throw new ApiError(400, "InvalidAction", message);
      }
      const result: XmlValue = ANSWERS[action](form, request.caller, options);
      return {
        status: 200,
        headers: { "content-type": "text/xml" },
        body: xmlDocument(
          `${action}Response`,
          { [`${action}Result`]: result, ResponseMetadata: { RequestId: request.requestId } },
          NAMESPACE,
        ),
      };
    },
  };
}

type Action = (typeof STS_ACTIONS)[number];

const ANSWERS: Readonly<
  Record<Action, (form: URLSearchParams, caller: Caller, options: StsOptions) => XmlValue>
> = {
  AssumeRole: assumeRole,
  GetCallerIdentity: (_, caller) => identityOf(caller),
};

const isAction = (action: string): action is Action => Object.hasOwn(ANSWERS, action);

function assumeRole(form: URLSearchParams, caller: Caller, { issue, now }: StsOptions) {
  const stranger = [...form.keys()].find((name) => !KNOWN.includes(name));
  if (stranger !== undefined) throw notImplemented(`${stranger} of AssumeRole`);
  const arn = form.get("RoleArn") ?? "";
  const session = form.get("RoleSessionName") ?? "";
  if (caller.type === "role" || !arn.startsWith(`arn:aws:iam::${ACCOUNT_ID}:role/`)) {
    const message = `${identityOf(caller).Arn} is not authorized to perform: sts:AssumeRole on resource: ${arn}`;
    throw new ApiError(403, "AccessDenied", message);
  }
  if (!/^[\w+=,.@/:-]+$/.test(arn) || !/^[\w+=,.@-]{2,64}$/.test(session)) {
    throw new ApiError(400, "ValidationError", "RoleArn or RoleSessionName has other characters");
  }
  const seconds = Number(form.get("DurationSeconds") ?? "3600");
  const secondsMax = caller.type === "instance" ? CHAINED_SECONDS_MAX : SECONDS_MAX;
  if (!Number.isInteger(seconds) || seconds < SECONDS_MIN || seconds > secondsMax) {
    const message = `DurationSeconds has to be from ${SECONDS_MIN} to ${secondsMax}`;
    throw new ApiError(400, "ValidationError", message);
  }
  const expiresAt = Math.floor(now() / 1000 + seconds) * 1000;
  const keys = issue({ arn, session, expiresAt });
  const { Arn, UserId } = identityOf({ type: "role", arn, session });
  return {
    Credentials: {
      AccessKeyId: keys.accessKeyId,
      SecretAccessKey: keys.secretAccessKey,
      SessionToken: keys.sessionToken,
      Expiration: `${new Date(expiresAt).toISOString().slice(0, 19)}Z`,
    },
    AssumedRoleUser: { Arn, AssumedRoleId: UserId },
  };
}

function identityOf(caller: Caller) {
  if (caller.type === "owner") {
    const Arn = `arn:aws:iam::${ACCOUNT_ID}:user/local`;
    return { Arn, UserId: "AIDALOCALERRAND000001", Account: ACCOUNT_ID };
  }
  const [role, session] =
    caller.type === "instance"
      ? [INSTANCE_PROFILE.name, caller.instanceId]
      : [caller.arn.slice(caller.arn.lastIndexOf("/") + 1), caller.session];
  const Arn = `arn:aws:sts::${ACCOUNT_ID}:assumed-role/${role}/${session}`;
  return { Arn, UserId: `AROALOCALERRAND000001:${session}`, Account: ACCOUNT_ID };
}
