/** The instance metadata service is as strict as that of a launch that requires version 2. */
import type { IncomingHttpHeaders } from "node:http";
import { expect, it } from "vitest";
import { createImds } from "../../../src/local/imds.ts";
import type { Placed } from "../../../src/local/instances-store.ts";

const NOW = Date.UTC(2026, 10, 23, 21, 15, 30);

const makePlaced = (over: Partial<Placed["reservation"]> = {}): Placed => {
  const instance: Placed["instance"] = {
    id: "i-0123456789abcdef0",
    index: 3,
    state: "running",
    tags: { "errand:launch": "token", Name: "train" },
    address: "10.0.1.7",
    metadataSecret: "secret",
    cookie: "i-0123456789abcdef0:cookie",
  };
  const reservation: Placed["reservation"] = {
    format: 1,
    id: "r-1",
    clientToken: "token",
    parametersSha256: "",
    launchedAt: NOW,
    instanceType: "m5.large",
    imageId: "ami-0a120230000000010",
    subnetId: "subnet-0e44a2d000000000b",
    zone: "us-east-1b",
    hasProfile: true,
    securityGroupIds: [],
    userData: Buffer.from([0x23, 0x21, 0xff, 0x00]).toString("base64"),
    shutdownBehavior: "terminate",
    volume: { gib: 8, type: "gp3", isEncrypted: false, tags: {} },
    metadata: { hopLimit: 1, hasTags: true },
    autoRecovery: "default",
    instances: [instance],
    ...over,
  };
  return { reservation, instance };
};

function makeService(placed: Placed = makePlaced()) {
  const world = { now: NOW, placed, powerOffs: [] as string[], isCutOff: false };
  const imds = createImds({
    find: (id) => (id === world.placed.instance.id ? world.placed : undefined),
    powerOff: async (id) => {
      world.powerOffs.push(id);
    },
    isCutOff: () => world.isCutOff,
    issueCredentials: (instanceId, now) => ({
      accessKeyId: `key of ${instanceId}`,
      secretAccessKey: "s",
      sessionToken: "t",
      expiresAt: now + 3_600_000,
    }),
    now: () => world.now,
  });
  const call = async (method: string, path: string, headers: IncomingHttpHeaders = {}) => {
    const rawPath = `/imds/${placed.instance.id}/secret/${path}`;
    const { status, body } = await imds.handle({ method, rawPath, headers });
    return { status, body: Buffer.from(body as string | Uint8Array).toString("latin1") };
  };
  const issue = async (ttl: string) => {
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": ttl };
    return (await call("PUT", "latest/api/token", headers)).body;
  };
  const get = async (path: string, token?: string) =>
    await call("GET", `latest/${path}`, {
      "x-aws-ec2-metadata-token": token ?? (await issue("60")),
    });
  return { world, imds, call, issue, get };
}

it("answers 401 without a token, with a wrong one, and with one that is over", async () => {
  const { world, call, issue, get } = makeService();
  const token = await issue("60");
  expect(await call("GET", "latest/meta-data/instance-id")).toMatchObject({ status: 401 });
  expect(await get("meta-data/instance-id", `${token}x`)).toMatchObject({ status: 401 });
  expect(await get("meta-data/instance-id", token)).toMatchObject({ status: 200 });
  world.now += 60_001;
  expect(await get("meta-data/instance-id", token)).toMatchObject({ status: 401 });
});

it.each([undefined, "", "0", "21601", "-1", "60s"])(
  "gives no token for a time to live of %s",
  async (ttl) => {
    const { call } = makeService();
    const headers = ttl === undefined ? {} : { "x-aws-ec2-metadata-token-ttl-seconds": ttl };
    expect(await call("PUT", "latest/api/token", headers)).toMatchObject({ status: 400 });
  },
);

it("gives no token to a GET, nor to a request that was passed on", async () => {
  const { call } = makeService();
  const headers = { "x-aws-ec2-metadata-token-ttl-seconds": "60" };
  expect(await call("GET", "latest/api/token", headers)).toMatchObject({ status: 405 });
  const passedOn = { ...headers, "x-forwarded-for": "10.0.0.1" };
  expect(await call("PUT", "latest/api/token", passedOn)).toMatchObject({ status: 403 });
});

it("is not there under another secret, for another instance, or after the end", async () => {
  const { world, imds, call } = makeService();
  const at = (rawPath: string) => imds.handle({ method: "GET", rawPath, headers: {} });
  await expect(at(`/imds/${world.placed.instance.id}/guess/latest/`)).rejects.toThrow();
  await expect(at("/imds/i-0/secret/latest/")).rejects.toThrow();
  const instance = { ...world.placed.instance, state: "terminated" as const };
  world.placed = { ...world.placed, instance };
  await expect(call("GET", "latest/")).rejects.toThrow();
});

it.each([
  ["meta-data/instance-id", "i-0123456789abcdef0"],
  ["meta-data/ami-launch-index", "3"],
  ["meta-data/instance-type", "m5.large"],
  ["meta-data/placement/availability-zone", "us-east-1b"],
  ["meta-data/placement/region", "us-east-1"],
  ["meta-data/local-ipv4", "10.0.1.7"],
  ["meta-data/mac", "0e:44:0a:00:01:07"],
  ["meta-data/hostname", "ip-10-0-1-7.ec2.internal"],
  ["meta-data/network/interfaces/macs/", "0e:44:0a:00:01:07/"],
  ["meta-data/network/interfaces/macs/0e:44:0a:00:01:07/subnet-id", "subnet-0e44a2d000000000b"],
  ["meta-data/security-groups", "errand"],
  ["meta-data/iam/security-credentials/", "errand-instance"],
  ["meta-data/tags/instance/", "errand:launch\nName"],
  ["meta-data/tags/instance/errand:launch", "token"],
  ["meta-data/tags/instance/errand%3Alaunch", "token"],
  ["meta-data/placement/", "availability-zone\navailability-zone-id\nregion"],
  ["user-data", "#!\xff\0"],
])("has %s", async (path, body) => {
  const { get } = makeService();
  expect(await get(path)).toEqual({ status: 200, body });
});

it.each(["meta-data/none", "meta-data/constructor", "meta-data/instance-id/x", "none"])(
  "has no %s",
  async (path) => {
    const { get } = makeService();
    expect(await get(path)).toMatchObject({ status: 404 });
  },
);

it("gives the role's credentials as the SDKs read them", async () => {
  const { get } = makeService();
  const { body } = await get("meta-data/iam/security-credentials/errand-instance");
  expect(JSON.parse(body)).toEqual({
    Code: "Success",
    LastUpdated: "2026-11-23T21:15:30Z",
    Type: "AWS-HMAC",
    AccessKeyId: "key of i-0123456789abcdef0",
    SecretAccessKey: "s",
    Token: "t",
    Expiration: "2026-11-23T22:15:30Z",
  });
});

it("has neither credentials, tags nor user-data when the launch gave none", async () => {
  const { get } = makeService(
    makePlaced({ hasProfile: false, userData: "", metadata: { hopLimit: 1, hasTags: false } }),
  );
  const paths = ["meta-data/iam/security-credentials/", "meta-data/tags/instance/", "user-data"];
  const answers = await Promise.all(paths.map((path) => get(path)));
  expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
});

it("tells in the identity document when the instance became pending", async () => {
  const { get } = makeService();
  expect(JSON.parse((await get("dynamic/instance-identity/document")).body)).toMatchObject({
    instanceId: "i-0123456789abcdef0",
    architecture: "x86_64",
    pendingTime: "2026-11-23T21:15:30Z",
    region: "us-east-1",
  });
});

it("powers the machine off at a POST, not at a GET", async () => {
  const { world, call } = makeService();
  await call("GET", "local/power-off");
  expect(world.powerOffs).toEqual([]);
  expect(await call("POST", "local/power-off")).toMatchObject({ status: 200 });
  expect(world.powerOffs).toEqual(["i-0123456789abcdef0"]);
});
