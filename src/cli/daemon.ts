/**
 * `errand daemon`: the place that wires adapters. With `--local` it embeds the local cloud, or attaches to
 * the one that runs in the data directory already.
 */
import { readlinkSync } from "node:fs";
import { hostname } from "node:os";
import type { Clients } from "../aws/clients.ts";
import { createCloud } from "../aws/cloud.ts";
import { createEvents } from "../aws/events.ts";
import { createLiveSource, type LiveSource } from "../aws/live-source.ts";
import { readLiveTypes } from "../aws/live-types.ts";
import { createLogs } from "../aws/session/logs.ts";
import { createUploads } from "../aws/uploads.ts";
import { bootstrapScript } from "../aws/user-data.ts";
import { readHostEnvironment } from "../config.ts";
import { key } from "../core/layout.ts";
import { runDaemon } from "../daemon/daemon.ts";
import { createFollowers } from "../daemon/followers.ts";
import { ensureInstallation } from "../daemon/installation.ts";
import { startLogStream } from "../daemon/log-stream.ts";
import { CloudError, describeError, UserError } from "../errors.ts";
import { startLocalCloud } from "../local/local-cloud.ts";
import { pickSettings, type Settings } from "../local/settings.ts";
import { createLog, LOG_LEVELS, type Log } from "../log.ts";
import type { Clock, Cloud, Events, Store } from "../ports.ts";
import { type Connection, type ConnectOptions, connect, connectLocal } from "./connect.ts";
import { startInstruments } from "./instruments.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findLocalCloud, isRunning, needLocalCloud } from "./local-note.ts";
import { readLocalTypes } from "./local-types.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import type { Output } from "./output.ts";
import { loadProviders } from "./provider-modules.ts";
import { removeStreamNote, writeStreamNote } from "./stream-note.ts";
import { systemClock } from "./system-clock.ts";
import { newToken } from "./token.ts";
import { readVersion } from "./version.ts";

export type DaemonCommandOptions = ConnectOptions & {
  readonly port: number;
  /** Settings of the local cloud; what is not given is for its `settings.yaml`. */
  readonly bootMs?: number;
  readonly listingLagMs?: number;
  readonly throttling?: "on" | "off";
  readonly sandbox?: Settings["sandbox"];
  readonly egress?: Settings["egress"];
  readonly allowLoopback?: number[];
  /** False: the local cloud alone. */
  readonly daemon: boolean;
};

/** Local looks are cheap, and a person watches. */
const LOCAL_PACE = { pollMs: 500, sweepMs: 5_000 };
const AWS_PACE = { pollMs: 5_000, sweepMs: 60_000 };

/** Runs until SIGTERM or Ctrl-C: then the daemon stops first, and the local cloud after it. */
export async function daemon(output: Output, options: DaemonCommandOptions): Promise<number> {
  const interrupt = listenForInterrupt();
  const metrics = createMetrics(readVersion());
  const watched = { ...options, onCall: metrics.called };
  const begin = (connection: Connection) =>
    work(output, { connection, metrics, signal: interrupt.signal });
  if (!options.local) {
    await begin(await connect(watched));
    return 0;
  }
  const cloud = await startOrAttach(output, options);
  try {
    const connection = await connectLocal(watched, await needLocalCloud(options.data));
    if (options.daemon) await begin(connection);
    else await idle(output, connection, interrupt.signal);
  } finally {
    await cloud.stop();
  }
  return 0;
}

/** A cloud that was there already is not ours to stop. */
async function startOrAttach(
  output: Output,
  options: DaemonCommandOptions,
): Promise<{ readonly stop: () => Promise<void> }> {
  const { data: directory, port } = options;
  const running = await findLocalCloud(directory);
  if (running && options.daemon) {
    output.note(`using the local cloud of process ${running.pid} at ${running.endpoint}`);
    return { stop: async () => {} };
  }
  const level = LOG_LEVELS.find((each) => each === options.logLevel) ?? "info";
  const log = createLog({ level, format: process.stderr.isTTY ? "text" : "json" });
  try {
    return await startLocalCloud({
      directory,
      port,
      instanceTypes: await readLocalTypes(),
      environment: readHostEnvironment(),
      ...settingsOf(options),
      log: (message, fields = {}) => {
        if ("error" in fields) log.warn(message, fields);
        else log.info(message, fields);
      },
    });
  } catch (error) {
    // Its own words say what to do: a directory in use, a port taken.
    if (error instanceof Error && !(error instanceof TypeError)) {
      throw new UserError(`starting the local cloud in ${directory}`, "", { cause: error });
    }
    throw error;
  }
}

const settingsOf = ({ throttling, ...options }: DaemonCommandOptions) => ({
  ...pickSettings(options),
  ...(throttling !== undefined && { throttling: throttling === "on" }),
});

async function idle(output: Output, connection: Connection, signal: AbortSignal): Promise<void> {
  tellReady(output, connection);
  while (!signal.aborted) await systemClock.sleep(60_000, signal);
}

type Work = {
  readonly connection: Connection;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
};

async function work(output: Output, { connection, metrics, signal }: Work): Promise<void> {
  const { config } = connection;
  const log = createLog({ level: config.logLevel, format: logFormat(connection) });
  const clients = await connection.clients();
  const instruments = await startInstruments({
    ...{ metrics, port: config.metricsPort, clock: systemClock, log, stop: signal },
  });
  try {
    const options = await daemonOptions(output, { connection, clients, log });
    const stream = await openStream(connection, clients, log);
    metrics.watchFollowers(stream.followed);
    try {
      await runDaemon({ ...options, meter: instruments.meter }, signal);
    } finally {
      await stream.close();
    }
  } finally {
    await instruments.close();
    clients.close();
  }
}

type Wired = {
  readonly connection: Connection;
  readonly clients: Clients;
  readonly log: Log;
};

async function daemonOptions(output: Output, { connection, clients, log }: Wired) {
  const { store, config, isLocal } = connection;
  const providers = await loadProviders(config.providers);
  const installation = await ensureInstallation(store, newToken(), config.installation);
  const live = isLocal ? undefined : createLive(connection, clients, log);
  const cloud = createCloud(clients, {
    ...(live && { live }),
    region: config.region,
    subnets: config.subnets,
    images: config.images,
    ignoresNamedImages: isLocal,
    installation,
    readScript: (sha256) => readScript(store, sha256),
    onStale: (error) => log.warn("catalog not refreshed", { error }),
    quotas: {
      onUnknown: (error) => log.warn("vCPU quotas not read", { error: describeError(error) }),
      ...(isLocal && { freshMs: LOCAL_PACE.sweepMs }),
    },
  });
  return {
    ...wire({ installation, cloud, clients, log, connection }),
    providers,
    ...(isLocal ? LOCAL_PACE : AWS_PACE),
    onReady: () => tellReady(output, connection),
  };
}

/** Live logs for commands near by, which find them by a note. */
async function openStream(
  { streamPlace }: Connection,
  { ssm, generateDataKey }: Clients,
  log: Log,
): Promise<{ readonly followed: () => number; readonly close: () => Promise<void> }> {
  const clock = systemClock;
  const followers = createFollowers({
    logs: createLogs({ ssm, generateDataKey, clock }),
    clock,
    log,
  });
  const { url, token, stop } = await startLogStream(followers);
  await writeStreamNote(streamPlace, { bucket: streamPlace.bucket, url, token, pid: process.pid });
  return {
    followed: followers.count,
    close: async () => {
      await removeStreamNote(streamPlace, process.pid);
      await Promise.all([stop(), followers.stop()]);
    },
  };
}

function wire({
  installation,
  cloud,
  clients,
  log,
  connection: { store, config },
}: Wired & { readonly installation: string; readonly cloud: Cloud }) {
  const holder = { holder: newToken(), host: hostId(), pid: process.pid };
  return {
    cloud,
    store,
    log,
    clock: systemClock,
    uploads: createUploads(clients.s3, config.bucket),
    events: config.queueUrl ? createEvents(clients.sqs, config.queueUrl) : noEvents(systemClock),
    limits: { ...config.limits, jobRoles: Object.keys(config.jobRoles) },
    retentionMs: config.retention,
    settings: {
      installation,
      bucket: config.bucket,
      region: config.region,
      endpoint: config.endpoint ?? "",
      instanceProfile: config.instanceProfile,
      securityGroupIds: config.securityGroupIds,
      instanceTags: config.instanceTags,
      every: config.every,
      allowsHostPython: config.allowsHostPython,
      jobRoles: config.jobRoles,
    },
    script: bootstrapScript(),
    holder,
    isDead: (other: typeof holder) => other.host === holder.host && !isRunning(other.pid),
    newToken,
  };
}

/** One line for whoever started it: drops are taken from here on. */
function tellReady(output: Output, { config }: Connection): void {
  const { endpoint = null, bucket, queueUrl = null } = config;
  output.line(`ready ${JSON.stringify({ endpoint, bucket, queueUrl })}`);
}

const logFormat = ({ config, isLocal }: Connection): "json" | "text" =>
  isLocal && process.stderr.isTTY ? "text" : config.logFormat;

/** Where a pid means the same process: the host, and on Linux its namespace of pids, which a container has of its own. */
function hostId(): string {
  try {
    return `${hostname()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

/** Types and prices of today. A local cloud sells what it is shipped with. */
function createLive({ store, config }: Connection, { ec2 }: Clients, log: Log): LiveSource {
  const { region, endpoint } = config;
  if (endpoint !== undefined) {
    const reason = `${endpoint} is not AWS; those that Errand is shipped with are used`;
    log.info("prices not asked for", { reason });
  }
  const { now } = systemClock;
  return createLiveSource({
    ...{ store, region, now, random: Math.random },
    onComplaint: (error) => log.warn("types and prices not refreshed", { error }),
    read: (onComplaint) => readLiveTypes(ec2, { region, endpoint }, { now, onComplaint }),
  });
}

async function readScript(store: Store, sha256: string): Promise<string> {
  const object = await store.find(key.bootstrap(sha256));
  if (object) return new TextDecoder().decode(object.body);
  throw new CloudError("refused", `the bootstrap script ${sha256} is gone from tools/bootstrap/`);
}

/** Without a queue the sweep finds everything, later. */
const noEvents = (clock: Clock): Events => ({
  receive: async (signal) => {
    await clock.sleep(20_000, signal);
    return [];
  },
  acknowledge: async () => {},
});
