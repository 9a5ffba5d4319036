/** A configuration from the outputs of infra/errand.yaml. */
import { stringify } from "yaml";
import type { Stack } from "../aws/stack.ts";
import { UserError } from "../errors.ts";

/** Of infra/errand.yaml's outputs, told by its output `Format`. */
const FORMAT = "errand/1";

export type StackPlace = {
  readonly stack: string;
  readonly region: string;
  readonly endpoint?: string | undefined;
};

/** Text of `errand.yaml`. Throws UserError for a stack that is not whole, or none of ours. */
export function renderStackConfig(
  { status, reason, outputs }: Stack,
  { stack, region, endpoint }: StackPlace,
): string {
  if (
    !/^(CREATE|UPDATE|IMPORT)_COMPLETE(_CLEANUP_IN_PROGRESS)?$|^UPDATE_ROLLBACK_COMPLETE$/.test(
      status,
    )
  ) {
    const why = reason === "" ? "" : `: ${reason}`;
    throw new UserError(
      `the stack ${stack} is ${status}${why}`,
      "Deploy infra/errand.yaml to its end first; its events in CloudFormation say what went wrong.",
    );
  }
  const format = outputs.get("Format");
  if (format === undefined) {
    throw new UserError(
      `the stack ${stack} was not made from infra/errand.yaml`,
      "Name the stack that was deployed from it.",
    );
  }
  if (format !== FORMAT) {
    throw new UserError(
      `the stack ${stack} has outputs of the format ${format}, and this version reads ${FORMAT}`,
      "Deploy infra/errand.yaml of this version.",
    );
  }
  const of = (name: string): string => {
    const value = outputs.get(name);
    if (value) return value;
    throw new UserError(
      `the stack ${stack} has no output ${name}`,
      "Deploy infra/errand.yaml of this version again.",
    );
  };
  const config = {
    region,
    ...(endpoint && { endpoint }),
    bucket: of("Bucket"),
    queueUrl: of("QueueUrl"),
    installation: of("Installation"),
    instanceProfile: of("InstanceProfile"),
    securityGroupIds: [of("SecurityGroupId")],
    subnets: of("SubnetIds").split(","),
  };
  return `# From the stack ${stack}; \`errand init\` writes it. Limits, images and more may be added.\n${stringify(config)}`;
}
