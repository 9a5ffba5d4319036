/** The checks, in the order in which one needs what another has found good. */
import { readBucketRegion, readClockSkew, readIdentity } from "../../aws/probes.ts";
import { inspectSessions } from "../../aws/session/inspect.ts";
import { key } from "../../core/layout.ts";
import { readInstallation } from "../../daemon/installation.ts";
import { LEASE_MS, readLease } from "../../daemon/lease.ts";
import { isCloudError } from "../../errors.ts";
import { formatDuration } from "../render-values.ts";
import type { Patient } from "./doctor.ts";
import { checkEvents } from "./events.ts";
import { fail, type Outcome, pass, skip, warn } from "./finding.ts";
import { checkImages, checkLaunch, checkOffers, checkOrphans, checkQuotas } from "./machines.ts";
import { checkMachineRole, checkOwnRights } from "./roles.ts";

export type Check = {
  readonly name: string;
  /** Names of checks that have to pass for this one to mean anything. */
  readonly needs: readonly string[];
  readonly run: (patient: Patient) => Promise<Outcome>;
};

export const CHECKS: readonly Check[] = [
  { name: "credentials", needs: [], run: checkCredentials },
  { name: "clock", needs: [], run: checkClock },
  { name: "bucket", needs: ["credentials"], run: checkBucket },
  { name: "conditional writes", needs: ["bucket"], run: checkConditions },
  { name: "installation", needs: ["bucket"], run: checkInstallation },
  { name: "daemon", needs: ["bucket"], run: checkDaemon },
  { name: "events", needs: ["bucket"], run: checkEvents },
  { name: "images", needs: ["credentials"], run: checkImages },
  { name: "offers", needs: ["images"], run: checkOffers },
  { name: "quotas", needs: ["offers"], run: checkQuotas },
  { name: "launch", needs: ["offers", "bucket"], run: checkLaunch },
  { name: "daemon's rights", needs: ["credentials"], run: checkOwnRights },
  { name: "machines' role", needs: ["credentials"], run: checkMachineRole },
  { name: "orphans", needs: ["installation"], run: checkOrphans },
  { name: "live logs", needs: ["credentials"], run: checkLiveLogs },
];

async function checkCredentials({ where }: Patient): Promise<Outcome> {
  const { account, arn } = await readIdentity(where);
  return pass(`${arn} of account ${account}`);
}

/** S3 refuses requests that are a quarter of an hour off. */
const SKEW_MS_MAX = 5 * 60_000;
const SKEW_MS_GOOD = 5_000;

async function checkClock({ where, config }: Patient): Promise<Outcome> {
  const endpoint = where.endpoint ?? `https://s3.${config.region}.amazonaws.com`;
  let skewMs: number | undefined;
  try {
    skewMs = await readClockSkew(endpoint);
  } catch {
    return fail(`${endpoint} cannot be reached`, "Look at the network, proxies among it.");
  }
  if (skewMs === undefined) return skip(`${endpoint} does not say the time`);
  const size = Math.abs(skewMs);
  const direction = skewMs > 0 ? "ahead of" : "behind";
  const detail = `${formatDuration(size)} ${direction} AWS`;
  const cure = "Let chrony or systemd-timesyncd keep the time here.";
  if (size > SKEW_MS_MAX) return fail(detail, cure);
  return size > SKEW_MS_GOOD ? warn(detail, cure) : pass("agrees with AWS to some seconds");
}

async function checkBucket({ clients, config }: Patient): Promise<Outcome> {
  const { bucket, region } = config;
  try {
    const found = await readBucketRegion(clients, bucket);
    if (found === undefined || found === region) return pass(`${bucket} in ${found ?? region}`);
    return fail(
      `${bucket} is in ${found}, and the configuration says ${region}`,
      `Set region: ${found}`,
    );
  } catch (error) {
    if (!isCloudError(error, "not-found")) throw error;
    return fail(
      `there is no bucket ${bucket}`,
      "Deploy the stack (infra/README.md), and take `bucket` from errand init.",
    );
  }
}

/** That a claim is made once hangs on these. */
async function checkConditions({ store, token }: Patient): Promise<Outcome> {
  // Not where a daemon hears of it, and takes it away.
  const name = `doctor/${token}`;
  const etag = await store.put(name, "1", { condition: { ifAbsent: true } });
  try {
    const second = store.put(name, "2", { condition: { ifAbsent: true } });
    if (!(await isRefused(second))) {
      return fail("a second If-None-Match write was taken", "This endpoint is no S3: use AWS's.");
    }
    await store.put(name, "3", { condition: { ifEtag: etag } });
    const stale = store.put(name, "4", { condition: { ifEtag: etag } });
    if (!(await isRefused(stale))) {
      return fail("a stale If-Match write was taken", "This endpoint is no S3: use AWS's.");
    }
    return pass("If-None-Match and If-Match are kept");
  } finally {
    await store.remove(name);
  }
}

async function isRefused(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return false;
  } catch (error) {
    if (isCloudError(error, "conflict")) return true;
    throw error;
  }
}

async function checkInstallation({ store, config }: Patient): Promise<Outcome> {
  const found = await readInstallation(store);
  const wanted = config.installation;
  if (found === undefined) {
    const object = await store.find(key.errand);
    return object
      ? fail("errand.json is damaged, or of a newer version", "Run the version that wrote it.")
      : warn("the bucket is nobody's yet", "The first daemon makes it its own.");
  }
  if (wanted === undefined || wanted === found) return pass(found);
  return fail(
    `the bucket belongs to ${found}, and the configuration says ${wanted}`,
    `Deploy the stack with InstallationId=${found}, or take a bucket of its own.`,
  );
}

async function checkDaemon({ store }: Patient): Promise<Outcome> {
  const lease = await readLease(store);
  const cure =
    "Start one: errand daemon, or systemctl start errand. Machines end by themselves meanwhile.";
  if (!lease) return warn("no daemon plans", cure);
  const { host, pid, until } = lease;
  const name = `process ${pid} on ${host.split(" ")[0]}`;
  const lateMs = Date.now() - until;
  // By the holder's clock, which need not be ours.
  return lateMs > LEASE_MS
    ? warn(`${name} had the lease, and has not renewed it for ${formatDuration(lateMs)}`, cure)
    : pass(`${name} plans`);
}

/** So many of the machines that run are asked for their agents. */
const AGENTS_MAX = 3;

async function checkLiveLogs({ clients, cloud }: Patient): Promise<Outcome> {
  const running = (await cloud.listInstances()).filter(({ state }) => state === "running");
  const ids = running.slice(0, AGENTS_MAX).map(({ id }) => id);
  const findings = await inspectSessions(clients.ssm, ids);
  const bad = findings.filter(({ isGood }) => !isGood);
  const told = (bad.length > 0 ? bad : findings).map(({ what, why }) =>
    why ? `${what}: ${why}` : what,
  );
  const cure = "Logs come in chunks meanwhile, some seconds late.";
  return bad.length > 0 ? warn(told.join("; "), cure) : pass(told.join("; "));
}
