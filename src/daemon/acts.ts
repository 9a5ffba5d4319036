/**
 * Doing what was decided, concurrently, while the next look is taken. Every act may be repeated; one
 * that is under way is not begun again. What the world answers is kept until a look has put it into
 * a record: a crash loses it, and the repeated act gets the same answer.
 */
import PQueue from "p-queue";
import { type Launch, launchSchema } from "../core/launches.ts";
import { key } from "../core/layout.ts";
import { type Answer, orderKey } from "../core/observation.ts";
import type { Effect } from "../core/step.ts";
import { CloudError, describeError, isCloudError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Clock, Cloud, Store } from "../ports.ts";
import { voidOrder } from "./claims.ts";

export type ActorOptions = {
  readonly cloud: Cloud;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** True while this daemon may launch. */
  readonly mayAct: () => boolean;
  /** Called after each act: there may be something new to see. */
  readonly onDone: () => void;
  /** Called with anything thrown that is not an answer of AWS. */
  readonly onBug: (error: unknown) => void;
  /** Called when EC2 had none of what a launch asked for. */
  readonly onRefusal: (launch: Launch, answer: Extract<Answer, { type: "refused" }>) => void;
};

export type Actor = {
  readonly answers: Map<string, Answer>;
  /** By `orderKey`. */
  readonly claims: Map<string, "voided" | "claimed">;
  /** Begins what is not under way. */
  readonly begin: (effects: readonly Effect[], isRecorded: IsRecorded) => void;
  readonly onIdle: () => Promise<void>;
};

/** Whether a saved record holds an order, or may hold it because it cannot be read. */
export type IsRecorded = (run: string, order: string) => boolean;

/** How many calls are made at once; EC2's own limits are below what this can send. */
const ACTS_AT_ONCE = 16;

export function createActor(options: ActorOptions): Actor {
  const queue = new PQueue({ concurrency: ACTS_AT_ONCE });
  const underWay = new Set<string>();
  /** Stop objects written by this process: the runner reads them, nobody removes them. */
  const stopped = new Set<string>();
  /** Instances this process has asked EC2 to terminate; it goes on asking until they are gone. */
  const terminated = new Set<string>();
  const answers = new Map<string, Answer>();
  const claims = new Map<string, "voided" | "claimed">();
  const { store, clock } = options;

  async function perform(effect: Effect, isRecorded: IsRecorded): Promise<void> {
    switch (effect.type) {
      case "launch": {
        const answer = await launch(effect.token, isRecorded, options);
        if (answer) answers.set(effect.token, answer);
        return;
      }
      case "void": {
        const claim = await voidOrder(store, { ...effect, at: clock.now() });
        claims.set(orderKey(effect.token, effect.index), claim);
        options.log.info("order voided", { token: effect.token, index: effect.index, claim });
        return;
      }
      case "stop": {
        const { token, index, reason } = effect;
        const place = orderKey(token, index);
        if (stopped.has(place)) return;
        const body = JSON.stringify({ format: 1, reason, at: clock.now() });
        await store.put(key.stop(token, index), body);
        stopped.add(place);
        options.log.info("job asked to stop", { token, index, reason });
        return;
      }
      case "terminate": {
        const { instanceId } = effect;
        const sentAt = clock.now();
        await options.cloud.terminate([instanceId]);
        if (!terminated.has(instanceId)) {
          options.log.info("instance terminated", { instanceId, sentAt });
        }
        terminated.add(instanceId);
      }
    }
  }

  async function attempt(name: string, effect: Effect, isRecorded: IsRecorded): Promise<void> {
    try {
      if (options.mayAct()) await perform(effect, isRecorded);
    } catch (error) {
      // What has not been done is decided again by the next look.
      if (isCloudError(error)) {
        options.log.warn("act put off", { act: name, error: describeError(error) });
      } else {
        options.onBug(error);
      }
    } finally {
      underWay.delete(name);
      options.onDone();
    }
  }

  function begin(effects: readonly Effect[], isRecorded: IsRecorded): void {
    for (const effect of effects) {
      const name = nameOf(effect);
      if (underWay.has(name)) continue;
      underWay.add(name);
      void queue.add(() => attempt(name, effect, isRecorded));
    }
  }

  return { answers, claims, begin, onIdle: () => queue.onIdle() };
}

const nameOf = (effect: Effect): string =>
  effect.type === "terminate"
    ? `terminate ${effect.instanceId}`
    : `${effect.type} ${"index" in effect ? orderKey(effect.token, effect.index) : effect.token}`;

/** Undefined where EC2 gave no definite answer: the next look asks again, with the same input. */
async function launch(
  token: string,
  isRecorded: IsRecorded,
  options: ActorOptions,
): Promise<Answer | undefined> {
  const { cloud, store, clock, log } = options;
  const frozen = await readLaunch(store, token);
  // An order whose attempt no record holds would be worked on and never noticed.
  for (const [index, { run }] of frozen.attempts.entries()) {
    if (!isRecorded(run, orderKey(token, index))) {
      await voidOrder(store, { token, index, at: clock.now() });
    }
  }
  const { instanceType, zone } = frozen.input;
  const fields = { token, instanceType, zone, count: frozen.attempts.length };
  const sentAt = clock.now();
  try {
    const instanceIds = await cloud.launch(frozen);
    log.info("instances launched", { ...fields, instanceIds, sentAt });
    return { type: "launched", at: clock.now(), instanceIds };
  } catch (error) {
    if (!(error instanceof CloudError)) throw error;
    switch (error.kind) {
      case "already-launched":
        return alreadyLaunched(token, options);
      case "no-capacity":
      case "quota":
      case "refused": {
        const answer = {
          type: "refused",
          at: clock.now(),
          kind: error.kind,
          code: error.code,
          message: error.message,
          size: frozen.attempts.length,
        } as const;
        log.warn("launch refused", { ...fields, kind: error.kind, code: error.code });
        options.onRefusal(frozen, answer);
        return answer;
      }
      default:
        throw error;
    }
  }
}

async function alreadyLaunched(token: string, options: ActorOptions): Promise<Answer | undefined> {
  const instances = await options.cloud.listLaunched(token);
  if (instances.length === 0) return undefined;
  const instanceIds: string[] = [];
  for (const instance of instances) instanceIds[instance.index] = instance.id;
  return { type: "launched", at: options.clock.now(), instanceIds };
}

async function readLaunch(store: Store, token: string): Promise<Launch> {
  const object = await store.find(key.launch(token));
  if (!object) throw new CloudError("not-found", `reading ${key.launch(token)}: it is gone`);
  return launchSchema.parse(JSON.parse(new TextDecoder().decode(object.body)));
}
