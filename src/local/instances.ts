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
import { ApiError } from "./http.ts";
import type {
  Instance,
  InstanceState,
  InstanceStore,
  Placed,
  Reservation,
} from "./instances-store.ts";
import type { Machines } from "./machines.ts";
import { readBootId } from "./machines-processes.ts";

export type Log = (message: string, fields?: Readonly<Record<string, unknown>>) => void;

export type InstancesOptions = {
  readonly store: InstanceStore;
  readonly machines: Machines;
  /** From RunInstances to running, milliseconds. */
  readonly bootMs: number;
  /** Where the metadata service of an instance is. */
  readonly metadataEndpoint: (instance: Instance) => string;
  /** Told of every state once it is durable. */
  readonly onState: (instance: Instance) => Promise<void>;
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
  /** Ends every machine, and resolves when no process is left, or after some 15 s. */
  stop(): Promise<void>;
};

/** How long a terminated instance is still listed. */
const REMEMBERED_MS = 60 * 60_000;
const WATCH_MS = 500;
/** Between tries to end an instance: the disk was full, or the kernel does not let a process go. */
const RETRY_MS = 1_000;

type Reason = NonNullable<Instance["reason"]>;

const ITSELF: Reason = {
  code: "Client.InstanceInitiatedShutdown",
  message: "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
  transition: "",
};

const serverReason = (message: string): Reason => ({
  code: "Server.InternalError",
  message: `Server.InternalError: ${message}`,
  transition: "Server.InternalError",
});

const userReason = (at: number): Reason => ({
  code: "Client.UserInitiatedShutdown",
  message: "Client.UserInitiatedShutdown: User initiated shutdown",
  transition: `User initiated (${new Date(at).toISOString().slice(0, 19).replace("T", " ")} GMT)`,
});

/** Goes on with what the store holds. */
export async function startInstances(options: InstancesOptions): Promise<Instances> {
  const { store } = options;
  const bootId = await readBootId();
  const boots = createBoots(options, bootId, (id) => {
    void endings.begin(id, serverReason("Internal error on launch"), "terminate");
  });
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

  for (const placed of listInstances(store)) await resume(placed);
  const stopWatching = repeat(
    () => watch(options, powerOff),
    (error) => options.log("instances not watched", { error }),
  );
  let isStopping = false;
  return {
    launch: async (reservation) => {
      if (isStopping) throw new ApiError(503, "Unavailable", "the local cloud is stopping");
      await store.add(reservation);
      for (const instance of reservation.instances) {
        await options.onState(instance);
        boots.schedule({ reservation, instance });
      }
    },
    terminate: (id) => endings.begin(id, userReason(options.now()), "terminate"),
    powerOff,
    stop: async () => {
      isStopping = true;
      await stopWatching();
      const reason = serverReason("the local cloud was stopped");
      const living = listInstances(store).filter(({ instance }) => instance.state !== "stopped");
      const ids = living.map(({ instance }) => instance.id);
      await Promise.all(ids.map((id) => endings.begin(id, reason, "terminate")));
      await endings.settle();
    },
  };
}

type Boots = {
  schedule(placed: Placed): void;
  /** A boot that has not begun never will. */
  cancel(instanceId: string): void;
  /** Resolves when no boot of the instance is under way. */
  settle(instanceId: string): Promise<void>;
};

function createBoots(
  { store, machines, ...options }: InstancesOptions,
  bootId: string,
  onFailure: (instanceId: string) => void,
): Boots {
  const timers = new Map<string, NodeJS.Timeout>();
  const underWay = new Map<string, Promise<void>>();

  async function boot(id: string): Promise<void> {
    if (store.find(id)?.instance.state === "pending") {
      await setState({ store, ...options }, id, "running", { bootId });
    }
    const placed = store.find(id);
    if (placed?.instance.state !== "running") return;
    if (await machines.hasStarted(id))
      return options.log("instance taken over", { instanceId: id });
    const { reservation, instance } = placed;
    await machines.boot(machineOf(instance), {
      userData: Buffer.from(reservation.userData, "base64"),
      metadataEndpoint: options.metadataEndpoint(instance),
    });
  }

  function begin(id: string): void {
    timers.delete(id);
    const done = boot(id)
      .catch((error) => {
        options.log("instance not booted", { instanceId: id, error });
        onFailure(id);
      })
      .finally(() => underWay.delete(id));
    underWay.set(id, done);
  }

  return {
    schedule: ({ reservation, instance }) => {
      const waitMs = Math.max(0, reservation.launchedAt + options.bootMs - options.now());
      timers.set(instance.id, setTimeout(begin, waitMs, instance.id));
    },
    cancel: (id) => {
      clearTimeout(timers.get(id));
      timers.delete(id);
    },
    settle: async (id) => await underWay.get(id),
  };
}

type Endings = {
  /** The new state is set before this returns; the promise says that it is durable. */
  begin(instanceId: string, reason: Reason, behavior: "stop" | "terminate"): Promise<void>;
  /** Ends the machine of an instance whose state says that it ends. */
  finish(instanceId: string): void;
  /** Resolves when no ending is under way; what has not ended then is not tried again. */
  settle(): Promise<void>;
};

function createEndings({ store, machines, ...options }: InstancesOptions, boots: Boots): Endings {
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
      return await setState({ store, ...options }, id, "stopped");
    }
    await machines
      .discardDisk(id)
      .catch((error) => options.log("disk not removed", { instanceId: id, error }));
    await setState({ store, ...options }, id, "terminated", { terminatedAt: options.now() });
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
      const changed = setState({ store, ...options }, id, next, { reason });
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

/** Changed at once for all who look; told when it is durable, whatever it has changed to by then. */
async function setState(
  { store, onState }: Pick<InstancesOptions, "store" | "onState">,
  id: string,
  state: InstanceState,
  more: Partial<Instance> = {},
): Promise<void> {
  await store.change(id, (instance) => ({ ...instance, ...more, state }));
  const placed = store.find(id);
  if (placed) await onState({ ...placed.instance, state });
}

/** One turn of what is looked after without being asked. */
async function watch(
  { store, machines, now }: InstancesOptions,
  powerOff: (instanceId: string) => Promise<void>,
): Promise<void> {
  for (const { instance } of listInstances(store)) {
    if (instance.state !== "running") continue;
    // The machine tells the cloud by a call, too; this is for a call that was lost.
    if (await machines.hasPoweredOff(instance.id)) await powerOff(instance.id);
    else await machines.trimConsole(instance.id);
  }
  for (const { id, instances } of store.list()) {
    if (!instances.every((instance) => isForgotten(instance, now()))) continue;
    for (const instance of instances) await machines.discard(instance.id);
    await store.remove(id);
  }
}

export const listInstances = (store: InstanceStore): readonly Placed[] =>
  store
    .list()
    .flatMap((reservation) => reservation.instances.map((instance) => ({ reservation, instance })));

/** Terminated more than an hour ago: no operation knows it any more. */
export const isForgotten = ({ terminatedAt }: Instance, now: number): boolean =>
  terminatedAt !== undefined && now - terminatedAt > REMEMBERED_MS;

const machineOf = ({ id, cookie }: Instance) => ({ instanceId: id, cookie });

const isEnding = (placed: Placed | undefined): boolean =>
  placed?.instance.state === "shutting-down" || placed?.instance.state === "stopping";

const mayEnd = (state: InstanceState, behavior: "stop" | "terminate"): boolean =>
  state === "pending" ||
  state === "running" ||
  (behavior === "terminate" && (state === "stopping" || state === "stopped"));

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
