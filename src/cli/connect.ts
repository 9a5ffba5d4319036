/** From a command's options to the bucket it works on. Here the adapters of `aws/` meet the commands. */
import type { Clients } from "../aws/clients.ts";
import { type ClientOptions, createS3Client } from "../aws/s3-client.ts";
import { createStore } from "../aws/store.ts";
import type { OnCall } from "../aws/watch-calls.ts";
import { type Config, type ConfigFlags, loadConfig } from "../config.ts";
import { UserError } from "../errors.ts";
import type { Logs, Store } from "../ports.ts";
import { dataOption, type LocalNote, needLocalCloud } from "./local-note.ts";
import { createStreamLogs } from "./stream-logs.ts";
import { findStream, type StreamPlace } from "./stream-note.ts";

export type ConnectOptions = {
  readonly local?: boolean;
  /** The local cloud's directory. */
  readonly data: string;
  readonly config?: string;
  readonly region?: string;
  readonly bucket?: string;
  readonly endpoint?: string;
  readonly logLevel?: string;
  readonly logFormat?: string;
  readonly metricsPort?: number;
  /** Told of each call of AWS. */
  readonly onCall?: OnCall;
};

export type Connection = {
  readonly store: Store;
  /** All clients. Loading that of EC2 takes half a second, which commands that read the bucket are spared. */
  readonly clients: () => Promise<Clients>;
  /** What other clients are made with. */
  readonly where: ClientOptions;
  readonly config: Config;
  /** Of a daemon that is near, as its own notes tell. */
  readonly logs: Logs;
  /** Where a daemon on this bucket leaves its note. */
  readonly streamPlace: StreamPlace;
  readonly isLocal: boolean;
  /** What a command that a hint names needs to come here, too: ` --local`, with `--data` where it is not the default. */
  readonly placeWords: string;
  /** How often what changes is looked at: on loopback it costs nothing. */
  readonly pollMs: number;
};

/** Throws UserError for a configuration that is not whole, or when no local cloud runs where one should. */
export async function connect(options: ConnectOptions): Promise<Connection> {
  return options.local
    ? connectLocal(options, await needLocalCloud(options.data))
    : connectAws(options);
}

async function connectAws(options: ConnectOptions): Promise<Connection> {
  const { region, bucket, endpoint } = options;
  const config = await loadConfig(
    { ...daemonFlags(options), region, bucket, endpoint },
    { path: options.config },
  ).catch((error: unknown) => {
    if (!(error instanceof UserError) || error.hint !== "") throw error;
    throw new UserError(error.message, "For the local cloud add --local.", { cause: error.cause });
  });
  const where = { region: config.region, endpoint: config.endpoint, onCall: options.onCall };
  const place = { bucket: config.bucket, directory: undefined };
  return {
    ...open(config, where),
    ...near(place),
    config,
    isLocal: false,
    placeWords: "",
    pollMs: 1_000,
  };
}

function open(
  config: Config,
  where: ClientOptions,
): Pick<Connection, "store" | "clients" | "where"> {
  return {
    where,
    store: createStore(createS3Client(where), config.bucket),
    clients: async () => (await import("../aws/clients.ts")).createClients(where),
  };
}

const near = (streamPlace: StreamPlace): Pick<Connection, "logs" | "streamPlace"> => ({
  logs: createStreamLogs(() => findStream(streamPlace)),
  streamPlace,
});

/** How often a local runner writes: what a person waits for should come at once. */
const LOCAL_EVERY: Config["every"] = {
  logMs: 250,
  heartbeatMs: 10_000,
  syncMs: 5_000,
  stopMs: 500,
};

export async function connectLocal(options: ConnectOptions, note: LocalNote): Promise<Connection> {
  const { endpoint, region, bucket, queueUrl, instanceProfile } = note;
  const loaded = await loadConfig(
    {
      ...daemonFlags(options),
      ...{ endpoint, region, bucket, queueUrl, instanceProfile },
      allowsHostPython: true,
    },
    { path: options.config },
  );
  // What is told of AWS does not hold here.
  const config = {
    ...loaded,
    ...{ installation: undefined, subnets: [], securityGroupIds: [], images: {} },
    every: LOCAL_EVERY,
  };
  const { accessKeyId, secretAccessKey } = note;
  const credentials = { accessKeyId, secretAccessKey };
  const where = { region, endpoint, credentials, onCall: options.onCall };
  const place = { bucket, directory: options.data };
  const placeWords = ` --local${dataOption(options.data)}`;
  return { ...open(config, where), ...near(place), config, isLocal: true, placeWords, pollMs: 200 };
}

const daemonFlags = ({ logLevel, logFormat, metricsPort }: ConnectOptions): ConfigFlags => ({
  logLevel,
  logFormat,
  metricsPort,
});
