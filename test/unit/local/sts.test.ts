/** STS tells callers apart, and lets one become another. */
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { makeCredentials } from "../../../src/local/credentials.ts";
import type { Caller } from "../../../src/local/http.ts";
import { createSts } from "../../../src/local/sts.ts";

const NOW = Date.UTC(2026, 10, 23, 12);
const credentials = makeCredentials(Buffer.alloc(32, 7));
const sts = createSts({ issue: credentials.issueForRole, now: () => NOW });

const call = async (body: string, caller: Caller): Promise<string> => {
  const { body: answer } = await sts.handle({
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
const INSTANCE: Caller = { type: "instance", instanceId: "i-1" };
const ARN = "arn:aws:iam::000000000000:role/path/errand-training";
const assume = (more: Readonly<Record<string, string>> = {}) =>
  new URLSearchParams({
    Action: "AssumeRole",
    RoleArn: ARN,
    RoleSessionName: "run.train.1",
    ...more,
  });
const textOf = (xml: string, name: string) => new RegExp(`<${name}>([^<]*)<`).exec(xml)?.[1] ?? "";

it("the owner is a user", async () => {
  const answer = await call(IDENTITY, { type: "owner" });
  expect(answer).toContain("<Arn>arn:aws:iam::000000000000:user/local</Arn>");
});

it("an instance is a session of its role, named after it", async () => {
  const answer = await call(IDENTITY, INSTANCE);
  expect(answer).toContain("<Arn>arn:aws:sts::000000000000:assumed-role/errand-instance/i-1</Arn>");
});

it("an instance takes another role for an hour, and is then a session of that", async () => {
  const answer = await call(String(assume()), INSTANCE);
  expect(textOf(answer, "Expiration")).toBe("2026-11-23T13:00:00Z");
  const known = credentials.find(textOf(answer, "AccessKeyId"), textOf(answer, "SessionToken"));
  expect(known).toEqual({
    secretAccessKey: textOf(answer, "SecretAccessKey"),
    caller: { type: "role", arn: ARN, session: "run.train.1" },
    expiresAt: NOW + 3_600_000,
  });
  const identity = known && (await call(IDENTITY, known.caller));
  expect(identity).toContain(
    "<Arn>arn:aws:sts::000000000000:assumed-role/errand-training/run.train.1</Arn>",
  );
});

it.each([
  ["a role of another account", { RoleArn: "arn:aws:iam::123456789012:role/x" }, "AccessDenied"],
  ["more than an hour by a role", { DurationSeconds: "7200" }, "ValidationError"],
  ["a session without a name", { RoleSessionName: "" }, "ValidationError"],
  ["what it does not know", { Policy: "{}" }, "NotImplemented"],
])("refuses %s", async (_, more, code) => {
  await expect(call(String(assume(more)), INSTANCE)).rejects.toMatchObject({ code });
});

it("refuses a role that wants another one", async () => {
  const answer = call(String(assume()), { type: "role", arn: ARN, session: "s" });
  await expect(answer).rejects.toMatchObject({ code: "AccessDenied" });
});

it("refuses every other action", async () => {
  const answer = call("Action=GetSessionToken", { type: "owner" });
  await expect(answer).rejects.toMatchObject({ code: "InvalidAction" });
});
