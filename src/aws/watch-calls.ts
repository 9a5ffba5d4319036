/** Tells of each call of AWS, every try of it, for whoever counts them. */
import { isThrottlingError } from "@smithy/core/retry";
import type {
  FinalizeHandlerArguments,
  FinalizeHandlerOutput,
  Pluggable,
  SdkError,
} from "@smithy/types";
import { type CloudErrorKind, isCloudError } from "../errors.ts";
import { isUnchanged, toCloudError } from "./error-codes.ts";

export type AwsCall = {
  /** Such as `EC2` and `RunInstances`. */
  readonly service: string;
  readonly operation: string;
  readonly outcome: "ok" | "throttled" | "failed" | CloudErrorKind;
  readonly tookMs: number;
};
export type OnCall = (call: AwsCall) => void;

/** For `client.middlewareStack.use`. */
export const watchCalls = <Input extends object, Output extends object>(
  onCall: OnCall,
): Pluggable<Input, Output> => ({
  applyToStack: (stack) =>
    stack.add(
      (next, context) => async (args: FinalizeHandlerArguments<Input>) => {
        const service = (context.clientName ?? "").replace(/Client$/, "");
        const operation = (context.commandName ?? "").replace(/Command$/, "");
        const beganAt = performance.now();
        const tell = (outcome: AwsCall["outcome"]): void =>
          onCall({ service, operation, outcome, tookMs: performance.now() - beganAt });
        let answer: FinalizeHandlerOutput<Output>;
        try {
          answer = await next(args);
        } catch (error) {
          tell(outcomeOf(error));
          throw error;
        }
        tell("ok");
        return answer;
      },
      // Low: after the one that tries again, so that it sees each try.
      { step: "finalizeRequest", priority: "low", name: "errandWatchCalls", override: true },
    ),
});

function outcomeOf(error: unknown): AwsCall["outcome"] {
  if (error instanceof Error && isThrottlingError(error as SdkError)) return "throttled";
  if (isUnchanged(error)) return "ok";
  const answer = toCloudError("", error);
  return isCloudError(answer) ? answer.kind : "failed";
}
