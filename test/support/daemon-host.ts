/** A local cloud and a daemon in this process, with the production adapters between them. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClients } from "../../src/aws/clients.ts";
import { createCloud } from "../../src/aws/cloud.ts";
import { createEvents } from "../../src/aws/events.ts";
import { createStore } from "../../src/aws/store.ts";
import { bootstrapScript } from "../../src/aws/user-data.ts";
import { callLocalCloud } from "../../src/cli/local-control.ts";
import { key } from "../../src/core/layout.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { RunView } from "../../src/core/view.ts";
import { runDaemon } from "../../src/daemon/daemon.ts";
import { ensureInstallation } from "../../src/daemon/installation.ts";
import {
  type LocalCloud,
  type LocalCloudNote,
  type LocalCloudOptions,
  startLocalCloud,
} from "../../src/local/local-cloud.ts";
import type { Cloud, Events, Store } from "../../src/ports.ts";
import { makeSettings, quietLog } from "./make.ts";

export type Host = {
  /** Of the local cloud. */
  readonly directory: string;
  readonly local: LocalCloudNote;
  readonly store: Store;
  readonly cloud: Cloud;
  /** The status of a run once it satisfies the condition. Fails after `waitMs`. */
  readonly waitForRun: (id: string, isThere: (view: RunView) => boolean) => Promise<RunView>;
  readonly stop: () => Promise<void>;
};

const clock = {
  now: Date.now,
  sleep: (ms: number, signal: AbortSignal) =>
    sleep(ms, undefined, { signal }).catch(() => undefined),
};

const text = () =>
  Array.from(
    { length: 20 },
    () => "abcdefghijklmnopqrstuvwxyz234567"[Math.floor(Math.random() * 32)],
  ).join("");

export type HostOptions = {
  readonly limits?: Limits;
  /** No event ever reaches the daemon. */
  readonly isDeaf?: boolean;
  /** Rules of what the local cloud does wrong. */
  readonly faults?: readonly object[];
  /** What machines run at their boot, in place of what they should. */
  readonly changeScript?: (script: string) => string;
  /** Of the local cloud. */
  readonly local?: Partial<LocalCloudOptions>;
  /** How long a run is waited for; 30 s by default. */
  readonly waitMs?: number;
};

export async function startHost(options: HostOptions = {}): Promise<Host> {
  const { limits = DEFAULT_LIMITS, isDeaf = false, waitMs = 30_000 } = options;
  const { changeScript = (script) => script } = options;
  const script = changeScript(bootstrapScript().script);
  const directory = await mkdtemp(join(tmpdir(), "errand-"));
  const local = await startLocalCloud({
    directory,
    port: 0,
    instanceTypes: [
      {
        name: "m7i.large",
        vcpus: 2,
        memoryMib: 8192,
        architectures: ["x86_64"],
        hypervisor: "nitro",
        isBareMetal: false,
        isBurstable: false,
      },
    ],
    environment: { PATH: process.env.PATH ?? "", UV_OFFLINE: "1" },
    log: () => {},
    ...options.local,
  });
  await callFaults(local, options.faults ?? []);
  const credentials = { accessKeyId: local.accessKeyId, secretAccessKey: local.secretAccessKey };
  const clients = createClients({ region: local.region, endpoint: local.endpoint, credentials });
  const store = createStore(clients.s3, local.bucket);
  const installation = await ensureInstallation(store, text());
  const readScript = async (sha256: string) => {
    const object = await store.find(key.bootstrap(sha256));
    return new TextDecoder().decode(object?.body);
  };
  const cloud = createCloud(clients, {
    region: local.region,
    subnets: local.subnets,
    images: {},
    installation,
    readScript,
  });
  const stopping = new AbortController();
  const { promise: ready, resolve: onReady } = deferred();
  const daemon = runDaemon(
    {
      cloud,
      store,
      events: isDeaf ? silence : createEvents(clients.sqs, local.queueUrl),
      clock,
      log: quietLog,
      limits,
      retentionMs: undefined,
      providers: [],
      settings: makeSettings({
        installation,
        bucket: local.bucket,
        endpoint: local.endpoint,
        instanceProfile: local.instanceProfile,
        allowsHostPython: true,
      }),
      script: { script, sha256: createHash("sha256").update(script).digest("hex") },
      holder: { holder: text(), host: "test", pid: process.pid },
      isDead: () => false,
      newToken: text,
      pollMs: 500,
      sweepMs: 1_000,
      onReady,
    },
    stopping.signal,
  );
  await Promise.race([ready, daemon]);
  return {
    directory,
    local,
    store,
    cloud,
    waitForRun: (id, isThere) => waitForRun({ store, id, waitMs }, isThere),
    stop: async () => {
      stopping.abort();
      await daemon;
      clients.close();
      await local.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function callFaults(local: LocalCloud, rules: readonly object[]): Promise<void> {
  if (rules.length === 0) return;
  const call = { method: "POST", path: "/_local/faults", body: rules } as const;
  await callLocalCloud({ ...local, pid: process.pid }, call);
}

const silence: Events = {
  receive: async (signal) => {
    await clock.sleep(20_000, signal);
    return [];
  },
  acknowledge: async () => {},
};

function deferred() {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function waitForRun(
  { store, id, waitMs }: { readonly store: Store; readonly id: string; readonly waitMs: number },
  isThere: (view: RunView) => boolean,
): Promise<RunView> {
  const until = Date.now() + waitMs;
  let last: RunView | undefined;
  while (Date.now() < until) {
    const object = await store.find(key.status(id));
    last = object && (JSON.parse(new TextDecoder().decode(object.body)) as RunView);
    if (last && isThere(last)) return last;
    await sleep(20);
  }
  throw new Error(`run ${id} is not there after ${waitMs} ms: ${JSON.stringify(last, null, 1)}`);
}
