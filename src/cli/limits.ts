/** The ceilings that a bundle is held to before it is sent: the installation's own, not those that Errand comes with. */
import { loadConfig } from "../config.ts";
import type { Limits } from "../core/limits.ts";
import { readPublishedLimits } from "../daemon/installation.ts";
import { CloudError } from "../errors.ts";
import { REGION } from "../local/ec2-world.ts";
import { type Connection, type ConnectOptions, connect } from "./connect.ts";
import { findLocalCloud } from "./local-note.ts";

/** As the daemon has published them; those of the configuration where it has not, or where we may not read them. */
export async function readLimits({ store, config }: Connection): Promise<Limits> {
  const own = withRoles(config.limits, config.jobRoles);
  try {
    return (await readPublishedLimits(store)) ?? own;
  } catch (error) {
    if (!(error instanceof CloudError)) throw error;
    return own;
  }
}

/** For commands that ask no cloud: of a local one that runs all the same, else of the configuration. */
export async function readLimitsNearby(options: ConnectOptions): Promise<Limits> {
  if (options.local && (await findLocalCloud(options.data))) {
    return readLimits(await connect(options));
  }
  // Limits alone are read of it: where the bucket is does not matter here.
  const { limits, jobRoles } = await loadConfig(
    { region: REGION, bucket: "not-asked" },
    { path: options.config },
  );
  return withRoles(limits, jobRoles);
}

/** Where the configuration here lists none, the daemon's may. */
function withRoles(limits: Limits, jobRoles: Readonly<Record<string, string>>): Limits {
  const names = Object.keys(jobRoles);
  return names.length === 0 ? limits : { ...limits, jobRoles: names };
}
