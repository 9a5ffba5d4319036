/**
 * The local cloud: as much of AWS as Errand needs, on one loopback port and in one data directory, durable there. This file
 * puts the services together; each tells in its own header what it does. What all users should know:
 *
 * Gaps. S3: versions, ACLs, tags, policies, encryption headers, GetObjectAttributes, reading by part number,
 * uploads by POST from a form. SQS: FIFO queues, message system attributes, tags, permissions, the query protocol. EC2, IMDS, SSM, Secrets Manager, STS:
 * see `ec2.ts`, `imds.ts`, `parameters.ts`, `sessions.ts`, `secrets-manager.ts`, `service-quotas.ts`, `sts.ts`. What is not there answers 501 NotImplemented with its name, and changes nothing.
 *
 * By design otherwise than on AWS:
 * - One account, one region. Keys belong to the owner of the directory, who may do everything, or to an instance, which may do
 *   everything in S3, nothing in SQS, and elsewhere what that service says. Policies are stored and not judged.
 * - Notifications are sent within the write that causes them; kill -9 between the two loses one, as AWS may.
 * - Of two writes on one key at once both are answered; none gets 409. Listings show every write at once.
 * - Acknowledged writes survive the end of the process, not of the machine: nothing is synced to the disk.
 * - Checksums are kept where they were sent and not made up where they were not, while AWS adds CRC64NVME.
 * - Copies and completed uploads are durable at once, whatever their size; no keep-alive bytes come before the answer.
 * - A clock that is off by 15 minutes is RequestTimeTooSkewed for all services, not S3 alone.
 *
 * Quirks of clients:
 * - The AWS CLI before version 2 reads AWS_DEFAULT_REGION and not AWS_REGION, does not read AWS_ENDPOINT_URL for SQS (pass
 *   --endpoint-url), and presigns with Signature Version 2, which is refused, unless `s3.signature_version` is `s3v4`.
 * - The SDKs name buckets as hosts: pass forcePathStyle, or reach the cloud as localhost, where `bucket.localhost` works.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createControl } from "./control.ts";
import { type Credentials, type KeyPair, makeCredentials } from "./credentials.ts";
import { type DataDirectory, openDataDirectory } from "./directory.ts";
import { createEc2 } from "./ec2.ts";
import type { InstanceTypeData } from "./ec2-instance-types.ts";
import { ACCOUNT_ID, IMAGES, INSTANCE_PROFILE, REGION, SUBNETS } from "./ec2-world.ts";
import { createCallFaults } from "./fault-calls.ts";
import { createEventFaults, type EventFaults } from "./fault-events.ts";
import { type Faults, openFaults } from "./faults.ts";
import { createKms } from "./kms.ts";
import type { HostEnvironment } from "./machines.ts";
import { createParameters } from "./parameters.ts";
import { openS3, type S3 } from "./s3.ts";
import { openSecretStore } from "./secret-store.ts";
import { createSecretsManager } from "./secrets-manager.ts";
import { type Log, type RunningServer, startServer } from "./server.ts";
import { createServiceQuotas } from "./service-quotas.ts";
import { openSessions, type Sessions } from "./sessions.ts";
import { pickSettings, readSettings, type Settings } from "./settings.ts";
import { resolveShims } from "./shims.ts";
import { openSqs, type Sqs } from "./sqs.ts";
import { createSsm } from "./ssm.ts";
import { createSsmThrottle } from "./ssm-throttle.ts";
import { createSts } from "./sts.ts";

/** Settings that are not given come from `settings.yaml` in the directory, or have their defaults. */
export type LocalCloudOptions = Partial<Settings> & {
  /** Made when it does not exist; for one process at a time. */
  readonly directory: string;
  /** 0 takes the port of the last start when it is free, else any. */
  readonly port: number;
  readonly instanceTypes: readonly InstanceTypeData[];
  readonly bucket?: string;
  /** What machines take over of the host's environment; the system's own PATH by default. */
  readonly environment?: HostEnvironment;
  /** Boots machines in place of the host's shell, for tests that boot a system: see `machines.ts`. */
  readonly machineProgram?: readonly string[];
  /** Journals of S3 and SQS are rewritten once they are this long and mostly old; for tests that want to see it happen. */
  readonly rewriteLinesMin?: number;
  readonly log: Log;
};

/** How to reach it, and what stands in it. */
export type LocalCloudNote = KeyPair & {
  /** Such as `http://127.0.0.1:4577`. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly queueUrl: string;
  readonly subnets: readonly { readonly zone: string; readonly subnetId: string }[];
  readonly imageIds: readonly string[];
  readonly instanceProfile: string;
};

export type LocalCloud = LocalCloudNote & {
  readonly port: number;
  readonly sessions: Pick<Sessions, "counts" | "prefer">;
  /** Hangs up on everybody, ends the machines; whatever was acknowledged is in the directory. */
  stop(): Promise<void>;
};

const BUCKET = "errand-local";
const QUEUE = "errand-events";
const DEAD_LETTER_QUEUE = "errand-events-dead";
const RECEIVES_MAX = 5;
const NOTIFIED_PREFIXES = ["drops/", "inbox/"];
const HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Throws Error when another process has the directory, the port is taken, or the directory's content cannot be read. */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const directory = await openDataDirectory(options.directory);
  const undo: Undo = [() => directory.release()];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const { note, ...rest } = await start(options, directory, undo);
    return { ...note, ...rest, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What is to be done at the end, last first. */
type Undo = (() => void | Promise<void>)[];

async function start(
  options: LocalCloudOptions,
  directory: DataDirectory,
  undo: Undo,
): Promise<{ readonly note: LocalCloudNote } & Pick<LocalCloud, "port" | "sessions">> {
  const credentials = makeCredentials(directory.secret);
  const server = await listen(options, directory, credentials);
  undo.push(() => server.stop());
  await directory.keepPort(server.port);
  const endpoint = `http://127.0.0.1:${server.port}`;
  const settings = await readSettings(directory.path, pickSettings(options));
  const faults = openFaults(join(directory.path, "faults.json"));
  undo.push(() => faults.close());
  const storage = { endpoint, faults, rewriteLinesMin: options.rewriteLinesMin };
  const { sqs, s3, events } = await openStorage(directory.path, storage, undo);
  const ec2 = await createEc2({
    folder: join(directory.path, "ec2"),
    types: options.instanceTypes,
    endpoint,
    environment: await makeEnvironment(options, directory),
    machineProgram: options.machineProgram,
    issueCredentials: credentials.issueForInstance,
    sendEvent: async (body) => events.send(QUEUE, body),
    log: (message, fields) => options.log(message, fields ?? {}),
    settings,
    faults,
  });
  undo.push(() => ec2.stop());
  const kms = createKms(directory.secret);
  const secrets = openSecretStore(join(directory.path, "secrets"), { kms, now: Date.now });
  undo.push(() => secrets.close());
  const sessions = await openSessions({
    folder: join(directory.path, "ssm"),
    endpoint,
    ec2,
    kms,
    faults,
  });
  undo.push(() => sessions.stop());
  const { bucket = BUCKET } = options;
  prepare({ sqs, s3, bucket });
  server.serve({
    control: createControl({ settings, faults, secrets, onAdded: ec2.planTroubles }),
    faults: createCallFaults(faults, ec2.isCutOff),
    s3,
    sqs,
    ec2: ec2.service,
    imds: ec2.imds,
    kms: kms.service,
    secretsmanager: createSecretsManager(secrets),
    servicequotas: createServiceQuotas(faults),
    ssm: createSsm(
      createParameters(secrets),
      sessions.operations,
      settings.throttling ? createSsmThrottle(Date.now) : undefined,
    ),
    sessions,
    sts: createSts({ issue: credentials.issueForRole, now: Date.now }),
    health: { sandbox: ec2.sandbox.mode, isolation: ec2.sandbox.notice },
  });
  // A second time, so that requests have ended before the services do.
  undo.push(() => server.stop());
  const note = noteOf({ endpoint, owner: credentials.owner, bucket, sqs });
  await directory.announce({ ...note, pid: process.pid });
  return { note, port: server.port, sessions };
}

const noteOf = ({
  endpoint,
  owner,
  bucket,
  sqs,
}: Pick<LocalCloudNote, "endpoint" | "bucket"> & {
  readonly owner: KeyPair;
  readonly sqs: Sqs;
}): LocalCloudNote => ({
  endpoint,
  region: REGION,
  ...owner,
  bucket,
  queueUrl: sqs.queueUrl(QUEUE),
  subnets: SUBNETS.map(({ id, zone }) => ({ zone, subnetId: id })),
  imageIds: IMAGES.map(({ id }) => id),
  instanceProfile: INSTANCE_PROFILE.name,
});

/** What machines fetch once for all (uv, interpreters, packages) stays here: a machine's own disk ends with it. */
async function makeEnvironment(
  { environment = { PATH: HOST_PATH } }: LocalCloudOptions,
  directory: DataDirectory,
): Promise<HostEnvironment> {
  const cache = join(directory.path, "cache");
  // The directory around it is the owner's alone; a machine sees this one, and its job may be another user.
  await mkdir(cache, { recursive: true, mode: 0o755 });
  return { ...environment, PATH: await resolveShims(environment), ERRAND_CACHE: cache };
}

async function listen(
  { port, log }: LocalCloudOptions,
  { lastPort }: DataDirectory,
  credentials: Credentials,
): Promise<RunningServer> {
  const start = (wanted: number): Promise<RunningServer> =>
    startServer({ port: wanted, region: REGION, credentials, log });
  try {
    return await start(port || lastPort);
  } catch (error) {
    if (!isTaken(error)) throw error;
    if (port === 0) return start(0);
    throw new Error(`port ${port} is taken: stop what listens there, or give another (0 for any)`, {
      cause: error,
    });
  }
}

const isTaken = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "EADDRINUSE";

type Storage = { readonly sqs: Sqs; readonly s3: S3; readonly events: EventFaults };

async function openStorage(
  directory: string,
  options: {
    readonly endpoint: string;
    readonly faults: Faults;
    readonly rewriteLinesMin: number | undefined;
  },
  undo: Undo,
): Promise<Storage> {
  const { endpoint, faults, rewriteLinesMin } = options;
  const common = { region: REGION, accountId: ACCOUNT_ID, rewriteLinesMin };
  for (const name of ["sqs", "s3"]) {
    await mkdir(join(directory, name), { recursive: true, mode: 0o700 });
  }
  const sqs = openSqs({ path: join(directory, "sqs", "journal"), endpoint, ...common });
  undo.push(() => sqs.close());
  const events = createEventFaults(faults, sqs.sendMessage);
  undo.push(() => events.close());
  const queues = { hasQueue: sqs.hasQueue, sendMessage: events.send };
  const s3 = openS3({ directory: join(directory, "s3"), queues, ...common });
  undo.push(() => s3.close());
  return { sqs, s3, events };
}

/** What stands in it from the first start; an operator's changes to queues stay, the bucket's notifications are these. */
function prepare({ sqs, s3, bucket }: { sqs: Sqs; s3: S3; bucket: string }): void {
  const arnOf = (queue: string): string => `arn:aws:sqs:${REGION}:${ACCOUNT_ID}:${queue}`;
  sqs.ensureQueue(DEAD_LETTER_QUEUE, {});
  sqs.ensureQueue(QUEUE, {
    RedrivePolicy: JSON.stringify({
      deadLetterTargetArn: arnOf(DEAD_LETTER_QUEUE),
      maxReceiveCount: RECEIVES_MAX,
    }),
  });
  const notifications = NOTIFIED_PREFIXES.map((prefix) => ({
    id: prefix.replace("/", ""),
    queueArn: arnOf(QUEUE),
    events: ["s3:ObjectCreated:*"],
    prefix,
    suffix: "",
  }));
  s3.ensureBucket(bucket, notifications);
}
