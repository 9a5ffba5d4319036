/** The states of instances: how one is entered, why, and which may follow which. */
import type { Instance, InstanceState, InstanceStore, Placed } from "./instances-store.ts";
import type { Machine } from "./machines.ts";

export type Reason = NonNullable<Instance["reason"]>;

export const ITSELF: Reason = {
  code: "Client.InstanceInitiatedShutdown",
  message: "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
  transition: "",
};

export const serverReason = (message: string, code = "Server.InternalError"): Reason => ({
  code,
  message: `${code}: ${message}`,
  transition: code,
});

export const userReason = (at: number): Reason => ({
  code: "Client.UserInitiatedShutdown",
  message: "Client.UserInitiatedShutdown: User initiated shutdown",
  transition: `User initiated (${new Date(at).toISOString().slice(0, 19).replace("T", " ")} GMT)`,
});

export type StateKeeper = {
  readonly store: InstanceStore;
  /** Told of every state once it is durable. */
  readonly onState: (instance: Instance) => Promise<void>;
};

/** Changed at once for all who look; told when it is durable, whatever it has changed to by then. */
export async function setState(
  { store, onState }: StateKeeper,
  id: string,
  state: InstanceState,
  more: Partial<Instance> = {},
): Promise<void> {
  await store.change(id, (instance) => ({ ...instance, ...more, state }));
  const placed = store.find(id);
  if (placed) await onState({ ...placed.instance, state });
}

export const machineOf = ({ id, cookie }: Instance): Machine => ({ instanceId: id, cookie });

export const isEnding = (placed: Placed | undefined): boolean =>
  placed?.instance.state === "shutting-down" || placed?.instance.state === "stopping";

export const mayEnd = (state: InstanceState, behavior: "stop" | "terminate"): boolean =>
  state === "pending" ||
  state === "running" ||
  (behavior === "terminate" && (state === "stopping" || state === "stopped"));
