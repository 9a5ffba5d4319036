/** AWS in memory, on virtual time, with every fault that we believe AWS has. `watch` looks on for what must never happen. */
import { isDeepStrictEqual } from "node:util";
import type { Launch } from "../../src/core/launches.ts";
import { key, prefix } from "../../src/core/layout.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Instance } from "../../src/core/observation.ts";
import { type Catalog, offerKey } from "../../src/core/offers.ts";
import { quotaGroupOf } from "../../src/core/quotas.ts";
import type { Run } from "../../src/core/run.ts";
import { CloudError, isCloudError } from "../../src/errors.ts";
import type { Cloud } from "../../src/ports.ts";
import type { Faults } from "./faults.ts";
import { CATALOG, INSTALLATION, type Installation } from "./installations.ts";
import {
  endMachine,
  instanceOf,
  isUp,
  liveMachine,
  type Machine,
  makeMachine,
  tellStop,
} from "./machines.ts";
import { Mailbox } from "./mailbox.ts";
import type { Random } from "./random.ts";
import { Timeline } from "./timeline.ts";
import { Watch } from "./watch.ts";
import { WatchedBucket } from "./watched-bucket.ts";

/** EC2 leaves an instance out of listings for less than the two minutes that Errand waits, and lists it for a while before it does so again. */
const HIDDEN_MS_MAX = 110_000;
const LISTED_MS_MIN = 180_000;

export class World implements Cloud {
  faults: Faults;
  readonly random: Random;
  readonly installation: Installation;
  /** What the operator allows now. */
  limits: Limits;
  readonly timeline: Timeline;
  readonly bucket: WatchedBucket;
  readonly mailbox: Mailbox;
  readonly watch: Watch;
  readonly machines: Machine[] = [];
  readonly story: string[] = [];
  /** How many calls daemons have made. */
  calls = 0;
  /** What nobody waits for and went wrong. */
  readonly bugs: unknown[] = [];
  readonly #byToken = new Map<string, Machine[]>();
  readonly #dryUntil = new Map<string, number>();
  /** What one zone does not have. */
  readonly #unsupported: string | undefined;
  /** The save of a record was given up, and carried out later all the same. */
  everLateSave = false;
  /** So has a write of the rests of offers, over newer ones perhaps. */
  everLateRests = false;
  /** A daemon has stood still, and goes on, or went on, then. */
  everPaused = false;
  awakeAt = 0;
  /** A daemon's clock has been off. */
  everSkewed = false;
  /** It was set ahead by less than is noticed. */
  everNudged = false;
  /** When the storm was over; undefined while it goes on. */
  calmAt: number | undefined;
  /** Users and the bucket do their worst at the worst moment. */
  onDeath: () => void = () => {};
  /** A run is written down as cancelled. */
  onCancelled: (run: Run) => void = () => {};

  constructor(random: Random, faults: Faults, installation: Installation = INSTALLATION) {
    this.random = random;
    this.faults = faults;
    this.installation = installation;
    this.limits = installation.limits;
    this.timeline = new Timeline(installation.startMs);
    this.#unsupported = random.chance(faults.unsupported) ? drawPool(random) : undefined;
    this.bucket = new WatchedBucket(this.timeline.now, {
      onWrite: (written) => this.#onWrite(written),
      onRemove: (removed, body) => {
        if (removed.startsWith(prefix.open))
          this.watch.markerRemoved(removed.slice(prefix.open.length));
        if (removed.startsWith("inbox/")) this.watch.noteRemoved(removed, body);
      },
    });
    this.mailbox = new Mailbox(this.timeline, random, () => this.faults);
    this.watch = new Watch(this);
  }

  note(line: string): void {
    const seconds = (this.timeline.now() - this.installation.startMs) / 1000;
    this.story.push(`${seconds.toFixed(1).padStart(9)}s  ${line}`);
  }

  living(): Machine[] {
    return this.machines.filter((machine) => machine.state !== "terminated");
  }

  /** Lets this much time go by. */
  async pass(ms: number): Promise<void> {
    await this.timeline.runUntil(this.timeline.now() + ms);
  }

  async readCatalog(): Promise<Catalog> {
    return CATALOG;
  }

  async readQuotas() {
    return {};
  }

  async listInstances(): Promise<readonly Instance[]> {
    const now = this.timeline.now();
    for (const machine of this.machines) {
      const listedSince = Math.max(machine.visibleAt, machine.hiddenUntil);
      const isDue = now - listedSince > LISTED_MS_MIN;
      if (isDue && this.random.chance(this.faults.omission)) {
        machine.hiddenUntil = now + this.random.between(0, HIDDEN_MS_MAX);
      }
    }
    return this.machines
      .filter((each) => each.visibleAt <= now && each.hiddenUntil <= now)
      .map(instanceOf);
  }

  async listLaunched(token: string): Promise<readonly Instance[]> {
    const launched = this.#byToken.get(token) ?? [];
    return launched.filter((each) => each.visibleAt <= this.timeline.now()).map(instanceOf);
  }

  async launch(launch: Launch): Promise<readonly string[]> {
    try {
      return this.#launch(launch);
    } catch (error) {
      if (isCloudError(error, "no-capacity", "quota", "refused")) this.watch.refusing(launch);
      throw error;
    }
  }

  async terminate(ids: readonly string[]): Promise<void> {
    for (const machine of this.machines.filter((each) => ids.includes(each.id))) {
      // EC2's answer is InvalidInstanceID.NotFound, which the adapter takes for "nothing to do".
      const isUnknown =
        machine.visibleAt > this.timeline.now() && this.random.chance(this.faults.notFound);
      if (isUnknown || !isUp(machine)) continue;
      this.watch.terminating(machine);
      endMachine(machine, this, "Client.UserInitiatedShutdown", "terminated");
    }
  }

  async readConsole(id: string): Promise<string> {
    return this.machines.some((machine) => machine.id === id) ? "booting\n" : "";
  }

  #launch(launch: Launch): readonly string[] {
    const existing = this.#byToken.get(launch.token);
    if (this.random.chance(existing ? this.faults.deniedAgain : this.faults.denied)) {
      throw new CloudError("refused", "not authorized", { code: "UnauthorizedOperation" });
    }
    if (existing) return this.#launchAgain(launch, existing);
    if (!CATALOG.images.some((image) => image.imageId === launch.input.imageId)) {
      throw new CloudError("refused", `there is no image ${launch.input.imageId}`);
    }
    this.#refuse(launch);
    this.watch.launching(launch);
    const machines = launch.attempts.map((_, index) => {
      const machine = makeMachine(this, launch, index);
      this.machines.push(machine);
      return machine;
    });
    this.#byToken.set(launch.token, machines);
    for (const machine of machines) {
      liveMachine(machine, this).catch((error: unknown) => this.bugs.push(error));
    }
    return machines.map((each) => each.id);
  }

  #launchAgain(launch: Launch, existing: readonly Machine[]): string[] {
    const [first] = existing;
    if (!isDeepStrictEqual(first?.launch, launch)) {
      throw new CloudError("already-launched", "other parameters", {
        code: "IdempotentParameterMismatch",
      });
    }
    if (!existing.some(isUp)) {
      throw new CloudError("already-launched", "was terminated", {
        code: "IdempotentInstanceTerminated",
      });
    }
    return existing.map((each) => each.id);
  }

  #refuse({ input, attempts }: Launch): void {
    const pool = offerKey(input);
    const now = this.timeline.now();
    if (pool === this.#unsupported) {
      throw new CloudError("no-capacity", `${pool} is not offered`, { code: "Unsupported" });
    }
    const isDry = (this.#dryUntil.get(pool) ?? 0) > now;
    if (isDry || this.random.chance(this.faults.noCapacity)) {
      if (!isDry) this.#dryUntil.set(pool, now + this.random.between(60_000, 400_000));
      this.note(`no ${pool} for ${attempts.length}`);
      throw new CloudError("no-capacity", `no ${pool}`, { code: "InsufficientInstanceCapacity" });
    }
    if (this.random.chance(this.faults.quota) || this.#exceedsQuota(input, attempts.length)) {
      throw new CloudError("quota", "no more vCPUs", { code: "VcpuLimitExceeded" });
    }
  }

  /** EC2 counts what runs or is about to, and goes on a while after that. */
  #exceedsQuota({ instanceType }: Launch["input"], count: number): boolean {
    const { quotas, quotaReleaseMs } = this.installation;
    const group = quotaGroupOf(instanceType);
    const max = group && quotas[group];
    if (max === undefined) return false;
    const since = this.timeline.now() - quotaReleaseMs;
    const used = this.machines
      .map(({ launch, endedAt }) => ({ type: launch.input.instanceType, endedAt }))
      .filter(({ type, endedAt }) => quotaGroupOf(type) === group && endedAt > since)
      .reduce((sum, { type }) => sum + vcpusOf(type), 0);
    return used + count * vcpusOf(instanceType) > max;
  }

  #onWrite(written: string): void {
    if (written.startsWith(prefix.records)) this.watch.recordWritten(written);
    if (written === key.lease) this.watch.leaseWritten(this.bucket.read(written) ?? "{}");
    if (written === key.capacity) this.watch.capacityWritten(this.bucket.read(written) ?? "{}");
    if (written.startsWith(prefix.drops) || written.startsWith("inbox/")) {
      this.mailbox.post({ type: "object", key: written });
    }
    if (!written.endsWith(".stop")) return;
    for (const machine of this.machines) {
      if (written === key.stop(machine.launch.token, machine.index)) tellStop(machine, this);
    }
  }
}

const vcpusOf = (instanceType: string): number =>
  CATALOG.types.find((each) => each.name === instanceType)?.vcpus ?? 0;

function drawPool(random: Random): string {
  const { types, places } = CATALOG;
  const type = types[random.between(0, types.length - 1)];
  const place = places[random.between(0, places.length - 1)];
  return offerKey({ instanceType: type?.name ?? "", zone: place?.zone ?? "" });
}
