/** What logs need to be followed as they are written, looked at beforehand: for whoever checks an installation. */
import {
  DescribeDocumentCommand,
  GetConnectionStatusCommand,
  type SSMClient,
} from "@aws-sdk/client-ssm";
import { describeError, isCloudError } from "../../errors.ts";
import { callAws } from "../error-codes.ts";
import { DOCUMENT_NAME } from "./document.ts";

export type SessionFinding = {
  readonly what: string;
  readonly isGood: boolean;
  /** For people: what is wrong and what would mend it, or what there is to know; empty when nothing is. */
  readonly why: string;
};

/** Of a machine whose agent stays away; a young one needs a minute. */
export const AGENT_CURE =
  "its image may have no agent, its role not AmazonSSMManagedInstanceCore, or its network no way to SSM";

/** The document, and the agents of these instances. Throws what is no answer of AWS. */
export async function inspectSessions(
  ssm: SSMClient,
  instanceIds: readonly string[],
): Promise<readonly SessionFinding[]> {
  return Promise.all([inspectDocument(ssm), ...instanceIds.map((id) => inspectAgent(ssm, id))]);
}

async function inspectDocument(ssm: SSMClient): Promise<SessionFinding> {
  const what = `the Session document ${DOCUMENT_NAME}`;
  try {
    const { Document } = await callAws(`describing ${what}`, () =>
      ssm.send(new DescribeDocumentCommand({ Name: DOCUMENT_NAME })),
    );
    const isGood = Document?.DocumentType === "Session" && Document.Status === "Active";
    return { what, isGood, why: isGood ? "" : "it is not active, or of another type" };
  } catch (error) {
    if (!isCloudError(error)) throw error;
    if (error.code !== "InvalidDocument") return { what, isGood: false, why: describeError(error) };
    const why = "not there yet: the first log that is followed makes it (ssm:CreateDocument)";
    return { what, isGood: true, why };
  }
}

async function inspectAgent(ssm: SSMClient, instanceId: string): Promise<SessionFinding> {
  const what = `the SSM agent of ${instanceId}`;
  try {
    const { Status } = await callAws(`asking for ${what}`, () =>
      ssm.send(new GetConnectionStatusCommand({ Target: instanceId })),
    );
    const isGood = Status === "connected";
    return { what, isGood, why: isGood ? "" : `not connected: ${AGENT_CURE}` };
  } catch (error) {
    if (!isCloudError(error)) throw error;
    return { what, isGood: false, why: describeError(error) };
  }
}
