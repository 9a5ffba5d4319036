/**
 * The instance metadata service, version 2 only: `<base>/latest/…`, where the base is `/imds/<instance id>/<secret>` on the
 * local cloud's port, given to the machine as AWS_EC2_METADATA_SERVICE_ENDPOINT, and `<base>/local/power-off`, by which a machine
 * tells that it powers off, and `<base>/local/network`, which tells a sandbox's proxy whether the network is lost. The secret stands in for the link-local address that only the instance itself can reach.
 *
 * A dated version, such as cloud-init asks for, has what `latest` has.
 *
 * Left out: version 1 (401 always), hop limits, and every path that is not in `metadataTree` (404).
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { imageOf, privateDnsName } from "./ec2-instance-filters.ts";
import {
  ACCOUNT_ID,
  IMAGES,
  INSTANCE_PROFILE,
  REGION,
  SECURITY_GROUP,
  SUBNETS,
  VPC_ID,
} from "./ec2-world.ts";
import { ApiError, type LocalResponse, type UnsignedRequest } from "./http.ts";
import type { Placed } from "./instances-store.ts";

export type RoleCredentials = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
};

export type ImdsOptions = {
  readonly find: (instanceId: string) => Placed | undefined;
  readonly powerOff: (instanceId: string) => Promise<void>;
  /** A rule of faults says that it has no network now. */
  readonly isCutOff: (instanceId: string) => boolean;
  readonly issueCredentials: (instanceId: string, now: number) => RoleCredentials;
  readonly now: () => number;
};

/** What IMDS sees of a request; it is not signed. */
export type ImdsRequest = Pick<UnsignedRequest, "method" | "rawPath" | "headers">;

export const IMDS_PREFIX = "/imds/";

const TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER = "x-aws-ec2-metadata-token";
const TTL_MAX_S = 21_600;

/** A folder lists its names, a leaf is its text. Lazy, so that credentials are made only when they are read. */
type Leaf = () => string | Uint8Array;
type Tree = { readonly [name: string]: Tree | Leaf };

/** Throws ApiError only for what is no machine's metadata service at all; a machine gets IMDS's own plain answers. */
export function createImds(options: ImdsOptions): {
  handle(request: ImdsRequest): Promise<LocalResponse>;
} {
  return {
    handle: async ({ method, rawPath, headers }) => {
      const [id = "", secret = "", ...path] = rawPath.slice(IMDS_PREFIX.length).split("/");
      const placed = options.find(id);
      if (!placed || !isLive(placed) || !isSame(secret, placed.instance.metadataSecret)) {
        throw new ApiError(404, "NotFound", "there is no such instance metadata service");
      }
      const own = answerLocal(`${method} ${path.join("/")}`, id, options);
      if (own) return own;
      if (!/^(latest|\d{4}-\d\d-\d\d)$/.test(path.shift() ?? "")) return plain(404, "Not Found");
      return answerMetadata(placed, { method, headers, path }, options);
    },
  };
}

/** What no metadata service of AWS has. */
function answerLocal(
  call: string,
  id: string,
  { isCutOff, powerOff }: ImdsOptions,
): LocalResponse | undefined {
  if (call === "GET local/network") return plain(200, isCutOff(id) ? "off" : "on");
  if (call !== "POST local/power-off") return undefined;
  // Not waited for: the machine shall not hang on its own end. The marker is there if this fails.
  void powerOff(id).catch(() => {});
  return plain(200, "");
}

function answerMetadata(
  placed: Placed,
  request: Pick<ImdsRequest, "method" | "headers"> & { readonly path: readonly string[] },
  options: ImdsOptions,
): LocalResponse {
  const { method, headers, path } = request;
  const secret = placed.instance.metadataSecret;
  const now = options.now();
  if (path.join("/") === "api/token") return issueToken({ method, headers, secret, now });
  if (method !== "GET" && method !== "HEAD") return plain(405, "Method Not Allowed");
  if (!isToken(secret, headers[TOKEN_HEADER], now)) return plain(401, "Unauthorized");
  return answer(metadataTree(placed, options), path);
}

const isLive = ({ instance }: Placed): boolean =>
  instance.state !== "terminated" && instance.state !== "stopped";

const plain = (status: number, body: string | Uint8Array): LocalResponse => ({
  status,
  headers: { "content-type": "text/plain" },
  body,
});

type TokenRequest = Pick<ImdsRequest, "method" | "headers"> & {
  readonly secret: string;
  readonly now: number;
};

function issueToken({ method, headers, secret, now }: TokenRequest): LocalResponse {
  if (method !== "PUT") return plain(405, "Method Not Allowed");
  // As AWS does: a request that a proxy passed on is not from this machine.
  if (headers["x-forwarded-for"] !== undefined) return plain(403, "Forbidden");
  const ttl = String(headers[TTL_HEADER] ?? "");
  if (!/^\d{1,5}$/.test(ttl) || Number(ttl) < 1 || Number(ttl) > TTL_MAX_S) {
    return plain(400, "Bad Request");
  }
  const body = signToken(secret, now + Number(ttl) * 1_000);
  return { status: 200, headers: { "content-type": "text/plain", [TTL_HEADER]: ttl }, body };
}

/** A token carries its own end, so that it is good after a restart of the cloud, too. */
const signToken = (secret: string, expiresAt: number): string => {
  const mac = createHmac("sha256", secret).update(`token ${expiresAt}`).digest("base64url");
  return `${expiresAt}.${mac}`;
};

function isToken(secret: string, token: string | string[] | undefined, now: number): boolean {
  if (typeof token !== "string") return false;
  const expiresAt = Number(token.split(".")[0]);
  return expiresAt > now && isSame(token, signToken(secret, expiresAt));
}

function isSame(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function answer(tree: Tree, path: readonly string[]): LocalResponse {
  let node: Tree | Leaf | undefined = tree;
  for (const part of path.filter((name) => name !== "")) {
    const name = decode(part);
    node = typeof node === "object" && Object.hasOwn(node, name) ? node[name] : undefined;
  }
  if (node === undefined) return plain(404, "Not Found");
  if (typeof node === "function") return plain(200, node());
  const names = Object.entries(node).map(([name, child]) =>
    typeof child === "function" ? name : `${name}/`,
  );
  return plain(200, names.join("\n"));
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function metadataTree({ reservation, instance }: Placed, options: ImdsOptions): Tree {
  const { zone } = reservation;
  const mac = macOf(instance.address);
  const hostname = privateDnsName({ reservation, instance });
  const deviceName = imageOf({ reservation, instance })?.rootDeviceName ?? "";
  return {
    "meta-data": {
      "ami-id": () => reservation.imageId,
      "ami-launch-index": () => String(instance.index),
      "ami-manifest-path": () => "(unknown)",
      "block-device-mapping": { ami: () => deviceName, root: () => deviceName },
      hostname: () => hostname,
      ...(reservation.hasProfile ? { iam: iamTree(instance.id, options) } : {}),
      "instance-id": () => instance.id,
      "instance-life-cycle": () => "on-demand",
      "instance-type": () => reservation.instanceType,
      "local-hostname": () => hostname,
      "local-ipv4": () => instance.address,
      mac: () => mac,
      network: { interfaces: { macs: { [mac]: cardTree({ reservation, instance }) } } },
      placement: {
        "availability-zone": () => zone,
        "availability-zone-id": () => SUBNETS.find((subnet) => subnet.zone === zone)?.zoneId ?? "",
        region: () => REGION,
      },
      profile: () => "default-hvm",
      "reservation-id": () => reservation.id,
      "security-groups": () => SECURITY_GROUP.name,
      services: { domain: () => "amazonaws.com", partition: () => "aws" },
      ...(reservation.metadata.hasTags ? { tags: { instance: tagTree(instance.tags) } } : {}),
    },
    dynamic: {
      "instance-identity": { document: () => identityDocument({ reservation, instance }) },
    },
    ...(reservation.userData === ""
      ? {}
      : { "user-data": () => Buffer.from(reservation.userData, "base64") }),
  };
}

/** Of an address one always gets the same. */
const macOf = (address: string): string =>
  ["0e:44", ...address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"))].join(
    ":",
  );

const cardTree = ({ reservation, instance }: Placed): Tree => ({
  "device-number": () => "0",
  "local-hostname": () => privateDnsName({ reservation, instance }),
  "local-ipv4s": () => instance.address,
  mac: () => macOf(instance.address),
  "owner-id": () => ACCOUNT_ID,
  "security-group-ids": () => reservation.securityGroupIds.join("\n"),
  "security-groups": () => SECURITY_GROUP.name,
  "subnet-id": () => reservation.subnetId,
  "vpc-id": () => VPC_ID,
});

function iamTree(instanceId: string, { issueCredentials, now }: ImdsOptions): Tree {
  const issue = (): string => {
    const at = now();
    const credentials = issueCredentials(instanceId, at);
    return JSON.stringify({
      Code: "Success",
      LastUpdated: seconds(at),
      Type: "AWS-HMAC",
      AccessKeyId: credentials.accessKeyId,
      SecretAccessKey: credentials.secretAccessKey,
      Token: credentials.sessionToken,
      Expiration: seconds(credentials.expiresAt),
    });
  };
  const info = () =>
    JSON.stringify({
      Code: "Success",
      LastUpdated: seconds(now()),
      InstanceProfileArn: INSTANCE_PROFILE.arn,
      InstanceProfileId: INSTANCE_PROFILE.id,
    });
  return { info, "security-credentials": { [INSTANCE_PROFILE.name]: issue } };
}

const tagTree = (tags: Placed["instance"]["tags"]): Tree =>
  Object.fromEntries(Object.entries(tags).map(([name, value]) => [name, () => value]));

function identityDocument({ reservation, instance }: Placed): string {
  const image = IMAGES.find(({ id }) => id === reservation.imageId);
  return JSON.stringify({
    accountId: ACCOUNT_ID,
    architecture: image?.architecture,
    availabilityZone: reservation.zone,
    imageId: reservation.imageId,
    instanceId: instance.id,
    instanceType: reservation.instanceType,
    pendingTime: seconds(reservation.launchedAt),
    privateIp: instance.address,
    region: REGION,
    version: "2017-09-30",
  });
}

/** AWS writes its times here without fractions of a second. */
const seconds = (at: number): string => `${new Date(at).toISOString().slice(0, 19)}Z`;
