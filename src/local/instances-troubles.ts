/**
 * What rules of faults have in store for an instance. It is decided when the instance is launched (or, by a rule that names a
 * living instance, when the rule comes), is durable with the instance, and happens at its time unless its rule is gone by then.
 */
import { INSTANCE_FAULTS, type InstanceFault, matchesFields, type RuleOf } from "./fault-rules.ts";
import type { ActiveRule, Faults } from "./faults.ts";
import {
  type InstanceStore,
  listInstances,
  type Placed,
  type Reservation,
  type Trouble,
} from "./instances-store.ts";

export type TroublesOptions = {
  readonly faults: Faults | undefined;
  readonly store: InstanceStore;
  readonly bootMs: number;
  /** Does what the trouble says to an instance that runs. */
  readonly act: (instanceId: string, trouble: Trouble) => Promise<void>;
  readonly onError: (instanceId: string, error: unknown) => void;
  readonly now: () => number;
};

export type Troubles = {
  /** The same reservation with all that its instances are to meet. */
  plan(reservation: Reservation): Reservation;
  /** For rules of these ids that name an instance: it may live already. */
  planLiving(ruleIds: readonly string[]): Promise<void>;
  /** What is still to happen to an instance happens at its time. */
  schedule(instanceId: string): void;
  /** One that is met while the instance boots. */
  find(placed: Placed, fault: "launch-fails" | "silent-boot"): Trouble | undefined;
  happened(instanceId: string, trouble: Trouble): Promise<void>;
  isCutOff(instanceId: string): boolean;
  stop(): void;
};

/** Between looks whether an instance that is late to run does so now. */
const PENDING_MS = 25;

export function createTroubles(options: TroublesOptions): Troubles {
  const { faults, store, now } = options;
  const timers = new Set<NodeJS.Timeout>();

  const isLive = (trouble: Trouble): boolean => faults?.has(trouble.rule) === true;

  async function happened(id: string, { rule, fault }: Trouble): Promise<void> {
    faults?.happened(rule);
    await store.change(id, (instance) => ({
      ...instance,
      troubles: instance.troubles?.map((each) =>
        each.rule === rule && each.fault === fault ? { ...each, hasHappened: true } : each,
      ),
    }));
  }

  async function meet(id: string, trouble: Trouble): Promise<void> {
    const state = store.find(id)?.instance.state;
    if (!isLive(trouble)) return;
    if (state === "pending") return later(id, trouble, PENDING_MS);
    if (state !== "running") return;
    await options.act(id, trouble);
    await happened(id, trouble);
  }

  function later(id: string, trouble: Trouble, ms: number): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      meet(id, trouble).catch((error) => options.onError(id, error));
    }, ms);
    timers.add(timer.unref());
  }

  return {
    plan: (reservation) => {
      if (!faults?.hasAny(INSTANCE_FAULTS)) return reservation;
      const runsAt = reservation.launchedAt + options.bootMs;
      const instances = reservation.instances.map((instance) => ({
        ...instance,
        troubles: [...choose(faults, { reservation, instance }, runsAt)],
      }));
      return { ...reservation, instances };
    },
    planLiving: async (ruleIds) => {
      if (!faults) return;
      const isNew = ({ id, match }: NamedRule): boolean =>
        ruleIds.includes(id) && match.instanceId !== undefined;
      for (const placed of listInstances(store).filter(isLiving)) {
        const { id } = placed.instance;
        const chosen = [...choose(faults, placed, now(), isNew)];
        await store.change(id, (instance) => ({
          ...instance,
          troubles: [...(instance.troubles ?? []), ...chosen],
        }));
        for (const trouble of chosen) later(id, trouble, Math.max(0, trouble.at - now()));
      }
    },
    schedule: (id) => {
      for (const trouble of store.find(id)?.instance.troubles ?? []) {
        if (trouble.hasHappened || isOfBoot(trouble)) continue;
        later(id, trouble, Math.max(0, trouble.at - now()));
      }
    },
    find: ({ instance }, fault) =>
      instance.troubles?.find((each) => each.fault === fault && (each.hasHappened || isLive(each))),
    happened,
    isCutOff: (id) =>
      store
        .find(id)
        ?.instance.troubles?.some(
          (each) =>
            each.fault === "network-loss" &&
            isLive(each) &&
            each.at <= now() &&
            now() < (each.until ?? Number.POSITIVE_INFINITY),
        ) ?? false,
    stop: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

type InstanceRule = RuleOf<InstanceFault>;
type NamedRule = InstanceRule & Pick<ActiveRule, "id">;

const isOfBoot = ({ fault }: Trouble): boolean =>
  fault === "launch-fails" || fault === "silent-boot";

const isLiving = ({ instance }: Placed): boolean =>
  instance.state === "pending" || instance.state === "running";

/** At most one of each fault. `from` is when the instance runs, or when the rule came. */
function* choose(
  faults: Faults,
  placed: Placed,
  from: number,
  mayApply: (rule: NamedRule) => boolean = () => true,
): Iterable<Trouble> {
  const fields = instanceFields(placed);
  for (const fault of INSTANCE_FAULTS) {
    const isMatch = (rule: InstanceRule): boolean =>
      mayApply(rule as NamedRule) && matchesFields(rule.match, fields);
    const rule = faults.fire(fault, isMatch, true);
    if (rule) yield toTrouble(rule, from);
  }
}

function toTrouble(rule: NamedRule, from: number): Trouble {
  const at = from + ("afterMs" in rule ? rule.afterMs : 0);
  return {
    rule: rule.id,
    fault: rule.fault,
    at,
    hasHappened: false,
    ...("reason" in rule && { reason: rule.reason }),
    ...("forMs" in rule && rule.forMs !== undefined && { until: at + rule.forMs }),
  };
}

/** What a rule's `match` may name of an instance. */
const instanceFields = ({ reservation, instance }: Placed) => ({
  type: reservation.instanceType,
  zone: reservation.zone,
  imageId: reservation.imageId,
  clientToken: reservation.clientToken,
  index: String(instance.index),
  instanceId: instance.id,
  ...Object.fromEntries(Object.entries(instance.tags).map(([key, value]) => [`tag:${key}`, value])),
});
