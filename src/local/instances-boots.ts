/** Boots of instances: from pending to running, and again. */
import { machineOf, type StateKeeper, setState } from "./instances-states.ts";
import type { Instance, Placed } from "./instances-store.ts";
import type { Troubles } from "./instances-troubles.ts";
import type { BootOptions, Machines } from "./machines.ts";

export type BootsOptions = StateKeeper & {
  readonly machines: Machines;
  readonly troubles: Troubles;
  /** From RunInstances to running, milliseconds. */
  readonly bootMs: number;
  /** Of the host. */
  readonly bootId: string;
  readonly metadataEndpoint: (instance: Instance) => string;
  /** It is to be ended, for EC2's reason of this code. */
  readonly onFailure: (instanceId: string, reason?: string) => void;
  readonly now: () => number;
  readonly log: (message: string, fields?: Readonly<Record<string, unknown>>) => void;
};

export type Boots = {
  schedule(placed: Placed): void;
  /** Of one that runs: killed, and booted again without its user-data. */
  reboot(instanceId: string): void;
  /** A boot that has not begun never will. */
  cancel(instanceId: string): void;
  /** Resolves when no boot of the instance is under way. */
  settle(instanceId: string): Promise<void>;
};

export function createBoots(options: BootsOptions): Boots {
  const { store, machines, troubles, bootId, onFailure } = options;
  const timers = new Map<string, NodeJS.Timeout>();
  const underWay = new Map<string, Promise<void>>();

  async function run(pending: Placed): Promise<void> {
    const { id } = pending.instance;
    const failure = troubles.find(pending, "launch-fails");
    if (!failure) return await setState(options, id, "running", { bootId });
    onFailure(id, failure.reason);
    await troubles.happened(id, failure);
  }

  /** While it is pending, as hardware is made ready on EC2: what is in store for it may be that it never boots. */
  async function prepare(id: string): Promise<void> {
    const placed = store.find(id);
    if (placed?.instance.state !== "pending") return;
    if (troubles.find(placed, "launch-fails") || troubles.find(placed, "silent-boot")) return;
    await machines.prepare(machineOf(placed.instance), bootOptions(placed));
  }

  async function boot(id: string): Promise<void> {
    const pending = store.find(id);
    if (pending?.instance.state === "pending") await run(pending);
    const placed = store.find(id);
    if (placed?.instance.state !== "running") return;
    if (await machines.hasStarted(id))
      return options.log("instance taken over", { instanceId: id });
    const silence = troubles.find(placed, "silent-boot");
    if (!silence) return await machines.boot(machineOf(placed.instance), bootOptions(placed));
    if (!silence.hasHappened) await troubles.happened(id, silence);
  }

  const bootOptions = ({ reservation, instance }: Placed): BootOptions => ({
    userData: Buffer.from(reservation.userData, "base64"),
    metadataEndpoint: options.metadataEndpoint(instance),
  });

  async function reboot(id: string): Promise<void> {
    const placed = store.find(id);
    if (placed?.instance.state !== "running") return;
    const isWanted = (): boolean => store.find(id)?.instance.state === "running";
    await machines.reboot(machineOf(placed.instance), bootOptions(placed), isWanted);
  }

  function begin(id: string, work = boot): void {
    timers.delete(id);
    const before = underWay.get(id) ?? Promise.resolve();
    const done = before
      .then(() => work(id))
      .catch((error) => {
        options.log("instance not booted", { instanceId: id, error });
        onFailure(id);
      })
      .finally(() => {
        if (underWay.get(id) === done) underWay.delete(id);
      });
    underWay.set(id, done);
  }

  return {
    schedule: ({ reservation, instance }) => {
      if (instance.state === "pending") begin(instance.id, prepare);
      const waitMs = Math.max(0, reservation.launchedAt + options.bootMs - options.now());
      timers.set(instance.id, setTimeout(begin, waitMs, instance.id));
    },
    reboot: (id) => begin(id, reboot),
    cancel: (id) => {
      clearTimeout(timers.get(id));
      timers.delete(id);
    },
    settle: async (id) => await underWay.get(id),
  };
}
