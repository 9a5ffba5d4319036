/** What one process asks of SSM: below the account's limits, and only what is of use. */
import {
  CreateDocumentCommand,
  DescribeDocumentCommand,
  GetConnectionStatusCommand,
  SSMClient,
  StartSessionCommand,
} from "@aws-sdk/client-ssm";
import { mockClient } from "aws-sdk-client-mock";
import { beforeEach, describe, expect, it } from "vitest";
import { DOCUMENT_NAME, documentContent } from "../../../../src/aws/session/document.ts";
import { inspectSessions } from "../../../../src/aws/session/inspect.ts";
import { createSessions } from "../../../../src/aws/session/sessions.ts";
import type { Clock } from "../../../../src/ports.ts";

const ssm = mockClient(SSMClient);
const client = new SSMClient({ region: "us-east-1" });
const { signal } = new AbortController();

let now = 0;
/** Whoever sleeps moves the time on: all wait beside each other. */
const clock: Clock = {
  now: () => now,
  sleep: async (ms) => {
    const until = now + ms;
    await Promise.resolve();
    now = Math.max(now, until);
  },
};

const refusal = (name: string, message: string) =>
  Object.assign(new Error(message), { name, $fault: "client", $metadata: { httpStatusCode: 400 } });

beforeEach(() => {
  now = 0;
  ssm.reset();
  ssm.on(GetConnectionStatusCommand).resolves({ Status: "connected" });
  ssm.on(StartSessionCommand).resolves({ SessionId: "s", StreamUrl: "wss://x", TokenValue: "t" });
});

describe("sessions", () => {
  it("of all instances together are started three a second", async () => {
    const sessions = createSessions(client, clock);
    for (let count = 0; count < 31; count++) await sessions.start(`i-${count}`, 1, signal);
    expect(now).toBeGreaterThanOrEqual(9_900);
    expect(now).toBeLessThan(11_500);
  });

  it("of machines whose agent is not there cost no start", async () => {
    ssm.on(GetConnectionStatusCommand).resolves({ Status: "notconnected" });
    const sessions = createSessions(client, clock);
    await expect(sessions.start("i-1", 1, signal)).rejects.toMatchObject({
      kind: "unavailable",
      code: "TargetNotConnected",
    });
    expect(ssm.commandCalls(StartSessionCommand)).toHaveLength(0);
  });

  it("make their document where there is none", async () => {
    ssm
      .on(StartSessionCommand)
      .rejectsOnce(refusal("InvalidDocument", "no such document"))
      .resolves({ SessionId: "s", StreamUrl: "wss://x", TokenValue: "t" });
    ssm.on(CreateDocumentCommand).resolves({});
    await createSessions(client, clock).start("i-1", 7, signal);
    const [made] = ssm.commandCalls(CreateDocumentCommand);
    expect(made?.args[0].input).toMatchObject({ Name: DOCUMENT_NAME, Content: documentContent() });
    expect(ssm.commandCalls(StartSessionCommand)).toHaveLength(2);
  });

  it.each([
    [
      "may not be started",
      () => ssm.on(StartSessionCommand).rejects(refusal("AccessDeniedException", "not authorized")),
      /ssm:StartSession/,
    ],
    [
      "have no document, and it may not be made",
      () => {
        ssm.on(StartSessionCommand).rejects(refusal("InvalidDocument", "no such document"));
        ssm.on(CreateDocumentCommand).rejects(refusal("AccessDeniedException", "not authorized"));
      },
      /ssm:CreateDocument/,
    ],
  ])("that %s are refused with what would mend it", async (_, arrange, cure) => {
    arrange();
    await expect(createSessions(client, clock).start("i-1", 1, signal)).rejects.toMatchObject({
      kind: "refused",
      message: expect.stringMatching(cure),
    });
  });
});

describe("what an installation can do about sessions", () => {
  const found = {
    Document: { Name: DOCUMENT_NAME, Status: "Active", DocumentType: "Session" },
  } as const;

  it("is all right where the document is there and agents are connected", async () => {
    ssm.on(DescribeDocumentCommand).resolves(found);
    expect(await inspectSessions(client, ["i-1"])).toEqual([
      { what: `the Session document ${DOCUMENT_NAME}`, isGood: true, why: "" },
      { what: "the SSM agent of i-1", isGood: true, why: "" },
    ]);
  });

  it("is told in words where it is not", async () => {
    ssm.on(DescribeDocumentCommand).rejects(refusal("InvalidDocument", "no such document"));
    ssm.on(GetConnectionStatusCommand, { Target: "i-1" }).resolves({ Status: "notconnected" });
    ssm
      .on(GetConnectionStatusCommand, { Target: "i-2" })
      .rejects(refusal("AccessDeniedException", "not authorized"));
    const findings = await inspectSessions(client, ["i-1", "i-2"]);
    expect(findings.map(({ isGood, why }) => [isGood, why])).toEqual([
      [true, "not there yet: the first log that is followed makes it (ssm:CreateDocument)"],
      [false, expect.stringContaining("AmazonSSMManagedInstanceCore")],
      [false, expect.stringContaining("not authorized")],
    ]);
  });
});
