/** Machines that do what the runner does: claim, report, work, report, power off; or fail to, in every way we know. */
import { type Launch, type Order, orderSchema } from "../../src/core/launches.ts";
import { key } from "../../src/core/layout.ts";
import type { Instance, InstanceState } from "../../src/core/observation.ts";
import { Flag } from "./timeline.ts";
import type { World } from "./world.ts";

export type Machine = {
  readonly id: string;
  readonly launch: Launch;
  readonly index: number;
  readonly launchedAt: number;
  /** Listings leave it out until then. */
  readonly visibleAt: number;
  /** And until then, now and again. */
  hiddenUntil: number;
  /** Raised when it is told to stop by its `.stop` object. */
  readonly stop: Flag;
  /** Raised when it stops running, for whatever reason. */
  readonly off: Flag;
  state: InstanceState;
  /** When it stopped running; infinite while it runs. */
  endedAt: number;
  stateReason: string;
  order?: Order;
  /** From when on it cannot reach S3, and when it can again. */
  readonly offlineAt: number;
  readonly onlineAt: number;
  /** Its last report is in the bucket, or has been. */
  hasReported: boolean;
};

/** The machine powers off by itself when it has claimed no order by then. */
const BOOT_CAP_MS = 15 * 60_000;
const ORDER_LOOK_MS = 10_000;
const STOP_LOOK_MS = 5_000;
/** Of a real one thirty seconds: fewer make the same stories. */
const HEARTBEAT_MS = 120_000;

export function makeMachine(world: World, launch: Launch, index: number): Machine {
  const { random, faults, timeline } = world;
  const now = timeline.now();
  const member = launch.attempts[index];
  const id = `i-${world.machines.length + 1}`;
  const { instanceType, zone } = launch.input;
  const place = `${member?.run}/${member?.job}/${member?.number}`;
  world.note(`${id} launched: ${instanceType} in ${zone} for ${place}`);
  return {
    id,
    launch,
    index,
    launchedAt: now,
    visibleAt: now + random.between(0, faults.listingLagMs),
    hiddenUntil: 0,
    stop: new Flag(),
    off: new Flag(),
    state: "pending",
    endedAt: Number.POSITIVE_INFINITY,
    stateReason: "",
    hasReported: false,
    ...offlineOf(world, now),
  };
}

/** Most networks come back. */
function offlineOf({ random, faults }: World, now: number) {
  const never = Number.POSITIVE_INFINITY;
  if (!random.chance(faults.noNetwork)) return { offlineAt: never, onlineAt: never };
  const offlineAt = now + random.between(0, 600_000);
  const onlineAt = random.chance(0.3) ? never : offlineAt + random.between(10_000, 1_800_000);
  return { offlineAt, onlineAt };
}

/** From power-on to power-off. */
export async function liveMachine(machine: Machine, world: World): Promise<void> {
  const { random, faults, timeline } = world;
  if (random.chance(faults.takenBack)) {
    await sleep(machine, world, random.between(0, 10_000));
    return endMachine(
      machine,
      world,
      "Server.InternalError: Internal error on launch",
      "taken back",
    );
  }
  if (random.chance(faults.death)) {
    timeline.at(timeline.now() + random.between(1_000, 600_000), () =>
      endMachine(machine, world, "Server.InternalError", "died"),
    );
  }
  await sleep(machine, world, random.between(1_000, faults.bootMs));
  if (machine.state === "pending") machine.state = "running";
  if (random.chance(faults.silentBoot)) await sleep(machine, world, BOOT_CAP_MS);
  const order = isUp(machine) ? await claim(machine, world) : undefined;
  if (order) await carryOut(machine, order, world);
  endMachine(machine, world, "Client.InstanceInitiatedShutdown", "powered off");
}

/** Its order, once it has claimed it; undefined when it cannot, or must not, within the boot cap. */
async function claim(machine: Machine, world: World): Promise<Order | undefined> {
  const { token } = machine.launch;
  const capAt = machine.launchedAt + BOOT_CAP_MS;
  while (isUp(machine) && world.timeline.now() < capAt) {
    const body = isOnline(machine, world)
      ? world.bucket.read(key.order(token, machine.index))
      : undefined;
    if (body === undefined) {
      await sleep(machine, world, ORDER_LOOK_MS);
      continue;
    }
    const place = key.claim(token, machine.index);
    if (world.bucket.read(place) !== undefined) {
      world.note(`${machine.id} lost its claim`);
      return undefined;
    }
    const order = orderSchema.parse(JSON.parse(body));
    const content = { format: 1, by: "runner", instanceId: machine.id, at: world.timeline.now() };
    world.bucket.write(place, JSON.stringify(content));
    machine.order = order;
    world.note(`${machine.id} claimed its order`);
    world.watch.workBegan(machine, order);
    return order;
  }
  return undefined;
}

async function carryOut(machine: Machine, order: Order, world: World): Promise<void> {
  const { random, faults, timeline } = world;
  const { setupMs, runMs, uploadMs } = order.limits;
  const mustEndAt = timeline.now() + setupMs + runMs + uploadMs;
  const send = (stage: string, more: object) =>
    report(machine, order, { world, mustEndAt }, stage, more);
  await send("started", { bootMs: 1_000 });
  beat(machine, order, world);
  const worksMs = random.chance(faults.hang)
    ? Number.POSITIVE_INFINITY
    : random.between(1_000, 600_000);
  const exitCode = random.chance(faults.jobFailure) ? 1 : 0;
  await sleep(machine, world, Math.min(worksMs, runMs), machine.stop);
  world.watch.workEnded(machine, order);
  const { outcome, reason } = outcomeOf(machine, { exitCode, isLate: worksMs > runMs });
  if (random.chance(0.5)) await send("ran", { exitCode });
  if (isUp(machine)) {
    const manifest = { format: 1, complete: outcome === "succeeded", artifacts: [], entries: [] };
    world.bucket.write(`${order.prefix}manifest.json`, JSON.stringify(manifest));
  }
  if (random.chance(faults.noReport)) return;
  const common = { outcome, reason, exitCode, phases: {}, artifacts: [], notes: [], logLines: 0 };
  await send("finished", common);
  if (random.chance(faults.reportTwice)) await send("finished", common);
}

/** Signs of life until it is off, but while it has no network. */
function beat(machine: Machine, order: Order, world: World): void {
  if (!isUp(machine)) return;
  const now = world.timeline.now();
  if (isOnline(machine, world)) {
    world.bucket.write(`${order.prefix}heartbeat.json`, JSON.stringify({ format: 1, at: now }));
  }
  world.timeline.at(now + HEARTBEAT_MS, () => beat(machine, order, world));
}

function outcomeOf(machine: Machine, { exitCode, isLate }: { exitCode: number; isLate: boolean }) {
  if (machine.stop.aborted) return { outcome: "cancelled", reason: "cancelled" };
  if (isLate) return { outcome: "timed-out", reason: "ran longer than max_duration" };
  return exitCode === 0
    ? { outcome: "succeeded", reason: "" }
    : { outcome: "failed", reason: "exit code 1" };
}

/** A runner tries again until its deadline; without a network it gives up there. */
async function report(
  machine: Machine,
  order: Order,
  { world, mustEndAt }: { world: World; mustEndAt: number },
  stage: string,
  more: { readonly outcome?: string },
): Promise<void> {
  const { random, faults, timeline } = world;
  await sleep(machine, world, random.between(50, faults.reportMs));
  if (!isOnline(machine, world)) {
    await sleep(machine, world, Math.min(mustEndAt, machine.onlineAt) - timeline.now());
  }
  if (!isUp(machine) || !isOnline(machine, world)) return;
  const { token } = machine.launch;
  const content = {
    format: 1,
    stage,
    token,
    index: machine.index,
    run: order.run,
    job: order.job.name,
    attempt: order.attempt,
    instanceId: machine.id,
    at: timeline.now(),
    ...more,
  };
  world.bucket.write(key.report(token, machine.index, stage), JSON.stringify(content));
  world.note(`${machine.id} reported ${wordsOf(stage, more)}`);
  if (stage === "finished") machine.hasReported = true;
}

const wordsOf = (stage: string, more: { outcome?: string }): string =>
  more.outcome === undefined ? stage : `${stage}: ${more.outcome}`;

/** The stop object has been written: the runner looks every few seconds. */
export function tellStop(machine: Machine, world: World): void {
  const { random, timeline } = world;
  timeline.at(timeline.now() + random.between(0, STOP_LOOK_MS), machine.stop.raise);
}

export function endMachine(machine: Machine, world: World, stateReason: string, why: string): void {
  if (!isUp(machine)) return;
  machine.state = "shutting-down";
  machine.endedAt = world.timeline.now();
  machine.stateReason = stateReason;
  machine.off.raise();
  world.note(`${machine.id} ${why}`);
  const lastsMs = world.random.chance(0.5) ? world.random.between(0, world.faults.shutdownMs) : 0;
  world.timeline.at(world.timeline.now() + lastsMs, () => {
    machine.state = "terminated";
    world.mailbox.post({ type: "instance", instanceId: machine.id });
  });
}

export const isUp = ({ state }: Machine): boolean => state === "pending" || state === "running";

const isOnline = ({ offlineAt, onlineAt }: Machine, { timeline }: World): boolean =>
  timeline.now() < offlineAt || timeline.now() >= onlineAt;

function sleep(machine: Machine, world: World, ms: number, ...early: Flag[]): Promise<void> {
  return world.timeline.sleep(ms, machine.off, ...early);
}

export const instanceOf = (machine: Machine): Instance => ({
  id: machine.id,
  token: machine.launch.token,
  index: machine.index,
  state: machine.state,
  instanceType: machine.launch.input.instanceType,
  zone: machine.launch.input.zone,
  launchedAt: machine.launchedAt,
  stateReason: machine.stateReason,
});
