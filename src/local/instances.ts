/**
 * The life of instances: pending, running, shutting-down, terminated (or stopping, stopped), with the machine that belongs to it.
 *
 * What is said of an instance is durable before it is done and before it is answered. A start of the cloud therefore finds,
 * in each state, one thing to go on with:
 * - pending: it is booted; if its machine had begun already, it is only taken over.
 * - running: it is taken over. A machine whose user-data has ended and that has no process left goes on running and costing,
 *   as on EC2, where the system runs whether or not user-data does; only powering off ends it. If the marker says that it powered
 *   off while no cloud was there, it is terminated as Client.InstanceInitiatedShutdown. If the host has booted since, its
 *   machine is gone for a reason that is not its own: Server.InternalError.
 * - shutting-down, stopping: its processes are ended, then it is terminated or stopped.
 *
 * A clean stop takes the machines along: nothing may be left running on the user's host, and an instance that nobody could ask
 * about, bill or terminate would be one. They are Server.InternalError, so that whoever rented them tries again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Faults } from "./faults.ts";
import { ApiError } from "./http.ts";
import { type Boots, createBoots } from "./instances-boots.ts";
import {
  ITSELF,
  isEnding,
  machineOf,
  mayEnd,
  type Reason,
  type StateKeeper,
  serverReason,
  setState,
  userReason,
} from "./instances-states.ts";
import {
  type Instance,
  listInstances,
  type Placed,
  type Reservation,
  type Trouble,
} from "./instances-store.ts";
import { createTroubles } from "./instances-troubles.ts";
import type { Machines } from "./machines.ts";
import { readBootId } from "./machines-processes.ts";

export type Log = (message: string, fields?: Readonly<Record<string, unknown>>) => void;

export type InstancesOptions = StateKeeper & {
  readonly machines: Machines;
  /** From RunInstances to running, milliseconds. */
  readonly bootMs: number;
  /** Where the metadata service of an instance is. */
  readonly metadataEndpoint: (instance: Instance) => string;
  readonly faults?: Faults | undefined;
  readonly now: () => number;
  readonly log: Log;
};

export type Instances = {
  /** Durable when it resolves; the machines boot by themselves. */
  launch(reservation: Reservation): Promise<void>;
  /** Durable when it resolves; the machine ends by itself. Nothing happens to one that is ending already. */
  terminate(instanceId: string): Promise<void>;
  /** From inside: terminated or stopped, as its launch said. */
  powerOff(instanceId: string): Promise<void>;
  /** Its processes are killed, and it boots from its disk again. Nothing happens to one that does not run. */
  reboot(instanceId: string): void;
  /** Rules of faults that have just been added may be about instances that live. */
  planTroubles(ruleIds: readonly string[]): Promise<void>;
  /** A rule of faults says that it has no network now. */
  isCutOff(instanceId: string): boolean;
  /** Ends every machine, and resolves when no process is left, or after some 15 s. */
  stop(): Promise<void>;
};

/** How long a terminated instance is still listed. */
const REMEMBERED_MS = 60 * 60_000;
const WATCH_MS = 500;
/** Between tries to end an instance: the disk was full, or the kernel does not let a process go. */
const RETRY_MS = 1_000;

/** Goes on with what the store holds. */
export async function startInstances(options: InstancesOptions): Promise<Instances> {
  const { store } = options;
  const bootId = await readBootId();
  const troubles = createTroubles({
    faults: options.faults,
    store,
    bootMs: options.bootMs,
    act: (id, trouble) => commit(id, trouble, options, { boots, endings }),
    onError: (instanceId, error) => options.log("fault not committed", { instanceId, error }),
    now: options.now,
  });
  const onFailure = (id: string, reason?: string): void => {
    const why = serverReason("Internal error on launch", reason);
    void endings.begin(id, why, "terminate");
  };
  const boots = createBoots({ ...options, troubles, bootId, onFailure });
  const endings = createEndings(options, boots);

  const powerOff = async (id: string): Promise<void> => {
    const placed = store.find(id);
    if (placed?.instance.state !== "running") return;
    await endings.begin(id, ITSELF, placed.reservation.shutdownBehavior);
  };

  async function resume(placed: Placed): Promise<void> {
    const { id, state, bootId: bootedIn } = placed.instance;
    if (isEnding(placed)) return endings.finish(id);
    if (state === "pending") return boots.schedule(placed);
    if (state !== "running") return;
    if (await options.machines.hasPoweredOff(id)) return await powerOff(id);
    if (bootedIn === bootId) return boots.schedule(placed);
    await endings.begin(id, serverReason("the host was restarted"), "terminate");
  }

  for (const placed of listInstances(store)) {
    await resume(placed);
    troubles.schedule(placed.instance.id);
  }
  const stopWatching = repeat(
    () => watch(options, { powerOff, reboot: boots.reboot }),
    (error) => options.log("instances not watched", { error }),
  );
  let isStopping = false;
  return {
    launch: async (wanted) => {
      if (isStopping) throw new ApiError(503, "Unavailable", "the local cloud is stopping");
      const reservation = troubles.plan(wanted);
      await store.add(reservation);
      for (const instance of reservation.instances) {
        await options.onState(instance);
        boots.schedule({ reservation, instance });
        troubles.schedule(instance.id);
      }
    },
    terminate: (id) => endings.begin(id, userReason(options.now()), "terminate"),
    powerOff,
    reboot: boots.reboot,
    planTroubles: troubles.planLiving,
    isCutOff: troubles.isCutOff,
    stop: async () => {
      isStopping = true;
      troubles.stop();
      await stopWatching();
      const reason = serverReason("the local cloud was stopped");
      const living = listInstances(store).filter(({ instance }) => instance.state !== "stopped");
      const ids = living.map(({ instance }) => instance.id);
      await Promise.all(ids.map((id) => endings.begin(id, reason, "terminate")));
      await endings.settle();
    },
  };
}

/** What a rule of faults has in store for an instance that runs. A lost network is seen to by `isCutOff`. */
async function commit(
  id: string,
  { fault, reason }: Trouble,
  { store, machines, log }: InstancesOptions,
  { boots, endings }: { readonly boots: Boots; readonly endings: Endings },
): Promise<void> {
  log("fault committed", { instanceId: id, fault });
  const instance = store.find(id)?.instance;
  if (fault === "instance-hangs" && instance) await machines.freeze(machineOf(instance));
  if (fault === "instance-reboots") boots.reboot(id);
  if (fault !== "instance-dies") return;
  await endings.begin(id, serverReason("the instance failed", reason), "terminate");
}

type Endings = {
  /** The new state is set before this returns; the promise says that it is durable. */
  begin(instanceId: string, reason: Reason, behavior: "stop" | "terminate"): Promise<void>;
  /** Ends the machine of an instance whose state says that it ends. */
  finish(instanceId: string): void;
  /** Resolves when no ending is under way; what has not ended then is not tried again. */
  settle(): Promise<void>;
};

function createEndings(options: InstancesOptions, boots: Boots): Endings {
  const { store, machines } = options;
  const underWay = new Map<string, Promise<void>>();
  const settling = new AbortController();

  async function endMachine(id: string): Promise<void> {
    // A boot that has begun would otherwise start processes after the last look for them.
    await boots.settle(id);
    const instance = store.find(id)?.instance;
    if (instance === undefined) return;
    const left = await machines.end(machineOf(instance));
    if (left > 0) throw new Error(`${left} processes do not end`);
    if (store.find(id)?.instance.state === "stopping") {
      return await setState(options, id, "stopped");
    }
    await machines
      .discardDisk(id)
      .catch((error) => options.log("disk not removed", { instanceId: id, error }));
    await setState(options, id, "terminated", { terminatedAt: options.now() });
  }

  /** Until it has ended: one that stops may be told to terminate meanwhile. */
  async function endFully(id: string, isSaid: Promise<void>): Promise<void> {
    // Whoever asked is told when this could not be made durable; the machine ends all the same.
    await isSaid.catch(() => {});
    while (isEnding(store.find(id))) {
      try {
        await endMachine(id);
      } catch (error) {
        options.log("instance not ended", { instanceId: id, error });
        if (settling.signal.aborted) break;
        await sleep(RETRY_MS, undefined, { signal: settling.signal }).catch(() => {});
      }
    }
    underWay.delete(id);
  }

  function finish(id: string, isSaid = Promise.resolve()): void {
    if (!underWay.has(id)) underWay.set(id, endFully(id, isSaid));
  }

  return {
    begin: (id, reason, behavior) => {
      const state = store.find(id)?.instance.state;
      if (state === undefined || !mayEnd(state, behavior)) return Promise.resolve();
      boots.cancel(id);
      const next = behavior === "stop" ? "stopping" : "shutting-down";
      const changed = setState(options, id, next, { reason });
      finish(id, changed);
      return changed;
    },
    finish: (id) => finish(id),
    settle: async () => {
      settling.abort();
      await Promise.all(underWay.values());
    },
  };
}

/** One turn of what is looked after without being asked. */
async function watch(
  { store, machines, now }: InstancesOptions,
  {
    powerOff,
    reboot,
  }: {
    readonly powerOff: (instanceId: string) => Promise<void>;
    readonly reboot: (instanceId: string) => void;
  },
): Promise<void> {
  const running = listInstances(store).filter(({ instance }) => instance.state === "running");
  for (const { id } of running.map(({ instance }) => instance)) {
    // The machine tells the cloud by a call, too; this is for a call that was lost.
    if (await machines.hasPoweredOff(id)) await powerOff(id);
    else if (await machines.wantsReboot(id)) reboot(id);
    else await machines.trimConsole(id);
  }
  for (const { id, instances } of store.list()) {
    if (!instances.every((instance) => isForgotten(instance, now()))) continue;
    for (const instance of instances) await machines.discard(instance.id);
    await store.remove(id);
  }
}

/** Terminated more than an hour ago: no operation knows it any more. */
export const isForgotten = ({ terminatedAt }: Instance, now: number): boolean =>
  terminatedAt !== undefined && now - terminatedAt > REMEMBERED_MS;

/** One turn after the other. The returned function waits for the turn that is under way. */
function repeat(turn: () => Promise<void>, onError: (error: unknown) => void): () => Promise<void> {
  let [isStopped, timer, running] = [
    false,
    undefined as NodeJS.Timeout | undefined,
    Promise.resolve(),
  ];
  const schedule = (): void => {
    if (isStopped) return;
    timer = setTimeout(() => {
      running = turn().catch(onError).finally(schedule);
    }, WATCH_MS);
    timer.unref();
  };
  schedule();
  return async () => {
    isStopped = true;
    clearTimeout(timer);
    await running;
  };
}
