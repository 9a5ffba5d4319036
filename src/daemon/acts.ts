/**
 * Doing what was decided, concurrently, while the next look is taken. Every act may be repeated; one
 * that is under way is not begun again. What the world answers is kept until a look has put it into
 * a record. A crash loses it, and the repeated act finds out anew.
 */
import PQueue from "p-queue";
import { key } from "../core/layout.ts";
import { type Answer, type KeptConsole, orderKey } from "../core/observation.ts";
import type { Effect } from "../core/step.ts";
import { type CloudError, describeError, isCloudError } from "../errors.ts";
import { voidOrder } from "./claims.ts";
import { type IsRecorded, type LaunchOptions, launch } from "./launching.ts";
import type { Meter } from "./meter.ts";

export type ActorOptions = LaunchOptions & {
  /** True while this daemon may launch. */
  readonly mayAct: () => boolean;
  readonly meter: Pick<Meter, "launched">;
  /** Called when there is something new to decide about. */
  readonly onNews: () => void;
  /** Called with anything thrown that is not an answer of AWS. */
  readonly onBug: (error: unknown) => void;
};

export type Actor = {
  readonly answers: Map<string, Answer>;
  /** By `orderKey`. */
  readonly claims: Map<string, "voided" | "claimed">;
  /** By `orderKey`. */
  readonly consoles: Map<string, KeptConsole>;
  /** Begins what is neither under way nor resting. */
  readonly begin: (effects: readonly Effect[], isRecorded: IsRecorded) => void;
  /** Another daemon has planned meanwhile: what was answered before that counts no more. */
  readonly forget: () => void;
  readonly onIdle: () => Promise<void>;
};

/** How many calls are made at once; EC2's own limits are below what this can send. */
const ACTS_AT_ONCE = 16;
/** EC2 takes its time to end an instance; asking again sooner only costs calls. */
const TERMINATE_REST_MS = 10_000;
const CONSOLE_REST_MS = 10_000;
/** After a failure, doubled each time. */
const FAILURE_REST_MS = 2_000;
const FAILURE_REST_MS_MAX = 60_000;

export function createActor(options: ActorOptions): Actor {
  const { clock, log } = options;
  const queue = new PQueue({ concurrency: ACTS_AT_ONCE });
  const underWay = new Set<string>();
  const rests = new Map<string, Rest>();
  const answers = new Map<string, Answer>();
  const claims = new Map<string, "voided" | "claimed">();
  const consoles = new Map<string, KeptConsole>();

  async function attempt(name: string, effect: Effect, isRecorded: IsRecorded): Promise<void> {
    try {
      if (options.mayAct()) keep(name, await perform(effect, isRecorded, options));
    } catch (error) {
      if (isCloudError(error)) putOff(name, error);
      else options.onBug(error);
    } finally {
      underWay.delete(name);
    }
  }

  function keep(name: string, { restMs, answer, claim, console }: Done): void {
    rests.set(name, { until: clock.now() + restMs, failures: 0 });
    if (answer) {
      answers.set(answer.token, answer.answer);
      countLaunch(answer.answer);
    }
    if (claim) claims.set(claim.order, claim.holder);
    if (console) consoles.set(console.order, console.kept);
    if (answer || claim || console) options.onNews();
  }

  function countLaunch(answer: Answer): void {
    if (answer.type === "launched") options.meter.launched("launched", answer.instanceIds.length);
    else options.meter.launched(answer.kind, answer.size);
  }

  /** What has not been done is decided again by a later look. */
  function putOff(name: string, error: CloudError): void {
    const failures = (rests.get(name)?.failures ?? 0) + 1;
    const restMs = Math.min(FAILURE_REST_MS * 2 ** (failures - 1), FAILURE_REST_MS_MAX);
    rests.set(name, { until: clock.now() + restMs, failures });
    log.warn("act put off", { act: name, error: describeError(error), restMs });
  }

  function mayBegin(name: string, effect: Effect): boolean {
    if (underWay.has(name)) return false;
    // Answered between the look and now: that answer is decided about first.
    if (effect.type === "launch" && answers.has(effect.token)) return false;
    if (effect.type === "console" && consoles.has(orderKey(effect.token, effect.index)))
      return false;
    return (rests.get(name)?.until ?? 0) <= clock.now();
  }

  return {
    answers,
    claims,
    consoles,
    begin: (effects, isRecorded) => {
      const wanted = new Map(effects.map((effect) => [nameOf(effect), effect]));
      for (const name of rests.keys()) {
        // An act that is wanted no more is done, or given up.
        if (!wanted.has(name) && !underWay.has(name)) rests.delete(name);
      }
      for (const [name, effect] of wanted) {
        if (!mayBegin(name, effect)) continue;
        underWay.add(name);
        void queue.add(() => attempt(name, effect, isRecorded));
      }
    },
    forget: () => {
      answers.clear();
      claims.clear();
      consoles.clear();
    },
    onIdle: () => queue.onIdle(),
  };
}

type Rest = { readonly until: number; readonly failures: number };

function nameOf(effect: Effect): string {
  if (effect.type === "terminate") return `terminate ${effect.instanceId}`;
  return `${effect.type} ${"index" in effect ? orderKey(effect.token, effect.index) : effect.token}`;
}

type Done = {
  /** How long the same act is not wanted again. */
  readonly restMs: number;
  readonly answer?: { readonly token: string; readonly answer: Answer };
  readonly console?: { readonly order: string; readonly kept: KeptConsole };
  readonly claim?: { readonly order: string; readonly holder: "voided" | "claimed" };
};

async function perform(
  effect: Effect,
  isRecorded: IsRecorded,
  options: ActorOptions,
): Promise<Done> {
  const { cloud, store, clock, log } = options;
  const at = clock.now();
  switch (effect.type) {
    case "launch": {
      const answer = await launch(effect.token, isRecorded, options);
      return { restMs: 0, answer: { token: effect.token, answer } };
    }
    case "void": {
      const { token, index } = effect;
      const holder = await voidOrder(store, { token, index, at });
      log.info("order voided", { token, index, holder });
      return { restMs: 0, claim: { order: orderKey(token, index), holder } };
    }
    case "stop": {
      const { token, index, reason } = effect;
      await store.put(key.stop(token, index), JSON.stringify({ format: 1, reason, at }));
      log.info("job asked to stop", { token, index, reason });
      // The runner reads it, nobody removes it.
      return { restMs: Number.POSITIVE_INFINITY };
    }
    case "console":
      return keepConsole(effect, options);
    case "terminate": {
      const { instanceId } = effect;
      await cloud.terminate([instanceId]);
      log.info("instance terminated", { instanceId, sentAt: at });
      return { restMs: TERMINATE_REST_MS };
    }
  }
}

/** Empty at first, most likely: EC2 has the last words some time after they were said. */
async function keepConsole(
  { token, index, instanceId, key: place, until }: Extract<Effect, { type: "console" }>,
  { cloud, store, clock, log }: ActorOptions,
): Promise<Done> {
  const at = clock.now();
  let text = "";
  try {
    text = await cloud.readConsole(instanceId);
  } catch (error) {
    // It explains; nothing depends on it.
    if (isCloudError(error, "unavailable") && at < until) throw error;
    log.warn("console not read", { instanceId, error: describeError(error) });
    return { restMs: 0, console: { order: orderKey(token, index), kept: { at, bytes: 0 } } };
  }
  if (text === "" && at < until) return { restMs: CONSOLE_REST_MS };
  const body = new TextEncoder().encode(text);
  if (text !== "") await store.put(place, body, { contentType: "text/plain; charset=utf-8" });
  log.info("console kept", { instanceId, key: place, bytes: body.length });
  return {
    restMs: 0,
    console: { order: orderKey(token, index), kept: { at, bytes: body.length } },
  };
}
