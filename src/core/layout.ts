/** Where things stand in the bucket. docs/formats.md says what is in them. */

export const key = {
  errand: "errand.json",
  lease: "lease.json",
  limits: "limits.json",
  capacity: "capacity.json",
  /** Types and prices of a region, as AWS told them last. */
  catalog: (region: string) => `catalog/${region}.json`,
  record: (run: string) => `records/${run}.json`,
  open: (run: string) => `open/${run}`,
  status: (run: string) => `status/${run}.json`,
  bundle: (run: string, extension: string) => `runs/${run}/bundle.${extension}`,
  /** The folder of one attempt, with a slash at its end. */
  attempt: (run: string, job: string, number: number) => `runs/${run}/${job}/${number}/`,
  log: (run: string, job: string, number: number) => `runs/${run}/${job}/${number}/log/`,
  manifest: (run: string, job: string, number: number) =>
    `runs/${run}/${job}/${number}/manifest.json`,
  /** When its runner last gave a sign of life. */
  heartbeat: (run: string, job: string, number: number) =>
    `runs/${run}/${job}/${number}/heartbeat.json`,
  /** What the machine of an attempt that never began said at its boot. */
  console: (run: string, job: string, number: number) => `runs/${run}/${job}/${number}/console.txt`,
  artifacts: (run: string, job: string, number: number) =>
    `runs/${run}/${job}/${number}/artifacts/`,
  launch: (token: string) => `launches/${token}/launch.json`,
  order: (token: string, index: number) => `launches/${token}/${index}.json`,
  claim: (token: string, index: number) => `launches/${token}/${index}.claim`,
  stop: (token: string, index: number) => `launches/${token}/${index}.stop`,
  cancel: (run: string) => `inbox/cancel/${run}`,
  report: (token: string, index: number, stage: string) =>
    `inbox/reports/${token}.${index}.${stage}.json`,
  bootstrap: (sha256: string) => `tools/bootstrap/${sha256}`,
  uv: (version: string, target: string) => `tools/uv/${version}/${target}/uv`,
  pythonBuild: (version: string, target: string) => `tools/python/${version}-${target}.json`,
  pythonArchive: (name: string) => `tools/python/${name}`,
  tag: (workflow: string, tag: string) => `tags/${workflow}/${tag}.json`,
  /** What retention means to do with a run. */
  mark: (run: string) => `retention/${run}.json`,
  /** Empty: retention has done with a run, and need not look at it again. */
  pruned: (run: string) => `pruned/${run}`,
  /** A run that is being taken in needs artifacts of another. */
  pin: (run: string, source: string) => `pins/${run}/${source}`,
} as const;

export const prefix = {
  drops: "drops/",
  open: "open/",
  records: "records/",
  status: "status/",
  cancels: "inbox/cancel/",
  reports: "inbox/reports/",
  /** Of `errand doctor`: a daemon removes what it hears of, which shows that events reach it. */
  probes: "inbox/probe/",
  tags: "tags/",
  tools: "tools/",
  pruned: "pruned/",
  spent: "spent/",
  pins: "pins/",
  /** All that a run's attempts brought back, with a slash at its end. */
  run: (run: string) => `runs/${run}/`,
  launch: (token: string) => `launches/${token}/`,
  rejected: (run: string) => `rejected/${run}/`,
} as const;

/** `20261123-211530-k3f9q2`: the second it began, and six characters of a..z and 2..7. */
export const RUN_ID = /^\d{8}-\d{6}-[a-z2-7]{6}$/;

/** A chunk's key: `log/` and the number of its first line, from 1, in ten digits, so that keys sort. */
export const logChunk = (firstLine: number): string => String(firstLine).padStart(10, "0");

/** The run id of a moment (ISO 8601, UTC) and six characters of chance or of a hash. */
export function runId(iso: string, suffix: string): string {
  const digits = iso.replace(/\D/g, "");
  return `${digits.slice(0, 8)}-${digits.slice(8, 14)}-${suffix}`;
}
