import { writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { RuleStatus } from "../../src/local/faults.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, shareErrand } from "../support/errand.ts";

const shared = shareErrand();

const makeProject = () =>
  makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: train
    provider: python
    python_script: train.py
    artifacts: [out]
`,
    "train.py": `
import os, time
os.makedirs("out", exist_ok=True)
time.sleep(2)
open("out/made", "w").write("made")
open("out/large", "wb").truncate(9 << 20)
`,
  });

const faults = (errand: Errand, ...words: string[]) => errand.run("local", "faults", ...words);

const listed = async (errand: Errand): Promise<readonly RuleStatus[]> =>
  JSON.parse((await faults(errand, "list", "--json")).stdout);

it("a run comes to its end through faults of all kinds, and each of them did happen", async () => {
  const errand = shared();
  const file = path.join(errand.data, "storm.yaml");
  await writeFile(
    file,
    `
seed: 7
rules:
  - { id: capacity, fault: no-capacity, times: 1 }
  - { id: reply, fault: lost-reply, operation: ec2:RunInstances, times: 1 }
  - { id: throttled, fault: throttle, operation: "ec2:DescribeInstances", times: 2 }
  - { id: error, fault: error, operation: s3:PutObject, match: { key: "records/*" }, code: InternalError, times: 1 }
  - { id: conflict, fault: error, operation: s3:PutObject, match: { key: "status/*" }, code: ConditionalRequestConflict, times: 1 }
  - { id: slow, fault: error, operation: s3:PutObject, match: { key: "runs/*/log/*" }, code: SlowDown, times: 1 }
  - { id: late, fault: error, operation: s3:CompleteMultipartUpload, code: InternalError, status: 200, times: 2 }
  - { id: delay, fault: delay, operation: s3:GetObject, ms: 100, times: 3 }
  - { id: drop, fault: event-lost, match: { key: "drops/*" }, times: 1 }
  - { id: twice, fault: event-twice, source: ec2, ms: 200 }
  - { id: reboot, fault: instance-reboots, afterMs: 1500, times: 1 }
`,
  );
  expect(await faults(errand, "load", file)).toMatchObject({ code: 0 });
  const { code, stdout, stderr } = await errand.run("submit", await makeProject());
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
  const [job] = (await errand.show()).jobs;
  expect(job?.attempts.map(({ state }) => state)).toEqual(["lost", "succeeded"]);
  expect((await listed(errand)).filter(({ fired }) => fired === 0)).toEqual([]);
  await faults(errand, "clear");
});

describe("errand local faults", () => {
  it("adds, lists, removes and clears rules, for people and as JSON", async () => {
    const errand = shared();
    const field = "match.key=records/*";
    const added = await faults(errand, "add", "error", "operation=s3:*", "code=SlowDown", field);
    expect(added).toMatchObject({ code: 0, stdout: "f1  error\n" });
    await faults(errand, "add", "silent-boot", "times=1", "probability=0.5");
    const { stdout } = await faults(errand, "list");
    expect(stdout).toMatch(
      /^id +fault +matched +fired +rule\nf1 +error +\d+ +0 .*match\.key=records/,
    );
    expect(stdout).toMatch(/\nf2 +silent-boot +0 +0 .*times=1.*probability=0\.5/);
    expect(await listed(errand)).toMatchObject([
      { id: "f1", fault: "error", match: { key: "records/*" } },
      { id: "f2", fault: "silent-boot", times: 1, probability: 0.5, matched: 0, fired: 0 },
    ]);
    expect(await faults(errand, "remove", "f1")).toMatchObject({ code: 0, stdout: "1 removed\n" });
    const file = path.join(errand.data, "one.json");
    await writeFile(
      file,
      JSON.stringify({ seed: 9, rules: [{ fault: "no-capacity", id: "one" }] }),
    );
    expect(await faults(errand, "load", file, "--replace")).toMatchObject({ code: 0 });
    expect(await listed(errand)).toMatchObject([{ id: "one", seed: 9 }]);
    expect((await faults(errand, "clear", "--json")).stdout).toBe('{\n  "removed": 1\n}\n');
    expect(await listed(errand)).toEqual([]);
  });

  it("says what is wrong and where, and changes nothing", async () => {
    const errand = shared();
    const file = path.join(errand.data, "bad.yaml");
    await writeFile(
      file,
      "- {fault: throttle, operation: 's3:*'}\n- {fault: delay, operation: 's3:*'}\n",
    );
    const cases = [
      [["load", file], `${file}: rule 2 (delay): ms: is missing`],
      [["load", "/nowhere.yaml"], "reading /nowhere.yaml"],
      [["add", "earthquake"], 'there is no fault "earthquake"; the faults are error, throttle'],
      [["add", "no-capacity", "zone"], '"zone" is no field'],
      [["add", "no-capacity", "times=often"], "no-capacity: times: "],
      [["remove", "f9"], "there is no rule f9"],
    ] as const;
    for (const [words, message] of cases) {
      const { code, stderr } = await faults(errand, ...words);
      expect([words, code, stderr]).toEqual([words, 2, expect.stringContaining(message)]);
    }
    expect(await listed(errand)).toEqual([]);
  });

  it("rules and their counts are there after kill -9", async () => {
    const errand = shared();
    await faults(errand, "add", "throttle", "operation=ec2:*", "times=1");
    const fired = async () => (await listed(errand))[0]?.fired;
    while ((await fired()) === 0) await errand.run("instances");
    await errand.kill();
    await errand.restart();
    expect(await fired()).toBe(1);
  });
});
