/** The daemon's loopback stream, by the client that commands use and by callers it must refuse. */
import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createStreamLogs } from "../../src/cli/stream-logs.ts";
import { type LogStream, startLogStream } from "../../src/daemon/log-stream.ts";
import { CloudError } from "../../src/errors.ts";
import type { LogEvent, Logs } from "../../src/ports.ts";

const EVENTS: readonly LogEvent[] = [
  { type: "live" },
  {
    type: "lines",
    firstLine: 7,
    lines: [
      { at: 1_764_000_000_001, text: "10%\r100%" },
      { at: null, text: "" },
      { at: 1_764_000_000_002, text: "snow ☃\u2028" },
    ],
  },
  { type: "skipped", firstLine: 10, lastLine: 20 },
  { type: "open", number: 21, line: { at: 1_764_000_000_003, text: "…" } },
];

let asked: unknown[];
let stream: LogStream;

const source: Logs = {
  follow: async function* follow(instanceId, firstLine) {
    asked.push([instanceId, firstLine]);
    yield* EVENTS;
    if (instanceId === "i-00000bad") throw new CloudError("refused", "allow ssm:StartSession");
  },
};

beforeEach(async () => {
  asked = [];
  stream = await startLogStream(source);
});
afterEach(() => stream.stop());

const near = () =>
  createStreamLogs(async () => ({ bucket: "b", url: stream.url, token: stream.token, pid: 1 }));

async function readAll(logs: Logs, instanceId: string): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for await (const event of logs.follow(instanceId, 7, new AbortController().signal)) {
    events.push(event);
  }
  return events;
}

describe("the stream", () => {
  it("gives every event as it was", async () => {
    expect(await readAll(near(), "i-0123456789abcdef0")).toEqual(EVENTS);
    expect(asked).toEqual([["i-0123456789abcdef0", 7]]);
  });

  it("says why a log cannot be followed", async () => {
    await expect(readAll(near(), "i-00000bad")).rejects.toThrow("allow ssm:StartSession");
  });

  it("is not there when the daemon is not, which is no bug", async () => {
    const { url, token } = stream;
    await stream.stop();
    const logs = createStreamLogs(async () => ({ bucket: "b", url, token, pid: 1 }));
    await expect(readAll(logs, "i-0123456789abcdef0")).rejects.toMatchObject({
      kind: "unavailable",
    });
    stream = await startLogStream(source);
  });

  const path = "/v1/logs/i-0123456789abcdef0?from=1";
  it.each([
    ["without the token", path, { authorization: "" }, 401],
    ["with another token", path, { authorization: `Bearer ${"x".repeat(43)}` }, 401],
    ["from a web page", path, { origin: "http://127.0.0.1" }, 403],
    ["under another name", path, { host: "example.com" }, 403],
    ["for something else", "/v1/logs/../etc", {}, 404],
    ["from a line that is none", "/v1/logs/i-0123456789abcdef0?from=0", {}, 404],
  ])("refuses a caller %s", async (_, where, headers, status) => {
    const authorization = `Bearer ${stream.token}`;
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      const call = request(`${stream.url}${where}`, { headers: { authorization, ...headers } });
      call.on("response", (response) => {
        response.destroy();
        resolve(response.statusCode);
      });
      call.on("error", reject);
      call.end();
    });
    expect(answered).toBe(status);
    expect(asked).toEqual([]);
  });
});
