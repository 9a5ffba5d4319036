/** SSM's calls about sessions, held below the account's limits. */
import {
  GetConnectionStatusCommand,
  type SSMClient,
  StartSessionCommand,
  TerminateSessionCommand,
} from "@aws-sdk/client-ssm";
import { CloudError, isCloudError } from "../../errors.ts";
import type { Clock } from "../../ports.ts";
import { callAws } from "../error-codes.ts";
import { createRateLimiter } from "../rate-limiter.ts";
import { createDocument, DOCUMENT_NAME } from "./document.ts";

export type StartedSession = {
  readonly sessionId: string;
  readonly streamUrl: string;
  readonly tokenValue: string;
};

export type Sessions = {
  /**
   * A session that gives the log from a line on. Throws CloudError: `unavailable` while the instance's agent is not there or
   * SSM is busy, `refused` when sessions are not to be had.
   */
  start(instanceId: string, line: number, signal: AbortSignal): Promise<StartedSession>;
  /** Ending what has ended is no error. */
  terminate(sessionId: string): Promise<void>;
};

/** Per second, account and region; StartSession's whole limit, for nobody should share it with a daemon. */
const STARTS_MAX = 3;
const TERMINATES_MAX = 6;
/** Of fifty. */
const STATUSES_MAX = 25;

export function createSessions(ssm: SSMClient, clock: Clock): Sessions {
  const starts = createRateLimiter(STARTS_MAX, clock);
  const terminates = createRateLimiter(TERMINATES_MAX, clock);
  const statuses = createRateLimiter(STATUSES_MAX, clock);

  /** An agent that is not there would cost one of three starts a second to find out. */
  async function checkAgent(instanceId: string, signal: AbortSignal): Promise<void> {
    await statuses.take(signal);
    const { Status } = await callAws(`asking for the agent of ${instanceId}`, () =>
      ssm.send(new GetConnectionStatusCommand({ Target: instanceId }), { abortSignal: signal }),
    );
    if (Status === "connected") return;
    const message = `the SSM agent of ${instanceId} is not connected`;
    throw new CloudError("unavailable", message, { code: "TargetNotConnected" });
  }

  async function call(
    instanceId: string,
    line: number,
    signal: AbortSignal,
  ): Promise<StartedSession> {
    await starts.take(signal);
    const doing = `starting a session on ${instanceId}`;
    const input = {
      Target: instanceId,
      DocumentName: DOCUMENT_NAME,
      Parameters: { line: [String(line)] },
      Reason: "errand follows the log of a job",
    };
    const output = await callAws(doing, () =>
      ssm.send(new StartSessionCommand(input), { abortSignal: signal }),
    ).catch(cure(`the daemon needs ssm:StartSession on it and on the document ${DOCUMENT_NAME}`));
    const { SessionId: sessionId, StreamUrl: streamUrl, TokenValue: tokenValue } = output;
    if (sessionId && streamUrl && tokenValue) return { sessionId, streamUrl, tokenValue };
    throw new CloudError("unavailable", `${doing}: SSM gave no token`);
  }

  return {
    start: async (instanceId, line, signal) => {
      await checkAgent(instanceId, signal);
      try {
        return await call(instanceId, line, signal);
      } catch (error) {
        if (!isCloudError(error, "not-found") || error.code !== "InvalidDocument") throw error;
      }
      await createDocument(ssm).catch(
        cure("the daemon needs ssm:CreateDocument once, or somebody who makes the document for it"),
      );
      return await call(instanceId, line, signal);
    },
    terminate: async (sessionId) => {
      await terminates.take(new AbortController().signal);
      await callAws(`ending session ${sessionId}`, () =>
        ssm.send(new TerminateSessionCommand({ SessionId: sessionId })),
      ).catch((error: unknown) => {
        // It ends by itself when it has been idle; there is nothing more to be done about it.
        if (!isCloudError(error)) throw error;
      });
    },
  };
}

/** Throws again, and says of a refusal what would mend it. */
function cure(what: string): (error: unknown) => never {
  return (error) => {
    if (!isCloudError(error, "refused")) throw error;
    throw new CloudError("refused", `${error.message}; ${what}`, { code: error.code });
  };
}
