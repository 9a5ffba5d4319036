import { afterAll, beforeAll, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { RunView } from "../../src/core/view.ts";
import { makeTarGz } from "../support/archives.ts";
import { type Host, startHost } from "../support/daemon-host.ts";

let host: Host;
beforeAll(async () => {
  host = await startHost();
});
afterAll(() => host.stop());

const isFinished = (view: RunView) => view.finishedAt !== null;

test("two workflows run one after the other, and the second one has what the first one made", async () => {
  const id = "20261123-211530-aaaaaa";
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - {name: prepare, provider: python, python_script: prepare.py, artifacts: [data]}
  - {name: train, provider: python, python_script: train.py, artifacts: [model], depends-on: [prepare]}
`,
    "prepare.py":
      "import os\nos.mkdir('data')\nopen('data/x', 'w').write('seven')\nprint('prepared')\n",
    "train.py":
      "import os\nos.mkdir('model')\nopen('model/y', 'w').write(open('data/x').read() * 2)\n",
  });
  await host.store.put(`drops/${id}.tar.gz`, bundle);
  const view = await host.waitForRun(id, isFinished);
  expect(view.jobs.map(({ name, state, reason }) => [name, state, reason])).toEqual([
    ["prepare", "succeeded", ""],
    ["train", "succeeded", ""],
  ]);
  const made = await host.store.find(`runs/${id}/train/1/artifacts/model/y`);
  expect(new TextDecoder().decode(made?.body)).toBe("sevenseven");
  const instances = await host.cloud.listInstances();
  expect(instances.map((instance) => instance.state)).toEqual(["terminated", "terminated"]);
  expect(view.state).toBe("succeeded");
});

test("a run goes its way though no event ever comes", async () => {
  const deaf = await startHost({ isDeaf: true });
  const id = "20261123-211530-bbbbbb";
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - {name: hello, provider: python, python_script: hello.py}
`,
    "hello.py": "print('hello')\n",
  });
  await deaf.store.put(`drops/${id}.tar.gz`, bundle);
  const view = await deaf.waitForRun(id, isFinished);
  await deaf.stop();
  expect(view.state).toBe("succeeded");
});

test("jobs wait at a ceiling, say so, and run when there is room", async () => {
  const narrow = await startHost({ limits: { ...DEFAULT_LIMITS, instancesMax: 1 } });
  const id = "20261123-211530-cccccc";
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - {name: one, provider: python, python_script: hello.py}
  - {name: two, provider: python, python_script: hello.py}
`,
    "hello.py": "print('hello')\n",
  });
  await narrow.store.put(`drops/${id}.tar.gz`, bundle);
  const held = await narrow.waitForRun(id, (view) => view.jobs.some((job) => job.holds.length > 0));
  const view = await narrow.waitForRun(id, isFinished);
  await narrow.stop();
  expect(held.jobs.flatMap((job) => job.holds.map((hold) => hold.reason))).toEqual(["ceiling"]);
  expect(view.jobs.map((job) => job.state)).toEqual(["succeeded", "succeeded"]);
});

test("what a machine said at its boot is kept when the job never began, and the run is closed then", async () => {
  const changeScript = (script: string) => script.replace("command -v python3", "command -v none");
  const bare = await startHost({ changeScript });
  const id = "20261123-211530-dddddd";
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - {name: hello, provider: python, python_script: hello.py, resources: {retry: 0}}
`,
    "hello.py": "",
  });
  await bare.store.put(`drops/${id}.tar.gz`, bundle);
  const view = await bare.waitForRun(id, ({ jobs }) => {
    const bytes = jobs[0]?.attempts[0]?.consoleBytes;
    return bytes !== undefined && bytes !== null;
  });
  const kept = await bare.store.find(`runs/${id}/hello/1/console.txt`);
  await expect.poll(() => bare.store.list("open/")).toEqual([]);
  await bare.stop();
  expect(view.jobs[0]).toMatchObject({
    state: "failed",
    reason: "its machine powered off without a report",
  });
  expect(new TextDecoder().decode(kept?.body)).toContain(
    "errand: no python3 on this image: powering off",
  );
});

test("jobs wait while the account's quota is in use, say how much of it is, and run as there is room", async () => {
  const tight = await startHost({
    faults: [{ fault: "quota", family: "standard", vcpus: 3 }],
  });
  const id = "20261123-211530-eeeeee";
  const bundle = await makeTarGz({
    ".dstack/workflows.yaml": `
workflows:
  - {name: one, provider: python, python_script: wait.py}
  - {name: two, provider: python, python_script: wait.py}
`,
    "wait.py": "import time\ntime.sleep(2)\n",
  });
  await tight.store.put(`drops/${id}.tar.gz`, bundle);
  const held = await tight.waitForRun(id, ({ jobs }) => jobs.some(({ holds }) => holds.length > 0));
  const view = await tight.waitForRun(id, isFinished);
  await tight.stop();
  expect(held.jobs.flatMap(({ holds }) => holds)).toMatchObject([
    {
      reason: "quota",
      detail: "2 of 3 vCPUs of Standard (A, C, D, H, I, M, R, T, Z) in use, m7i.large needs 2",
    },
  ]);
  expect(view.jobs.map(({ state, refusals }) => [state, refusals])).toEqual([
    ["succeeded", []],
    ["succeeded", []],
  ]);
});
