/** SSM: what parameters.ts has, and what sessions.ts has. */
import { ApiError, readBody, type Service } from "./http.ts";
import type { Parameters } from "./parameters.ts";
import type { SsmOperations } from "./sessions.ts";
import type { SsmThrottle } from "./ssm-throttle.ts";

const BODY_BYTES_MAX = 128 * 1024;
/** `more` is for the owner alone. */
export function createSsm(
  parameters: Parameters,
  more: Partial<SsmOperations>,
  throttle: SsmThrottle = () => {},
): Service {
  return {
    handle: async (request) => {
      const target = String(request.headers["x-amz-target"] ?? "");
      const name = target.replace(/^AmazonSSM\./, "");
      throttle(name);
      const body = readJson((await readBody(request, BODY_BYTES_MAX)).toString());
      const operation = Object.hasOwn(more, name) ? more[name as keyof SsmOperations] : undefined;
      if (operation && request.caller.type !== "owner") {
        const message = `the role of instances may not call ${name}`;
        throw new ApiError(400, "AccessDeniedException", message);
      }
      const answered = operation
        ? await operation(body)
        : parameters.answer(name, body, request.caller);
      if (answered === undefined) {
        const message = `the local cloud does not know the operation ${name} of SSM`;
        throw new ApiError(400, "UnknownOperationException", message);
      }
      return {
        status: 200,
        headers: { "content-type": "application/x-amz-json-1.1" },
        body: JSON.stringify(answered),
      };
    },
  };
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
