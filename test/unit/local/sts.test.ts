/** STS tells callers apart. */
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import type { Caller } from "../../../src/local/http.ts";
import { createSts } from "../../../src/local/sts.ts";

const call = async (body: string, caller: Caller): Promise<string> => {
  const { body: answer } = await createSts().handle({
    requestId: "request",
    method: "POST",
    rawPath: "/",
    query: new URLSearchParams(),
    headers: {},
    body: Readable.from([Buffer.from(body)]),
    trailers: new Map(),
    signal: new AbortController().signal,
    caller,
  });
  return String(answer);
};

const IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15";

it("the owner is a user", async () => {
  const answer = await call(IDENTITY, { type: "owner" });
  expect(answer).toContain("<Arn>arn:aws:iam::000000000000:user/local</Arn>");
});

it("an instance is a session of its role, named after it", async () => {
  const answer = await call(IDENTITY, { type: "instance", instanceId: "i-1" });
  expect(answer).toContain("<Arn>arn:aws:sts::000000000000:assumed-role/errand-instance/i-1</Arn>");
});

it("refuses every other action", async () => {
  const answer = call("Action=AssumeRole", { type: "owner" });
  await expect(answer).rejects.toMatchObject({ code: "InvalidAction" });
});
