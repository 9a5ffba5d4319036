/** What the official agent and service do in a session, awkward or not, seen through a plain client of the data channel. */
import {
  CreateDocumentCommand,
  DescribeDocumentCommand,
  DescribeInstanceInformationCommand,
  ResumeSessionCommand,
  StartSessionCommand,
} from "@aws-sdk/client-ssm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import type { ChannelEnd } from "../../src/aws/session/channel.ts";
import { openSocket } from "../../src/aws/session/socket.ts";
import { type SessionWorld, startSessionWorld } from "../support/local-session.ts";

let world: SessionWorld;
let instanceId: string;

beforeAll(async () => {
  world = await startSessionWorld();
  instanceId = (await world.launch()).instanceId;
});

afterAll(async () => {
  await world.dispose();
});

let documents = 0;

/** A session that runs a command of a document made for it. */
async function start(commands: string, separateOutputStream?: "true") {
  const Name = `test-${documents++}`;
  const linux = {
    commands,
    runAsElevated: true,
    ...(separateOutputStream && { separateOutputStream }),
  };
  const content = {
    schemaVersion: "1.0",
    sessionType: "NonInteractiveCommands",
    properties: { linux },
  };
  await world.clients.ssm.send(
    new CreateDocumentCommand({ Name, Content: JSON.stringify(content), DocumentType: "Session" }),
  );
  const input = { Target: instanceId, DocumentName: Name };
  return world.clients.ssm.send(new StartSessionCommand(input));
}

type Opening = {
  readonly SessionId?: string | undefined;
  readonly StreamUrl?: string | undefined;
  readonly TokenValue?: string | undefined;
};

function open({ SessionId = "", StreamUrl = "", TokenValue = "" }: Opening) {
  const seen = { output: "", complaint: "", end: undefined as ChannelEnd | undefined };
  const socket = openSocket({
    sessionId: SessionId,
    streamUrl: StreamUrl,
    tokenValue: TokenValue,
    instanceId,
    generateDataKey: () => Promise.reject(new Error("no key was asked for")),
    onReady: () => {},
    onOutput: (bytes) => {
      seen.output += Buffer.from(bytes).toString("latin1");
    },
    onComplaint: (text) => {
      seen.complaint += text;
    },
    onEnd: (end) => {
      seen.end = end;
    },
  });
  return { seen, socket };
}

const POLL = { timeout: 10_000 };

describe("a session's command", () => {
  test("has its streams apart and its exit code after them", async () => {
    const { seen } = open(await start("/bin/sh -c 'echo out; echo err >&2; exit 4'", "true"));
    await expect.poll(() => seen.end, POLL).toEqual({ type: "exited", code: 4 });
    expect([seen.output, seen.complaint]).toEqual(["out\n", "err\n"]);
  });

  test("without separated output is silent until it ends, and has no exit code", async () => {
    const { seen } = open(await start("/bin/sh -c 'echo early; sleep 1; echo late >&2; exit 4'"));
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(seen.output).toBe("");
    await expect.poll(() => seen.end, POLL).toMatchObject({ type: "broken", isOver: true });
    expect(seen.output).toBe("early\nlate\n");
  });

  test("sends U+FFFD as one byte", async () => {
    const { seen } = open(await start("/usr/bin/printf 'a\\357\\277\\275b\\n'", "true"));
    await expect.poll(() => seen.end, POLL).toMatchObject({ type: "exited" });
    expect(seen.output).toBe("a\xefb\n");
  });

  test("that is interrupted ends with 1", async () => {
    const { seen, socket } = open(await start("/bin/sh -c 'echo begun; exec sleep 60'", "true"));
    await expect.poll(() => seen.output, POLL).toBe("begun\n");
    socket.interrupt();
    await expect.poll(() => seen.end, POLL).toEqual({ type: "exited", code: 1 });
  });

  test("that prints while its client is away is never heard again, though the session is resumed", async () => {
    const command =
      "/bin/sh -c 'echo begun; sleep 1; echo away; sleep 1; echo lost; exec sleep 60'";
    const started = await start(command, "true");
    const { seen, socket } = open(started);
    await expect.poll(() => seen.output, POLL).toBe("begun\n");
    socket.close("gone");
    await expect.poll(() => world.counts().deadPumps, POLL).toBe(1);
    const resumed = await world.clients.ssm.send(
      new ResumeSessionCommand({ SessionId: started.SessionId }),
    );
    const again = open(resumed);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(again.seen.output).not.toContain("lost");
    again.socket.close("enough");
  });
});

describe("the data channel", () => {
  test("takes a token once", async () => {
    const started = await start("/bin/sleep 60", "true");
    const first = open(started);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const second = open(started);
    await expect
      .poll(() => second.seen.end, POLL)
      .toMatchObject({
        type: "broken",
        reason: expect.stringContaining("1008"),
      });
    expect(first.seen.end).toBeUndefined();
    first.socket.close("enough");
  });

  test.each([
    ["from a web page", { origin: "http://127.0.0.1" }],
    ["under another name", { headers: { host: "example.com" } }],
  ])("refuses a connection %s", async (_, options) => {
    const { StreamUrl = "" } = await start("/bin/sleep 60", "true");
    const status = await new Promise<number | undefined>((resolve) => {
      const socket = new WebSocket(StreamUrl, options);
      socket.on("unexpected-response", (_request, response) => resolve(response.statusCode));
      socket.on("open", () => resolve(undefined));
      socket.on("error", () => {});
    });
    expect(status).toBe(403);
  });
});

test("documents and agents are described, and a session is refused what its document does not take", async () => {
  const { ssm } = world.clients;
  await start("/bin/true", "true");
  const Name = `test-${documents - 1}`;
  const described = await ssm.send(new DescribeDocumentCommand({ Name }));
  expect(described.Document).toMatchObject({ DocumentType: "Session", Status: "Active" });
  const listed = await ssm.send(new DescribeInstanceInformationCommand({}));
  expect(listed.InstanceInformationList?.map((each) => each.InstanceId)).toEqual([instanceId]);
  const input = { Target: instanceId, DocumentName: Name, Parameters: { line: ["1"] } };
  await expect(ssm.send(new StartSessionCommand(input))).rejects.toMatchObject({
    name: "InvalidParameters",
  });
});
