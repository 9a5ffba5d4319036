import { describe, expect, it } from "vitest";
import { makeCredentials } from "../../../src/local/credentials.ts";

const NOW = Date.UTC(2026, 10, 23, 12, 30);
const HOUR_MS = 3_600_000;
const credentials = makeCredentials(Buffer.alloc(32, 7));

describe("credentials", () => {
  it("are the same for the same secret, and others for another", () => {
    const again = makeCredentials(Buffer.alloc(32, 7));
    const other = makeCredentials(Buffer.alloc(32, 8));
    expect(again.owner).toEqual(credentials.owner);
    expect(other.owner.accessKeyId).not.toBe(credentials.owner.accessKeyId);
    expect(other.owner.secretAccessKey).not.toBe(credentials.owner.secretAccessKey);
    expect(credentials.owner.accessKeyId).toMatch(/^AKIA[A-Z2-7]{16}$/);
  });

  it("of an instance are found without having been kept", () => {
    const issued = credentials.issueForInstance("i-0123456789abcdef0", NOW);
    const found = makeCredentials(Buffer.alloc(32, 7)).find(
      issued.accessKeyId,
      issued.sessionToken,
    );
    expect(issued.accessKeyId).toMatch(/^ASIA[A-Z2-7]{16}$/);
    expect(found).toEqual({
      secretAccessKey: issued.secretAccessKey,
      caller: { type: "instance", instanceId: "i-0123456789abcdef0" },
      expiresAt: issued.expiresAt,
    });
  });

  it("of an instance are good for six hours or more, and the same within an hour", () => {
    const issued = credentials.issueForInstance("i-1", NOW);
    expect(issued.expiresAt - NOW).toBeGreaterThanOrEqual(6 * HOUR_MS);
    expect(credentials.issueForInstance("i-1", NOW + HOUR_MS / 4)).toEqual(issued);
    expect(credentials.issueForInstance("i-1", NOW + HOUR_MS)).not.toEqual(issued);
  });

  it("are not found with another's token, a forged one or none", () => {
    const one = credentials.issueForInstance("i-1", NOW);
    const two = credentials.issueForInstance("i-2", NOW);
    const claim = Buffer.from(`i-1 ${NOW + 1000 * HOUR_MS}`).toString("base64url");
    const [, signature] = one.sessionToken.split(".");
    expect(credentials.find(one.accessKeyId, two.sessionToken)).toBeUndefined();
    expect(credentials.find(one.accessKeyId, `${claim}.${signature}`)).toBeUndefined();
    expect(credentials.find(one.accessKeyId)).toBeUndefined();
    expect(credentials.find(credentials.owner.accessKeyId, one.sessionToken)).toBeUndefined();
    expect(credentials.find("", "")).toBeUndefined();
  });
});
