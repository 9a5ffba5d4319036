/**
 * AWS in memory, on virtual time, with every fault we believe AWS has, and machines that do what the
 * runner does: claim, report, work, report, power off. It watches for what must never happen.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { type Launch, type Order, orderSchema } from "../../src/core/launches.ts";
import { key, prefix } from "../../src/core/layout.ts";
import type { Instance, InstanceState } from "../../src/core/observation.ts";
import { type Catalog, offerKey } from "../../src/core/offers.ts";
import { type Run, runSchema } from "../../src/core/run.ts";
import { CloudError } from "../../src/errors.ts";
import type { Cloud } from "../../src/ports.ts";
import { Bucket } from "../support/bucket.ts";
import { makeCatalog } from "../support/make.ts";
import type { Random } from "./random.ts";

/** Chances are per call, but those of machines, which are per machine. Times are milliseconds. */
export type Faults = {
  readonly crash: number;
  readonly unavailable: number;
  readonly lostReply: number;
  readonly noCapacity: number;
  readonly quota: number;
  /** RunInstances is denied before EC2 looks at the token. */
  readonly denied: number;
  readonly listingLagMs: number;
  /** An instance is left out of one listing. */
  readonly omission: number;
  /** The machine dies some time, without a word. */
  readonly death: number;
  /** It never claims its order. */
  readonly silentBoot: number;
  /** It works for ever. */
  readonly hang: number;
  readonly jobFailure: number;
  readonly bootMs: number;
  readonly shutdownMs: number;
};

export const STORM: Faults = {
  crash: 0.01,
  unavailable: 0.04,
  lostReply: 0.06,
  noCapacity: 0.2,
  quota: 0.03,
  denied: 0.02,
  listingLagMs: 30_000,
  omission: 0.05,
  death: 0.2,
  silentBoot: 0.1,
  hang: 0.05,
  jobFailure: 0.15,
  bootMs: 120_000,
  shutdownMs: 60_000,
};

export const CALM: Faults = {
  crash: 0,
  unavailable: 0,
  lostReply: 0,
  noCapacity: 0,
  quota: 0,
  denied: 0,
  listingLagMs: 0,
  omission: 0,
  death: 0,
  silentBoot: 0,
  hang: 0,
  jobFailure: 0,
  bootMs: 20_000,
  shutdownMs: 20_000,
};

type Machine = {
  readonly id: string;
  readonly launch: Launch;
  readonly index: number;
  readonly launchedAt: number;
  readonly visibleAt: number;
  readonly claimsAt: number;
  readonly worksMs: number;
  readonly exitCode: number;
  readonly diesAt: number;
  state: InstanceState;
  stateReason: string;
  order?: Order;
  endsAt: number;
  hasFinished: boolean;
  /** When it will have shut down. */
  goneAt: number;
};

export class World implements Cloud {
  faults: Faults;
  readonly bucket: Bucket;
  readonly story: string[] = [];
  readonly machines: Machine[] = [];
  readonly #random: Random;
  readonly #dryUntil = new Map<string, number>();
  readonly #catalog: Catalog = makeCatalog();
  /** How often each order was carried out. */
  readonly #worked = new Map<string, number>();
  readonly #records = new Map<string, Run>();
  readonly #parsed = new Map<string, { readonly body: string; readonly run: Run }>();
  #now = 1_000_000;
  #listedAt = 0;

  constructor(random: Random, faults: Faults) {
    this.#random = random;
    this.faults = faults;
    this.bucket = new Bucket(() => this.#now);
  }

  now = (): number => this.#now;

  advance(ms: number): void {
    this.#now += ms;
    for (const machine of this.machines) this.#live(machine);
  }

  living(): Machine[] {
    return this.machines.filter((machine) => machine.state !== "terminated");
  }

  /** As they are written down. Reading them anew each time would take most of the simulation's time. */
  runs(): Run[] {
    return this.bucket.keys(prefix.records).map((each) => {
      const body = this.bucket.read(each) ?? "";
      const known = this.#parsed.get(each);
      if (known?.body === body) return known.run;
      const run = runSchema.parse(JSON.parse(body));
      this.#parsed.set(each, { body, run });
      return run;
    });
  }

  async readCatalog(): Promise<Catalog> {
    return this.#catalog;
  }

  async listInstances(): Promise<Instance[]> {
    this.#listedAt = this.#now;
    return this.machines
      .filter(({ visibleAt }) => visibleAt <= this.#now)
      .filter(() => !this.#random.chance(this.faults.omission))
      .map(instanceOf);
  }

  async listLaunched(token: string): Promise<Instance[]> {
    return this.machines.filter(({ launch }) => launch.token === token).map(instanceOf);
  }

  async launch(launch: Launch): Promise<string[]> {
    if (this.#random.chance(this.faults.denied)) {
      throw new CloudError("refused", "you may not", { code: "UnauthorizedOperation" });
    }
    const existing = this.machines.filter((each) => each.launch.token === launch.token);
    if (existing.length > 0) {
      const isSame = existing.every((each) => isDeepStrictEqual(each.launch, launch));
      if (!isSame || existing.every((each) => each.state !== "running")) {
        throw new CloudError("already-launched", "the token was used before");
      }
      return existing.map((each) => each.id);
    }
    if (!this.#catalog.images.some((image) => image.imageId === launch.input.imageId)) {
      throw new CloudError("refused", `there is no image ${launch.input.imageId}`);
    }
    this.#refuse(launch);
    const machines = launch.attempts.map((_, index) => this.#boot(launch, index));
    this.machines.push(...machines);
    return machines.map((each) => each.id);
  }

  async terminate(ids: readonly string[]): Promise<void> {
    for (const machine of this.machines.filter((each) => ids.includes(each.id))) {
      if (machine.state !== "running") continue;
      this.#checkUnwanted(machine);
      this.#end(machine, "Client.UserInitiatedShutdown", "terminated");
    }
  }

  #refuse({ input, attempts }: Launch): void {
    const pool = offerKey(input);
    const isDry = (this.#dryUntil.get(pool) ?? 0) > this.#now;
    if (isDry || this.#random.chance(this.faults.noCapacity)) {
      if (!isDry) this.#dryUntil.set(pool, this.#now + this.#random.between(60_000, 400_000));
      this.#note(`no ${pool} for ${attempts.length}`);
      throw new CloudError("no-capacity", `no ${pool}`, { code: "InsufficientInstanceCapacity" });
    }
    if (this.#random.chance(this.faults.quota)) {
      throw new CloudError("quota", "no more vCPUs", { code: "VcpuLimitExceeded" });
    }
  }

  #boot(launch: Launch, index: number): Machine {
    const random = this.#random;
    const id = `i-${this.machines.length + 1 + index}`;
    const member = launch.attempts[index];
    this.#note(`${id} launched for ${member?.run}/${member?.job}/${member?.number}`);
    const isSilent = random.chance(this.faults.silentBoot);
    const dies = random.chance(this.faults.death);
    return {
      id,
      launch,
      index,
      launchedAt: this.#now,
      visibleAt: this.#now + random.between(0, this.faults.listingLagMs),
      claimsAt: isSilent
        ? Number.POSITIVE_INFINITY
        : this.#now + random.between(1_000, this.faults.bootMs),
      worksMs: random.chance(this.faults.hang)
        ? Number.POSITIVE_INFINITY
        : random.between(1_000, 600_000),
      exitCode: random.chance(this.faults.jobFailure) ? 1 : 0,
      diesAt: dies ? this.#now + random.between(1_000, 600_000) : Number.POSITIVE_INFINITY,
      state: "running",
      stateReason: "",
      endsAt: Number.POSITIVE_INFINITY,
      hasFinished: false,
      goneAt: Number.POSITIVE_INFINITY,
    };
  }

  /** What a machine does until now. */
  #live(machine: Machine): void {
    if (machine.goneAt <= this.#now) machine.state = "terminated";
    if (machine.state !== "running") return;
    const isCapped = !machine.order && this.#now - machine.launchedAt > 15 * 60_000;
    if (machine.diesAt <= this.#now) this.#end(machine, "Server.InternalError", "died");
    else if (machine.order) this.#work(machine, machine.order);
    else if (isCapped) this.#end(machine, "Client.InstanceInitiatedShutdown", "hit its boot cap");
    else if (machine.claimsAt <= this.#now) this.#claim(machine);
  }

  #claim(machine: Machine): void {
    const { token } = machine.launch;
    if (this.bucket.read(key.claim(token, machine.index)) !== undefined) {
      this.#end(machine, "Client.InstanceInitiatedShutdown", "lost its claim");
      return;
    }
    const body = this.bucket.read(key.order(token, machine.index));
    if (body === undefined) return;
    const order = orderSchema.parse(JSON.parse(body));
    const claim = { format: 1, by: "runner", instanceId: machine.id, at: this.#now };
    this.#write(key.claim(token, machine.index), claim);
    machine.order = order;
    machine.endsAt = this.#now + machine.worksMs;
    this.#report(machine, order, "started", { bootMs: 1_000 });
    this.#checkWork(machine, order);
  }

  #work(machine: Machine, order: Order): void {
    const stop = this.bucket.read(key.stop(machine.launch.token, machine.index));
    const deadline = machine.claimsAt + order.limits.runMs;
    const failed = machine.exitCode !== 0;
    if (stop !== undefined) this.#finish(machine, order, "cancelled", "cancelled");
    else if (deadline <= Math.min(this.#now, machine.endsAt)) {
      this.#finish(machine, order, "timed-out", "ran longer than max_duration");
    } else if (machine.endsAt <= this.#now) {
      this.#finish(machine, order, failed ? "failed" : "succeeded", failed ? "exit code 1" : "");
    }
  }

  #finish(machine: Machine, order: Order, outcome: string, reason: string): void {
    const common = { outcome, reason, phases: {}, artifacts: [], notes: [], logLines: 0 };
    this.#report(machine, order, "finished", { ...common, exitCode: machine.exitCode });
    machine.hasFinished = true;
    this.#end(machine, "Client.InstanceInitiatedShutdown", outcome);
  }

  #report(machine: Machine, order: Order, stage: string, more: object): void {
    const { token } = machine.launch;
    this.#write(key.report(token, machine.index, stage), {
      format: 1,
      stage,
      token,
      index: machine.index,
      run: order.run,
      job: order.job.name,
      attempt: order.attempt,
      instanceId: machine.id,
      at: this.#now,
      ...more,
    });
  }

  /** A machine's own call of S3: it retries until it succeeds, so here it just does. */
  #write(objectKey: string, content: object): void {
    void this.bucket.put(objectKey, JSON.stringify(content));
  }

  #end(machine: Machine, stateReason: string, why: string): void {
    machine.state = "shutting-down";
    const lasts = this.#random.chance(0.5) ? this.#random.between(0, this.faults.shutdownMs) : 0;
    machine.goneAt = this.#now + lasts;
    if (lasts === 0) machine.state = "terminated";
    machine.stateReason = stateReason;
    this.#note(`${machine.id} ${why}`);
  }

  #note(line: string): void {
    this.story.push(`${((this.#now - 1_000_000) / 1000).toFixed(1).padStart(9)}s  ${line}`);
  }

  /** The work is begun by one machine, and only if the record knows of it. */
  #checkWork(machine: Machine, order: Order): void {
    const name = `${order.run}/${order.job.name}/${order.attempt}`;
    const times = (this.#worked.get(name) ?? 0) + 1;
    this.#worked.set(name, times);
    assert.equal(times, 1, `${name} was begun ${times} times`);
    const run = this.runs().find((each) => each.id === order.run);
    const { token } = machine.launch;
    const attempt = run?.attempts.find(
      ({ launch }) => launch.token === token && launch.index === machine.index,
    );
    assert(attempt, `${name} was begun by ${machine.id}, and no record knows of it`);
    assert(!attempt.outcome, `${name} was begun after it was closed as ${attempt.outcome?.type}`);
    const others = this.living().filter(
      (each) =>
        each !== machine &&
        each.state === "running" &&
        each.order?.run === order.run &&
        each.order.job.name === order.job.name,
    );
    assert.equal(others.length, 0, `${name} is worked on by two machines`);
  }

  /** Nothing of an attempt that still goes on is terminated. */
  #checkUnwanted(machine: Machine): void {
    const run = this.runs().find((each) => each.id === machine.launch.attempts[machine.index]?.run);
    const attempt = run?.attempts.find(
      ({ launch }) => launch.token === machine.launch.token && launch.index === machine.index,
    );
    assert(
      !attempt || attempt.outcome,
      `${machine.id} was terminated while ${attempt?.job} goes on`,
    );
  }

  /** Called with every record as it is written: choices and endings never change. */
  checkRecord(run: Run): void {
    const before = this.#records.get(run.id);
    for (const attempt of run.attempts) {
      const place = `${attempt.launch.token}.${attempt.launch.index}`;
      const earlier = before?.attempts.find(
        ({ launch }) => `${launch.token}.${launch.index}` === place,
      );
      if (earlier) assert.deepEqual(attempt.offer, earlier.offer, `${place} changed its offer`);
      if (earlier?.outcome) assert.deepEqual(attempt.outcome, earlier.outcome, `${place} changed`);
      if (attempt.outcome && !earlier?.outcome) this.#checkOutcome(attempt);
    }
    this.#records.set(run.id, run);
  }

  #checkOutcome(attempt: Run["attempts"][number]): void {
    const { token, index } = attempt.launch;
    const machine = this.machines.find(
      (each) => each.launch.token === token && each.index === index,
    );
    this.#note(`${attempt.job}/${attempt.number} ${attempt.outcome?.type}`);
    const holder = /"by":"(\w+)"/.exec(this.bucket.read(key.claim(token, index)) ?? "")?.[1];
    if (attempt.voidedAt !== undefined) {
      assert.equal(holder, "daemon", `${attempt.job} was closed as void, and its runner works on`);
    }
    if (attempt.outcome?.type !== "lost") return;
    const isReported = machine?.hasFinished && machine.endsAt < this.#listedAt;
    assert(!isReported, `${attempt.job} was judged lost, but its machine had reported`);
    assert(holder, `${attempt.job} was judged lost with its claim undecided`);
  }
}

const instanceOf = (machine: Machine): Instance => ({
  id: machine.id,
  token: machine.launch.token,
  index: machine.index,
  state: machine.state,
  instanceType: machine.launch.input.instanceType,
  zone: machine.launch.input.zone,
  launchedAt: machine.launchedAt,
  stateReason: machine.stateReason,
});
