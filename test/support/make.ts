/** Builders: a valid thing by default; a test names only what it is about. */
import type { LaunchSettings } from "../../src/core/launches.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Instance, Look, Report } from "../../src/core/observation.ts";
import type { Catalog, Offer, PricedType } from "../../src/core/offers.ts";
import type { Attempt, Run } from "../../src/core/run.ts";
import type { Job, Resources } from "../../src/core/workflow.ts";
import type { Clock } from "../../src/ports.ts";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export const makeResources = (over: Partial<Resources> = {}): Resources => ({
  diskBytes: 100e9,
  maxDurationMs: HOUR,
  burstable: false,
  arch: "x86_64",
  retry: { lost: 2, failed: 0 },
  ...over,
});

export const makeJob = (over: Partial<Job> = {}): Job => ({
  name: "train",
  workflow: over.name ?? "train",
  provider: "python",
  needs: [],
  inputs: [],
  task: { type: "python", version: "3.10", words: ["train.py"] },
  environment: {},
  workingDir: ".",
  artifacts: ["checkpoint"],
  resources: makeResources(),
  ...over,
});

export const makeOffer = (over: Partial<Offer> = {}): Offer => ({
  instanceType: "m7i.large",
  zone: "us-east-1a",
  subnetId: "subnet-a",
  hourlyUsd: 0.1,
  vcpus: 2,
  memoryMib: 8192,
  gpus: 0,
  ...over,
});

export const makeType = (over: Partial<PricedType> = {}): PricedType => ({
  name: "m7i.large",
  vcpus: 2,
  memoryMib: 8192,
  arch: "x86_64",
  isNitro: true,
  isBareMetal: false,
  isBurstable: false,
  hasOtherAccelerator: false,
  hourlyUsd: 0.1,
  ...over,
});

export const makeCatalog = (over: Partial<Catalog> = {}): Catalog => ({
  region: "us-east-1",
  types: [makeType(), makeType({ name: "m7i.xlarge", vcpus: 4, memoryMib: 16384, hourlyUsd: 0.2 })],
  places: [
    { zone: "us-east-1a", subnetId: "subnet-a" },
    { zone: "us-east-1b", subnetId: "subnet-b" },
  ],
  images: [
    { arch: "x86_64", hasGpuDriver: false, imageId: "ami-cpu", rootDeviceName: "/dev/xvda" },
    { arch: "x86_64", hasGpuDriver: true, imageId: "ami-gpu", rootDeviceName: "/dev/xvda" },
  ],
  isEstimate: false,
  pricedOn: "2026-07-01",
  ...over,
});

export const makeAttempt = (over: Partial<Attempt> = {}): Attempt => ({
  job: "train",
  number: 1,
  offer: makeOffer(),
  plannedAt: 0,
  launch: { token: "t1", index: 0 },
  ...over,
});

/** An attempt whose instance EC2 has confirmed. */
export const makeLaunched = (over: Partial<Attempt> = {}): Attempt =>
  makeAttempt({ answer: { at: 0, instanceId: "i-1" }, ...over });

/** An attempt whose runner has claimed and reported. */
export const makeStarted = (over: Partial<Attempt> = {}): Attempt =>
  makeLaunched({ runningAt: 0, claimedAt: 0, started: { at: 0, bootMs: 100 }, ...over });

export const makeRun = (attempts: readonly Attempt[] = [], over: Partial<Run> = {}): Run => ({
  format: 1,
  id: "20261123-211530-aaaaaa",
  name: "brave-otter-42",
  createdAt: 0,
  drop: { key: "drops/train/20261123-211530-aaaaaa.tar.gz", etag: "e" },
  bundle: { key: "runs/20261123-211530-aaaaaa/bundle.tar.gz", bytes: 100 },
  workflows: ["train"],
  jobs: [makeJob()],
  warnings: [],
  attempts: [...attempts],
  refusals: [],
  verdicts: [],
  ...over,
});

export const makeInstance = (over: Partial<Instance> = {}): Instance => ({
  id: "i-1",
  token: "t1",
  index: 0,
  state: "running",
  instanceType: "m7i.large",
  zone: "us-east-1a",
  launchedAt: 0,
  stateReason: "",
  ...over,
});

const reportBase = {
  format: 1,
  token: "t1",
  index: 0,
  run: "20261123-211530-aaaaaa",
  job: "train",
  attempt: 1,
  instanceId: "i-1",
  at: 0,
} as const;

export const makeStartedReport = (): Report => ({ ...reportBase, stage: "started", bootMs: 100 });

export const makeFinishedReport = (
  over: Partial<Extract<Report, { stage: "finished" }>> = {},
): Report => ({
  ...reportBase,
  stage: "finished",
  outcome: "succeeded",
  reason: "",
  exitCode: 0,
  phases: { run: 1000 },
  artifacts: [{ path: "checkpoint", bytes: 10, files: 1 }],
  notes: [],
  logLines: 3,
  ...over,
});

export const makeLook = (over: Partial<Look> = {}): Look => ({
  at: 0,
  instances: [],
  reports: [],
  cancel: undefined,
  answers: new Map(),
  claims: new Map(),
  catalog: makeCatalog(),
  capacity: {},
  limits: DEFAULT_LIMITS,
  room: { instances: 10, hourlyUsd: 10 },
  batches: { tokens: ["new-1", "new-2", "new-3"], open: [] },
  ...over,
});

export const makeSettings = (over: Partial<LaunchSettings> = {}): LaunchSettings => ({
  installation: "inst",
  bucket: "errand-test",
  region: "us-east-1",
  endpoint: "",
  scriptSha256: "abc",
  instanceProfile: "errand-instance",
  securityGroupIds: [],
  instanceTags: {},
  every: { logMs: 2000, heartbeatMs: 30_000, syncMs: 60_000, stopMs: 5_000 },
  allowsHostPython: false,
  ...over,
});

/** Nobody wakes by it but those whose signal is raised. */
export const makeClock = (now: () => number): Clock => ({
  now,
  sleep: (_, signal) =>
    new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })),
});

const quiet = () => {};
export const quietLog = { debug: quiet, info: quiet, warn: quiet, error: quiet };
