/** The EC2 part of the local cloud on a port of its own, behind the real front, and SDK clients for it. */
import { EC2Client } from "@aws-sdk/client-ec2";
import { SSMClient } from "@aws-sdk/client-ssm";
import { makeCredentials } from "../../src/local/credentials.ts";
import { createEc2, type Ec2 } from "../../src/local/ec2.ts";
import type { InstanceTypeData } from "../../src/local/ec2-instance-types.ts";
import { createParameters } from "../../src/local/parameters.ts";
import type { Sandbox, SandboxChoice } from "../../src/local/sandbox.ts";
import type { SecretStore } from "../../src/local/secret-store.ts";
import { startServer } from "../../src/local/server.ts";
import { DEFAULT_SETTINGS } from "../../src/local/settings.ts";
import { createSsm } from "../../src/local/ssm.ts";
import { createSsmThrottle } from "../../src/local/ssm-throttle.ts";
import { createSts } from "../../src/local/sts.ts";

const plainType = {
  architectures: ["x86_64"],
  hypervisor: "nitro",
  isBareMetal: false,
  isBurstable: false,
} as const;

/** Nobody keeps a parameter of one's own here. */
const NO_SECRETS: SecretStore = {
  find: () => undefined,
  put: () => {
    throw new Error("there is no store of secrets here");
  },
  remove: () => false,
  close: () => {},
};

export const TEST_TYPES: readonly InstanceTypeData[] = [
  { ...plainType, name: "m5.large", vcpus: 2, memoryMib: 8192 },
  { ...plainType, name: "m5.xlarge", vcpus: 4, memoryMib: 16384, zones: ["us-east-1a"] },
  { ...plainType, name: "m6g.large", vcpus: 2, memoryMib: 8192, architectures: ["arm64"] },
  { ...plainType, name: "t3.micro", vcpus: 2, memoryMib: 1024, isBurstable: true },
  {
    ...plainType,
    name: "g5.xlarge",
    vcpus: 4,
    memoryMib: 16384,
    gpus: [{ count: 1, name: "A10G", manufacturer: "NVIDIA", memoryMib: 22888 }],
  },
  {
    ...plainType,
    name: "inf1.xlarge",
    vcpus: 4,
    memoryMib: 8192,
    inferenceAccelerators: [{ count: 1, name: "Inferentia", manufacturer: "AWS", memoryMib: 8192 }],
    neuronDevices: [{ count: 1, name: "Inferentia", memoryMib: 8192 }],
  },
  {
    ...plainType,
    name: "f1.2xlarge",
    vcpus: 8,
    memoryMib: 124928,
    fpgas: [
      { count: 1, name: "Virtex UltraScale (VU9P)", manufacturer: "Xilinx", memoryMib: 65536 },
    ],
  },
];

export type LocalEc2 = {
  readonly endpoint: string;
  readonly ec2: EC2Client;
  readonly ssm: SSMClient;
  readonly sandbox: Sandbox;
  /** Starts a command inside a machine. */
  readonly run: Ec2["run"];
  /** Bodies of the state-change events, as they came. */
  readonly events: readonly string[];
  stop(): Promise<void>;
};

export type LocalEc2Options = {
  /** The data directory. */
  readonly folder: string;
  readonly port?: number;
  readonly bootMs?: number;
  readonly listingLagMs?: number;
  /** False by default: tests launch faster than AWS lets anybody. */
  readonly throttling?: boolean;
  readonly now?: () => number;
  /** None unless said: a test's script may then write where the test looks. */
  readonly sandbox?: SandboxChoice;
  readonly allowLoopback?: readonly number[];
  readonly shares?: readonly string[];
};

export async function startLocalEc2(options: LocalEc2Options): Promise<LocalEc2> {
  const credentials = makeCredentials(Buffer.alloc(32, 7));
  const events: string[] = [];
  const server = await startServer({
    port: options.port ?? 0,
    region: "us-east-1",
    credentials,
    log: () => {},
  });
  const endpoint = `http://127.0.0.1:${server.port}`;
  const part = await createEc2({
    folder: options.folder,
    types: TEST_TYPES,
    endpoint,
    environment: { PATH: process.env.PATH ?? "", LANG: "C.UTF-8" },
    issueCredentials: credentials.issueForInstance,
    sendEvent: async (body) => {
      events.push(body);
    },
    log: () => {},
    settings: {
      ...DEFAULT_SETTINGS,
      bootMs: options.bootMs ?? 10,
      listingLagMs: options.listingLagMs ?? 0,
      throttling: options.throttling ?? false,
      sandbox: options.sandbox ?? "none",
      allowLoopback: [...(options.allowLoopback ?? [])],
    },
    shares: options.shares ?? [],
    ...(options.now ? { now: options.now } : {}),
  }).catch(async (error) => {
    await server.stop();
    throw error;
  });
  const ssm = createSsm(
    createParameters(NO_SECRETS),
    {},
    options.throttling ? createSsmThrottle(options.now ?? Date.now) : undefined,
  );
  server.serve({
    ec2: part.service,
    imds: part.imds,
    sts: createSts({ issue: credentials.issueForRole, now: Date.now }),
    ssm,
  });
  const client = { region: "us-east-1", endpoint, credentials: credentials.owner, maxAttempts: 1 };
  const [ec2, ssmClient] = [new EC2Client(client), new SSMClient(client)];
  return {
    endpoint,
    ec2,
    ssm: ssmClient,
    sandbox: part.sandbox,
    run: part.run,
    events,
    stop: async () => {
      ec2.destroy();
      ssmClient.destroy();
      await server.stop();
      await part.stop();
    },
  };
}
