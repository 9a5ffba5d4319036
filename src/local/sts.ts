/** STS: GetCallerIdentity, and nothing else. */
import { ACCOUNT_ID, INSTANCE_PROFILE } from "./ec2-world.ts";
import { ApiError, type Caller, readBody, type Service } from "./http.ts";
import { xmlDocument } from "./xml.ts";

const BODY_BYTES_MAX = 64 * 1024;
const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

export function createSts(): Service {
  return {
    handle: async (request) => {
      const form = new URLSearchParams((await readBody(request, BODY_BYTES_MAX)).toString());
      const action = form.get("Action") ?? request.query.get("Action") ?? "";
      if (action !== "GetCallerIdentity") {
        const message = `the local cloud does not know the action ${action} of STS`;
        throw new ApiError(400, "InvalidAction", message);
      }
      const answer = {
        GetCallerIdentityResult: identityOf(request.caller),
        ResponseMetadata: { RequestId: request.requestId },
      };
      return {
        status: 200,
        headers: { "content-type": "text/xml" },
        body: xmlDocument("GetCallerIdentityResponse", answer, NAMESPACE),
      };
    },
  };
}

function identityOf(caller: Caller) {
  if (caller.type === "owner") {
    const Arn = `arn:aws:iam::${ACCOUNT_ID}:user/local`;
    return { Arn, UserId: "AIDALOCALERRAND000001", Account: ACCOUNT_ID };
  }
  const Arn = `arn:aws:sts::${ACCOUNT_ID}:assumed-role/${INSTANCE_PROFILE.name}/${caller.instanceId}`;
  return { Arn, UserId: `AROALOCALERRAND000001:${caller.instanceId}`, Account: ACCOUNT_ID };
}
