/** No object in the bucket, however damaged, stops the daemon or another run. */
import { expect, test } from "vitest";
import { createRun } from "../../../src/daemon/records.ts";
import { CALM } from "../../simulation/faults.ts";
import { beginLife } from "../../simulation/life.ts";
import { Random } from "../../simulation/random.ts";
import { World } from "../../simulation/world.ts";
import { MINUTE, makeRun } from "../../support/make.ts";

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
