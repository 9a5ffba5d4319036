/** Views of runs as `status/<run>.json` holds them, for tests that say only what matters to them. */
import type { AttemptView, JobView, Phases, RunView } from "../../src/core/view.ts";

export const RUN = "20261123-211530-k3f9q2";
export const BEGAN_AT = Date.parse("2026-11-23T21:15:30.000Z");

/** Seconds after the run began, as ISO 8601. */
export const secondsIn = (seconds: number): string =>
  new Date(BEGAN_AT + seconds * 1000).toISOString();

export const makeRunView = (changes: Partial<RunView> = {}): RunView => ({
  id: RUN,
  name: "brave-otter-42",
  state: "running",
  workflows: ["train"],
  createdAt: secondsIn(0),
  finishedAt: null,
  costUsd: 0,
  prunedAt: null,
  problems: [],
  warnings: [],
  jobs: [],
  ...changes,
});

export const makeJobView = (changes: Partial<JobView> = {}): JobView => ({
  name: "train",
  workflow: "train",
  state: "waiting",
  reason: "",
  holds: [],
  dependsOn: [],
  attempts: [],
  refusals: [],
  artifacts: [],
  notes: [],
  ...changes,
});

const noPhases: Phases = {
  queued: null,
  api: null,
  pending: null,
  boot: null,
  inputs: null,
  setup: null,
  run: null,
  upload: null,
  terminate: null,
};

export const makeAttemptView = (
  changes: Partial<Omit<AttemptView, "phases">> & { readonly phases?: Partial<Phases> } = {},
): AttemptView => ({
  number: 1,
  instanceId: "i-0123456789abcdef0",
  instanceType: "g4dn.xlarge",
  zone: "us-east-1a",
  hourlyUsd: 0.526,
  costUsd: 0,
  pricedOn: null,
  state: "booting",
  exitCode: null,
  reason: "",
  startedAt: null,
  endedAt: null,
  consoleBytes: null,
  ...changes,
  phases: { ...noPhases, ...changes.phases },
});
