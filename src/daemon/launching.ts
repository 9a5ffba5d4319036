/** One launch: sent, sent again, looked up, or refused for certain. */

import { type Launch, launchSchema } from "../core/launches.ts";
import { key } from "../core/layout.ts";
import { type Answer, orderKey } from "../core/observation.ts";
import { CloudError, isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Cloud, Store } from "../ports.ts";
import { voidOrder } from "./claims.ts";
import { readDocument } from "./documents.ts";

export type LaunchOptions = {
  readonly cloud: Cloud;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when EC2 had none of what a launch asked for. */
  readonly onRefusal: (launch: Launch, answer: Refused) => void;
};

type Refused = Extract<Answer, { type: "refused" }>;

/** Whether a saved record that can be read holds an order. */
export type IsRecorded = (order: string) => boolean;

/** EC2's definite answer. Throws CloudError while there is none: the same input is sent again later. */
export async function launch(
  token: string,
  isRecorded: IsRecorded,
  options: LaunchOptions,
): Promise<Answer> {
  const { cloud, store, clock, log } = options;
  const frozen = await readLaunch(store, token);
  // An order whose attempt no record holds would be worked on and never noticed. Where a record cannot be read, it may: then a
  // machine that has claimed it works on, and one that has not is lost to a record that waits for it, which plans another.
  for (const index of frozen.attempts.keys()) {
    if (!isRecorded(orderKey(token, index))) {
      await voidOrder(store, { token, index, at: clock.now() });
    }
  }
  const { instanceType, zone } = frozen.input;
  const fields = { token, instanceType, zone, count: frozen.attempts.length, sentAt: clock.now() };
  try {
    const instanceIds = await cloud.launch(frozen);
    log.info("instances launched", { ...fields, instanceIds });
    return { type: "launched", at: clock.now(), instanceIds };
  } catch (error) {
    if (!isCloudError(error)) throw error;
    if (error.kind === "already-launched") return lookUp(token, options, error);
    const refused = refusedBy(error, frozen, clock.now());
    if (!refused) throw error;
    log.warn("launch refused", { ...fields, kind: refused.kind, code: refused.code });
    if (!(await voidAll(frozen, options))) return lookUp(token, options, error);
    options.onRefusal(frozen, refused);
    return refused;
  }
}

/** Undefined where EC2 has said neither yes nor no. */
function refusedBy({ kind, code, message }: CloudError, frozen: Launch, at: number) {
  if (kind !== "no-capacity" && kind !== "quota" && kind !== "refused") return undefined;
  return { type: "refused", at, kind, code, message, size: frozen.attempts.length } as const;
}

/**
 * The token may have been used by an earlier call whose reply was lost: a refusal is of this call alone. With
 * every claim ours it is of all. False when a runner has claimed: there are instances after all.
 */
async function voidAll({ token, attempts }: Launch, options: LaunchOptions): Promise<boolean> {
  const { store, clock } = options;
  for (const index of attempts.keys()) {
    const holder = await voidOrder(store, { token, index, at: clock.now() });
    if (holder === "claimed") return false;
  }
  return true;
}

/** What was launched under a token before. Throws while EC2 does not list it. */
async function lookUp(token: string, options: LaunchOptions, cause: CloudError): Promise<Answer> {
  const instances = await options.cloud.listLaunched(token);
  if (instances.length === 0) {
    throw new CloudError("unavailable", `launch ${token} is not listed yet`, { cause });
  }
  const instanceIds: string[] = [];
  for (const instance of instances) instanceIds[instance.index] = instance.id;
  return { type: "launched", at: options.clock.now(), instanceIds };
}

async function readLaunch(store: Store, token: string): Promise<Launch> {
  const document = await readDocument(store, key.launch(token), launchSchema);
  if (document.type === "found") return document.content;
  throw new CloudError("not-found", `reading ${key.launch(token)}: it is ${document.type}`);
}
