/** What must never happen, checked at the moment when it would. */
import assert from "node:assert/strict";
import type { Launch, Order } from "../../src/core/launches.ts";
import { key, prefix } from "../../src/core/layout.ts";
import { orderKey, orderOf } from "../../src/core/observation.ts";
import { type Attempt, isLiving, type Run } from "../../src/core/run.ts";
import { ANSWER_MS } from "../../src/core/settle.ts";
import { isFinished, jobStates } from "../../src/core/states.ts";
import { isUp, type Machine } from "./machines.ts";
import { LimitsWatch } from "./watch-limits.ts";
import type { World } from "./world.ts";

/** From a decision, when all is calm, to the runner's next look for it. */
const STOP_MS = 3 * 60_000;
/** And where a clock that was set back makes a daemon rest for longer than it means to. */
const SKEWED_STOP_MS = 15 * 60_000;

/** A save that was begun in time may come in a little after it. */
const SAVE_MS_MAX = 1_000;

export class Watch {
  readonly #world: World;
  readonly #runs = new Map<string, Run>();
  /** How often each attempt was begun. */
  readonly #worked = new Map<string, number>();
  readonly #refused = new Set<string>();
  /** When it was first written down that an attempt is to stop. */
  readonly #stops = new Map<string, number>();
  #limits: LimitsWatch | undefined;
  /** Who has it, and since when. */
  #lease = { holder: "", since: 0 };

  constructor(world: World) {
    this.#world = world;
  }

  /** From here on a daemon is watched; without it nothing is checked. */
  begin(): void {
    this.#limits = new LimitsWatch(this.#world, () => this.runs());
  }

  /** As they are written down. */
  runs(): Run[] {
    return [...this.#runs.values()];
  }

  /** Choices and endings never change, and the ceilings hold. */
  recordWritten(objectKey: string): void {
    if (!this.#limits) return;
    // Of which form it is, is the business of the daemon that reads it.
    const run = JSON.parse(this.#world.bucket.read(objectKey) ?? "") as Run;
    const before = this.#runs.get(run.id);
    this.#runs.set(run.id, run);
    if (!before) this.#world.note(`${run.drop.key} is ${run.id}: ${contentsOf(run)}`);
    const earlier = new Map(before?.attempts.map((each) => [orderOf(each), each]));
    for (const attempt of run.attempts) this.#checkAttempt(attempt, earlier.get(orderOf(attempt)));
    const gone = [...earlier.values()].filter(
      (each) => !run.attempts.some((attempt) => orderOf(attempt) === orderOf(each)),
    );
    for (const attempt of gone) this.#checkForgotten(attempt);
    checkRun(run);
    this.#limits.recordWritten(run, before);
    if (run.cancel && !before?.cancel) {
      this.#world.note(`${run.id} is cancelled`);
      this.#world.onCancelled(run);
    }
    for (const verdict of run.verdicts.slice(before?.verdicts.length ?? 0)) {
      this.#world.note(`${verdict.job} will not run: ${verdict.reason}`);
    }
  }

  leaseWritten(body: string): void {
    const { holder } = JSON.parse(body) as { holder: string };
    if (holder !== this.#lease.holder) this.#lease = { holder, since: this.#world.timeline.now() };
  }

  /** Whoever saves a record plans, and one plans while others stand by. */
  saving(daemon: string, objectKey: string): void {
    const { everSkewed, everPaused, timeline } = this.#world;
    // Whoever stood still since it looked, or reckons by another clock, is held by conditions and claims alone.
    if (!this.#limits || everSkewed || everPaused) return;
    if (!this.#runs.has(objectKey.slice(prefix.records.length, -".json".length))) return;
    const { holder, since } = this.#lease;
    const isNew = timeline.now() - since < SAVE_MS_MAX;
    assert(holder === daemon || isNew, `${daemon} plans while ${holder} has the lease`);
  }

  capacityWritten(body: string): void {
    this.#limits?.capacityWritten(body);
  }

  /** What users and runners leave is put away when a record says it, or its run is over. */
  noteRemoved(objectKey: string, body: string): void {
    if (!this.#limits || this.#world.bucket.hadDamage) return;
    if (objectKey.startsWith(prefix.cancels)) {
      const run = this.#runs.get(objectKey.slice(prefix.cancels.length));
      const isAbsorbed = run?.cancel && (run.cancel.now || !JSON.parse(body).now);
      assert(!run || isAbsorbed || isFinished(run), `a cancel of ${run?.id} was lost`);
      return;
    }
    const { run, token, index, stage } = JSON.parse(body);
    const attempt = this.#attemptAt(run, token, index);
    const isAbsorbed = attempt?.[stage as "finished"] !== undefined || attempt?.outcome;
    assert(!attempt || isAbsorbed, `the report "${stage}" of ${attempt?.job} was lost`);
  }

  /** A run is closed when nothing of it costs money any more. */
  markerRemoved(id: string): void {
    if (!this.#limits) return;
    const living = this.#runs.get(id)?.attempts.filter(isLiving) ?? [];
    assert.equal(living.length, 0, `${id} was closed with ${living.length} machines`);
    this.#world.note(`${id} is closed`);
  }

  /** EC2 has said no, and not merely nothing. */
  refusing({ token }: Launch): void {
    this.#refused.add(token);
  }

  /** All that a launch starts is written down before it is sent, or can do no work. */
  launching(launch: Launch): void {
    if (!this.#limits) return;
    const { bucket } = this.#world;
    assert.deepEqual(JSON.parse(bucket.read(key.launch(launch.token)) ?? "null"), launch);
    for (const [index, { run, job }] of launch.attempts.entries()) {
      assert(bucket.read(key.order(launch.token, index)), `${job} was launched without an order`);
      const isRecorded = this.#attemptAt(run, launch.token, index) !== undefined;
      const isVoid = this.#holderOf(launch.token, index) === "daemon";
      assert(isRecorded || isVoid, `${job} was launched, and no record knows of it`);
    }
  }

  /** The work is begun once, by one machine, for a record that waits for it, on whole inputs. */
  workBegan(machine: Machine, order: Order): void {
    if (!this.#limits) return;
    const name = `${order.run}/${order.job.name}/${order.attempt}`;
    const { token } = machine.launch;
    const times = (this.#worked.get(orderKey(token, machine.index)) ?? 0) + 1;
    this.#worked.set(orderKey(token, machine.index), times);
    assert.equal(times, 1, `${name} was begun ${times} times`);
    const attempt = this.#attemptAt(order.run, token, machine.index);
    assert(attempt, `${name} was begun by ${machine.id}, and no record knows of it`);
    assert(!attempt.outcome, `${name} was begun after it was closed as ${attempt.outcome?.type}`);
    const others = this.#world.machines.filter(
      (each) =>
        each !== machine &&
        isUp(each) &&
        each.order?.run === order.run &&
        each.order.job.name === order.job.name,
    );
    assert.equal(others.length, 0, `${name} is worked on by two machines`);
    for (const input of order.inputs) {
      const manifest = JSON.parse(this.#world.bucket.read(input.manifest) ?? "{}");
      assert.equal(manifest.complete, true, `${name} uses what ${input.from} left half done`);
    }
  }

  /** Whoever was asked to stop was told so, once there is calm to tell it in. */
  workEnded(machine: Machine, order: Order): void {
    const { calmAt, awakeAt, everSkewed, timeline } = this.#world;
    const stoppedAt = this.#stops.get(orderKey(machine.launch.token, machine.index));
    if (calmAt === undefined || stoppedAt === undefined) return;
    const isTold = machine.stop.aborted || !isUp(machine);
    const sinceMs = timeline.now() - Math.max(calmAt, awakeAt, stoppedAt);
    const isNew = sinceMs < (everSkewed ? SKEWED_STOP_MS : STOP_MS);
    assert(isTold || isNew, `${order.run}/${order.job.name} was to stop, and was not told`);
  }

  /** Nothing of an attempt that still goes on is terminated. */
  terminating(machine: Machine): void {
    if (!this.#limits) return;
    const { token, attempts } = machine.launch;
    const attempt = this.#attemptAt(attempts[machine.index]?.run ?? "", token, machine.index);
    const name = `${machine.id} of ${attempt?.job}`;
    assert(!attempt || attempt.outcome, `${name} was terminated while its attempt goes on`);
  }

  /** One run for each drop that was not overwritten before anybody saw it. */
  checkDrops(dropped: readonly { readonly key: string; readonly etag: string }[]): void {
    for (const drop of dropped) {
      const runs = this.runs().filter(
        (run) => run.drop.key === drop.key && run.drop.etag === drop.etag,
      );
      assert.equal(runs.length, 1, `${drop.key} ${drop.etag} became ${runs.length} runs`);
    }
  }

  #checkAttempt(attempt: Attempt, earlier: Attempt | undefined): void {
    const place = orderOf(attempt);
    if (earlier) assert.deepEqual(attempt.offer, earlier.offer, `${place} changed its offer`);
    if (earlier?.outcome) assert.deepEqual(attempt.outcome, earlier.outcome, `${place} changed`);
    if (earlier?.goneAt) assert.equal(attempt.goneAt, earlier.goneAt, `${place} came back`);
    if (attempt.stop && !earlier?.stop) this.#stops.set(place, this.#world.timeline.now());
    if (attempt.outcome && !earlier?.outcome) this.#checkOutcome(attempt);
    if (attempt.goneAt !== undefined && earlier?.goneAt === undefined) this.#checkGone(attempt);
  }

  #checkOutcome(attempt: Attempt): void {
    const { token, index } = attempt.launch;
    const machine = this.#machineAt(token, index);
    this.#world.note(`${attempt.job}/${attempt.number} ${wordsOf(attempt)}`);
    const holder = this.#holderOf(token, index);
    if (attempt.voidedAt !== undefined) {
      assert.equal(holder, "daemon", `${attempt.job} was closed as void, and its runner works on`);
    }
    if (attempt.outcome?.type !== "lost") return;
    // Seen dead, it had reported before: a runner powers off after that.
    const isSeenDead = /powered off|instance was lost/.test(attempt.outcome.reason);
    const hasReported = machine?.hasReported === true;
    assert(!(isSeenDead && hasReported), `${attempt.job} was judged lost, and had reported`);
    const isUnknown = attempt.outcome.reason.startsWith("EC2 no longer knows");
    const isThere = machine !== undefined && isUp(machine) && !this.#world.everNudged;
    assert(!(isUnknown && isThere), `${attempt.job} was judged lost, and ${machine?.id} is there`);
    assert(holder, `${attempt.job} was judged lost with its claim undecided`);
    const isAnswered = attempt.answer !== undefined;
    const isLate = attempt.outcome.at - attempt.plannedAt > ANSWER_MS;
    assert(isAnswered || isLate, `${attempt.job} was judged lost before EC2 had answered`);
  }

  #checkForgotten(attempt: Attempt): void {
    const place = orderOf(attempt);
    assert(!attempt.outcome && !attempt.answer, `${place} is gone from the record`);
    assert(this.#refused.has(attempt.launch.token), `${place} was given up before EC2 refused it`);
  }

  /** Whatever is called gone costs nothing any more, or will never work. */
  #checkGone({ job, launch, voidedAt }: Attempt): void {
    const machine = this.#machineAt(launch.token, launch.index);
    const isThere = machine !== undefined && machine.state !== "terminated";
    assert(
      !isThere || voidedAt !== undefined,
      `${job} was called gone, and ${machine?.id} is there`,
    );
  }

  #attemptAt(run: string, token: string, index: number): Attempt | undefined {
    return this.#runs
      .get(run)
      ?.attempts.find(({ launch }) => launch.token === token && launch.index === index);
  }

  #machineAt(token: string, index: number): Machine | undefined {
    return this.#world.machines.find((each) => each.launch.token === token && each.index === index);
  }

  #holderOf(token: string, index: number): string | undefined {
    return /"by":"(\w+)"/.exec(this.#world.bucket.read(key.claim(token, index)) ?? "")?.[1];
  }
}

const contentsOf = ({ jobs, rejected }: Run): string =>
  rejected ? `rejected, ${rejected.join(" ")}` : jobs.map(({ name }) => name).join(", ");

const wordsOf = ({ outcome }: Attempt): string =>
  outcome?.reason ? `${outcome.type}: ${outcome.reason}` : `${outcome?.type}`;

function checkRun(run: Run): void {
  const states = jobStates(run);
  for (const job of run.jobs) {
    const tries = run.attempts.filter((attempt) => attempt.job === job.name);
    assert(tries.filter(isLiving).length <= 1, `${job.name} has two living attempts`);
    for (const type of ["lost", "failed"] as const) {
      const count = tries.filter(({ outcome }) => outcome?.type === type).length;
      assert(
        count <= job.resources.retry[type] + 1,
        `${job.name} was tried after ${count} ${type}`,
      );
    }
    const unmet = job.needs.filter((need) => states.get(need) !== "succeeded");
    assert(tries.length === 0 || unmet.length === 0, `${job.name} began before ${unmet}`);
  }
}
