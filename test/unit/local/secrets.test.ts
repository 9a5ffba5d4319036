/** Parameter Store and Secrets Manager: what is kept, who reads it, and that the files show nothing. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Caller } from "../../../src/local/http.ts";
import { createKms } from "../../../src/local/kms.ts";
import { createParameters, setParameter } from "../../../src/local/parameters.ts";
import { openSecretStore, type SecretStore } from "../../../src/local/secret-store.ts";
import { createSecretsManager, setSecret } from "../../../src/local/secrets-manager.ts";

const OWNER: Caller = { type: "owner" };
const INSTANCE: Caller = { type: "instance", instanceId: "i-1" };
const kms = createKms(Buffer.alloc(32, 7));

let folder: string;
let store: SecretStore;
const path = () => join(folder, "secrets");
const open = () => openSecretStore(path(), { kms, now: () => 1_000 });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "errand-secrets-"));
  store = open();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const ssm = (operation: string, body: object, caller: Caller = OWNER) =>
  createParameters(store).answer(operation, body, caller);

const secrets = async (
  operation: string,
  body: object,
  caller: Caller = OWNER,
): Promise<unknown> => {
  const { body: answer } = await createSecretsManager(store).handle({
    requestId: "request",
    method: "POST",
    rawPath: "/",
    query: new URLSearchParams(),
    headers: { "x-amz-target": `secretsmanager.${operation}` },
    body: Readable.from([Buffer.from(JSON.stringify(body))]),
    trailers: new Map(),
    signal: new AbortController().signal,
    caller,
  });
  return JSON.parse(String(answer));
};
const code = (name: string) => expect.objectContaining({ code: name });

describe("parameters", () => {
  it("are kept over a restart, in versions, and come decrypted to whoever asks for that", () => {
    const parameter = { Name: "/errand/token", Value: "first" };
    expect(ssm("PutParameter", { ...parameter, Type: "SecureString" })).toMatchObject({
      Version: 1,
    });
    expect(ssm("PutParameter", { ...parameter, Value: "second", Overwrite: true })).toMatchObject({
      Version: 2,
    });
    store.close();
    store = open();
    const plain = ssm("GetParameter", { Name: "/errand/token", WithDecryption: true });
    expect(plain).toMatchObject({
      Parameter: { Value: "second", Type: "SecureString", Version: 2 },
    });
    const hidden = JSON.stringify(ssm("GetParameter", { Name: "/errand/token" }));
    expect(hidden).not.toContain("second");
    expect(readFileSync(path(), "utf8")).not.toMatch(/first|second/);
  });

  it("are read by instances below /errand/ alone, and never written", () => {
    setParameter(store, { name: "/errand/a", value: "x" });
    setParameter(store, { name: "/other/a", value: "x" });
    const asked = { Names: ["/errand/a", "/errand/none"], WithDecryption: true };
    expect(ssm("GetParameters", asked, INSTANCE)).toMatchObject({
      Parameters: [{ Name: "/errand/a", Value: "x" }],
      InvalidParameters: ["/errand/none"],
    });
    const denied = code("AccessDeniedException");
    expect(() => ssm("GetParameters", { Names: ["/errand/a", "/other/a"] }, INSTANCE)).toThrow(
      denied,
    );
    expect(() => ssm("PutParameter", { Name: "/errand/a", Value: "y" }, INSTANCE)).toThrow(denied);
    expect(() => ssm("DeleteParameter", { Name: "/errand/a" }, INSTANCE)).toThrow(denied);
  });

  it("are refused as AWS refuses them", () => {
    const put = (more: object) => () =>
      ssm("PutParameter", { Name: "/errand/a", Value: "x", ...more });
    expect(put({})).toThrow(code("ValidationException"));
    expect(put({ Name: "/errand/a b", Type: "String" })).toThrow(code("ValidationException"));
    ssm("PutParameter", { Name: "/errand/a", Value: "x", Type: "String" });
    expect(put({ Type: "String" })).toThrow(code("ParameterAlreadyExists"));
    expect(ssm("DeleteParameter", { Name: "/errand/a" })).toEqual({});
    expect(() => ssm("GetParameter", { Name: "/errand/a" })).toThrow(code("ParameterNotFound"));
  });
});

describe("secrets", () => {
  it("are found by name and by ARN, as text or bytes, in their last version", async () => {
    const { ARN } = (await secrets("CreateSecret", { Name: "errand/db", SecretString: "a" })) as {
      ARN: string;
    };
    expect(ARN).toMatch(/:secret:errand\/db-[A-Za-z0-9]{6}$/);
    await secrets("PutSecretValue", { SecretId: ARN, SecretBinary: "AAE=" });
    const read = await secrets("GetSecretValue", { SecretId: "errand/db" });
    expect(read).toMatchObject({ ARN, SecretBinary: "AAE=" });
    expect(readFileSync(path(), "utf8")).not.toContain("AAE=");
  });

  it("are read by instances below errand/ alone, and never written", async () => {
    setSecret(store, { name: "errand/a", value: "x" });
    setSecret(store, { name: "errand/a", value: "y" });
    setSecret(store, { name: "other/a", value: "x" });
    const read = await secrets("GetSecretValue", { SecretId: "errand/a" }, INSTANCE);
    expect(read).toMatchObject({ SecretString: "y" });
    const denied = { code: "AccessDeniedException" };
    const other = secrets("GetSecretValue", { SecretId: "other/a" }, INSTANCE);
    await expect(other).rejects.toMatchObject(denied);
    const put = secrets("PutSecretValue", { SecretId: "errand/a", SecretString: "z" }, INSTANCE);
    await expect(put).rejects.toMatchObject(denied);
  });

  it("are refused as AWS refuses them", async () => {
    const gone = { code: "ResourceNotFoundException" };
    await expect(secrets("GetSecretValue", { SecretId: "errand/a" })).rejects.toMatchObject(gone);
    setSecret(store, { name: "errand/a", value: "x" });
    const again = secrets("CreateSecret", { Name: "errand/a", SecretString: "x" });
    await expect(again).rejects.toMatchObject({ code: "ResourceExistsException" });
    const none = secrets("PutSecretValue", { SecretId: "errand/a" });
    await expect(none).rejects.toMatchObject({ code: "InvalidParameterException" });
    await secrets("DeleteSecret", { SecretId: "errand/a", ForceDeleteWithoutRecovery: true });
    await expect(secrets("GetSecretValue", { SecretId: "errand/a" })).rejects.toMatchObject(gone);
  });
});
