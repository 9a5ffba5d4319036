/**
 * The Session document by which logs are followed: one command, with a line number and nothing else to fill in, so that leave to
 * start it is not leave to run anything. The agent starts the command itself, without a shell. Its output must be separated:
 * otherwise the agent collects it in a file and sends nothing before the command has ended, which `tail -F` never does.
 */
import { CreateDocumentCommand, type SSMClient } from "@aws-sdk/client-ssm";
import { isCloudError } from "../../errors.ts";
import { callAws } from "../error-codes.ts";

/** Its content never changes under one name. */
export const DOCUMENT_NAME = "errand-follow-log-1";

/** Where the runner keeps the log: one job an instance, so one path for all. docs/formats.md has the contract. */
export const LOG_PATH = "/var/lib/errand/log";

export const documentContent = (): string =>
  JSON.stringify({
    schemaVersion: "1.0",
    description: "Follows the log of an instance's job from a line on (errand)",
    sessionType: "NonInteractiveCommands",
    parameters: {
      line: {
        type: "String",
        description: "The number of the first line",
        default: "1",
        allowedPattern: "^[1-9][0-9]{0,14}$",
      },
    },
    properties: {
      linux: {
        commands: `/usr/bin/tail -n +{{ line }} -F ${LOG_PATH}`,
        runAsElevated: true,
        separateOutputStream: "true",
      },
    },
  });

/** Makes it, unless somebody has. */
export async function createDocument(ssm: SSMClient): Promise<void> {
  const input = {
    Name: DOCUMENT_NAME,
    Content: documentContent(),
    DocumentType: "Session",
    DocumentFormat: "JSON",
  } as const;
  try {
    await callAws(`creating the Session document ${DOCUMENT_NAME}`, () =>
      ssm.send(new CreateDocumentCommand(input)),
    );
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
  }
}
