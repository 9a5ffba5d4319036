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
  try {
    return (await readPublishedLimits(store)) ?? config.limits;
  } catch (error) {
    if (!(error instanceof CloudError)) throw error;
    return config.limits;
  }
}

/** For commands that ask no cloud: of a local one that runs all the same, else of the configuration. */
export async function readLimitsNearby(options: ConnectOptions): Promise<Limits> {
  if (options.local && (await findLocalCloud(options.data))) {
    return readLimits(await connect(options));
  }
  // Limits alone are read of it: where the bucket is does not matter here.
  const { limits } = await loadConfig(
    { region: REGION, bucket: "not-asked" },
    { path: options.config },
  );
  return limits;
}
