/** No object in the bucket, however damaged, stops the daemon or another run. */
import { expect, test } from "vitest";
import { makeLaunch, makeOrder } from "../../../src/core/launches.ts";
import { key } from "../../../src/core/layout.ts";
import { createRun } from "../../../src/daemon/records.ts";
import { CALM } from "../../simulation/faults.ts";
import { CATALOG } from "../../simulation/installations.ts";
import { beginLife } from "../../simulation/life.ts";
import { Random } from "../../simulation/random.ts";
import { World } from "../../simulation/world.ts";
import { MINUTE, makeAttempt, makeRun, makeSettings } from "../../support/make.ts";

const OTHER = "20261123-211530-bbbbbb";

test.each([
  ["a record", `records/${OTHER}.json`],
  ["a status", "status/20261123-211530-aaaaaa.json"],
  ["a report", "inbox/reports/t9.0.started.json"],
  ["a cancel request", `inbox/cancel/${OTHER}`],
  ["the rests of offers", "capacity.json"],
  ["the installation", "errand.json"],
  ["a tag", "tags/train/latest.json"],
])("%s", async (_what, key) => {
  for (const damage of ["", "{", "null", '{"format": 2}', "x".repeat(2 * 1024 * 1024)]) {
    const world = new World(new Random(1), CALM);
    await createRun(world.bucket, makeRun());
    await world.bucket.put(`open/${OTHER}`, "");
    await world.bucket.put(key, damage);
    const life = beginLife(world, { name: "daemon", isDead: () => false });
    await world.pass(5 * MINUTE);
    life.stop();
    // What is logged as an error is for the operator to know; what is thrown is a bug.
    const thrown = world.bugs.map(String).filter((bug) => !bug.startsWith('Error: {"message"'));
    expect(thrown).toEqual([]);
    expect(world.machines.map(({ launch }) => launch.attempts[0]?.job)).toEqual(["train"]);
  }
});

test("an order of a run whose record cannot be read is void before its launch is sent for another's", async () => {
  const world = new World(new Random(1), CALM);
  const plannedAt = world.timeline.now();
  const attempt = (index: number) => makeAttempt({ plannedAt, launch: { token: "t1", index } });
  const [run, other] = [makeRun([attempt(0)]), makeRun([attempt(1)], { id: OTHER })];
  const settings = makeSettings();
  const members = [run, other].map((each, index) => ({ run: each, attempt: attempt(index) }));
  const launch = makeLaunch("t1", members, { catalog: CATALOG, settings, at: plannedAt });
  world.bucket.write(key.launch("t1"), JSON.stringify(launch));
  for (const [index, member] of members.entries()) {
    world.bucket.write(key.order("t1", index), JSON.stringify(makeOrder(member, settings)));
  }
  // The save of the other's record has failed, and what is there is damaged: nobody knows whether it names the order.
  await createRun(world.bucket, run);
  await createRun(world.bucket, { ...other, attempts: [] });
  world.bucket.damage(key.record(OTHER));
  const life = beginLife(world, { name: "daemon", isDead: () => false });
  await world.pass(2 * MINUTE);
  life.stop();
  expect(world.machines).toHaveLength(2);
  expect(world.bucket.read(key.claim("t1", 1))).toContain('"by":"daemon"');
  expect(world.bucket.read(key.claim("t1", 0))).toContain('"by":"runner"');
});
