/**
 * SSM: GetParameter and GetParameters for the public names of the machine images, and what sessions.ts has. There are no parameters
 * of one's own.
 */
import { z } from "zod";
import { IMAGES, type MachineImage, REGION } from "./ec2-world.ts";
import { ApiError, readBody, type Service } from "./http.ts";
import type { SsmOperations } from "./sessions.ts";
import type { SsmThrottle } from "./ssm-throttle.ts";

const BODY_BYTES_MAX = 128 * 1024;
/** As AWS limits GetParameters. */
const NAMES_MAX = 10;

const getParameter = z.strictObject({ Name: z.string(), WithDecryption: z.boolean().optional() });
const getParameters = z.strictObject({
  Names: z.array(z.string()).min(1).max(NAMES_MAX),
  WithDecryption: z.boolean().optional(),
});

/** `more` is for the owner alone. */
export function createSsm(more: Partial<SsmOperations>, throttle: SsmThrottle = () => {}): Service {
  return {
    handle: async (request) => {
      const target = String(request.headers["x-amz-target"] ?? "");
      const name = target.replace(/^AmazonSSM\./, "");
      throttle(name);
      const body = await readBody(request, BODY_BYTES_MAX);
      const operation = Object.hasOwn(more, name) ? more[name as keyof SsmOperations] : undefined;
      if (operation && request.caller.type !== "owner") {
        const message = `the role of instances may not call ${name}`;
        throw new ApiError(400, "AccessDeniedException", message);
      }
      const answered = operation
        ? await operation(readJson(body.toString()))
        : answer(name, body.toString());
      return {
        status: 200,
        headers: { "content-type": "application/x-amz-json-1.1" },
        body: JSON.stringify(answered),
      };
    },
  };
}

function answer(name: string, body: string): unknown {
  switch (name) {
    case "GetParameter": {
      const { Name } = parse(getParameter, body);
      const image = findImage(Name);
      if (image) return { Parameter: renderParameter(image) };
      throw new ApiError(400, "ParameterNotFound", `there is no parameter ${Name}`);
    }
    case "GetParameters": {
      const { Names } = parse(getParameters, body);
      const images = Names.map(findImage).filter((image) => image !== undefined);
      const InvalidParameters = Names.filter((name) => findImage(name) === undefined);
      return { Parameters: images.map(renderParameter), InvalidParameters };
    }
    default: {
      const message = `the local cloud does not know the operation ${name} of SSM`;
      throw new ApiError(400, "UnknownOperationException", message);
    }
  }
}

function parse<Value>(schema: z.ZodType<Value>, body: string): Value {
  const parsed = schema.safeParse(readJson(body));
  if (parsed.success) return parsed.data;
  throw new ApiError(400, "ValidationException", z.prettifyError(parsed.error));
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

const findImage = (name: string): MachineImage | undefined =>
  IMAGES.find(({ parameter }) => parameter === name);

const renderParameter = (image: MachineImage) => ({
  Name: image.parameter,
  Type: "String",
  Value: image.id,
  Version: 1,
  LastModifiedDate: 1_767_225_600,
  ARN: `arn:aws:ssm:${REGION}::parameter${image.parameter}`,
  DataType: "text",
});
