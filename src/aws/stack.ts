/** The outputs of a CloudFormation stack, as `errand init` reads them. */
import {
  CloudFormationClient,
  DescribeStacksCommand,
  type Stack as FormedStack,
} from "@aws-sdk/client-cloudformation";
import { CloudError } from "../errors.ts";
import { callAws } from "./error-codes.ts";
import { type ClientOptions, commonOptions } from "./s3-client.ts";

export type Stack = {
  /** As CloudFormation says it: CREATE_COMPLETE, ROLLBACK_COMPLETE. */
  readonly status: string;
  /** Why, where it says so. */
  readonly reason: string;
  readonly outputs: ReadonlyMap<string, string>;
};

/** Undefined where there is no such stack in the region. Throws CloudError. */
export async function readStack(options: ClientOptions, name: string): Promise<Stack | undefined> {
  const client = new CloudFormationClient(commonOptions(options));
  try {
    const { Stacks = [] } = await callAws(`reading the stack ${name}`, () =>
      client.send(new DescribeStacksCommand({ StackName: name })),
    );
    return Stacks[0] && toStack(Stacks[0]);
  } catch (error) {
    // It answers a name that it does not know with the code of any bad input, and these words.
    if (error instanceof CloudError && /does not exist/.test(error.message)) return undefined;
    throw error;
  } finally {
    client.destroy();
  }
}

function toStack({ StackStatus, StackStatusReason, Outputs = [] }: FormedStack): Stack {
  const outputs = Outputs.map(
    ({ OutputKey = "", OutputValue = "" }) => [OutputKey, OutputValue] as const,
  );
  return {
    status: StackStatus ?? "",
    reason: StackStatusReason ?? "",
    outputs: new Map(outputs),
  };
}
