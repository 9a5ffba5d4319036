import { expect, it } from "vitest";
import type { JobArtifacts } from "../../src/cli/manifests.ts";
import { makeDirectory } from "../support/directory.ts";
import { listSent } from "../support/drop.ts";
import { runErrand, shareErrand } from "../support/errand.ts";
import { shareServer, textAt } from "../support/serve.ts";

const server = shareServer(textAt("there.txt", "text"));
const shared = shareErrand();

it("failures end with a state and a reason that a user understands", async () => {
  const url = server();
  const project = await makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: exits
    provider: python
    python_script: exits.py
    artifacts: [out]
  - name: needs-exits
    provider: python
    python_script: never.py
    depends-on: [exits]
  - name: needs-that
    provider: python
    python_script: never.py
    depends-on: [needs-exits]
  - name: missing
    provider: python
    python_script: nowhere.py
  - name: not-found
    provider: curl
    url: ${url}/not-there.txt
    output: raw/input.txt
    artifacts: [raw]
`,
    "exits.py": `
import os
os.makedirs("out")
open("out/part.txt", "w").write("so far")
print("about to fail", flush=True)
raise SystemExit(3)
`,
    "never.py": "print('never')",
  });
  const errand = shared();
  const submitted = await errand.run("submit", project);

  expect(submitted.code).toBe(1);
  expect(submitted.stdout).toContain("exits       | about to fail");
  const view = await errand.show();
  expect(view.state).toBe("failed");
  const reasons = view.jobs.map(({ name, state, reason }) => [name, state, reason]);
  expect(
    Object.fromEntries(reasons.map(([name, state, reason]) => [name, [state, reason]])),
  ).toEqual({
    exits: ["failed", "exit code 3"],
    "needs-exits": ["skipped", "exits failed"],
    "needs-that": ["skipped", "needs-exits was skipped"],
    missing: ["failed", "nowhere.py is not in the bundle"],
    "not-found": ["failed", `HTTP 404 for ${url}/not-there.txt`],
  });
  for (const [name, state, reason] of reasons) {
    expect(submitted.stdout).toMatch(
      new RegExp(`^${name} +${state}: ${escapeRegExp(reason)}$`, "m"),
    );
  }
  expect(view.jobs.find((job) => job.name === "exits")?.attempts[0]?.exitCode).toBe(3);

  const log = await errand.run("logs", "latest", "missing");
  expect(log.stdout).toContain("nowhere.py is not in the bundle");
  const sets = JSON.parse((await errand.run("artifacts", "latest", "exits", "--json")).stdout);
  const [exits] = sets as JobArtifacts[];
  expect(exits?.complete).toBe(false);
  expect(exits?.entries.map((entry) => entry.path)).toContain("out/part.txt");
});

const escapeRegExp = (text = ""): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

it("an invalid bundle is refused before anything is sent, with its places", async () => {
  const project = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: pyton
    python_script: train.py
  - name: other
    provider: python
    python_script: other.py
    depends-on: [nobody]
`,
  });
  const errand = shared();
  const before = await listSent(errand);
  const { code, stderr, stdout } = await errand.run("submit", project);

  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^error: \.dstack\/workflows\.yaml:3:15: /);
  expect(stderr).toMatch(/\.dstack\/workflows\.yaml:8:\d+: .*nobody/);
  expect(stderr).not.toContain(" at ");
  expect(await listSent(errand)).toEqual(before);
});

it("a command without a local cloud says how to start one", async () => {
  const nowhere = await makeDirectory();
  const { code, stderr } = await runErrand("runs", "--local", "--data", nowhere);
  expect(code).toBe(2);
  expect(stderr).toContain(`no local cloud runs in ${nowhere}`);
  expect(stderr).toContain(`errand daemon --local --data ${nowhere}`);
});

it.each([["--no-such-option"], ["no-such-command"]])(
  "the words %s are the user's error",
  async (word) => {
    expect((await runErrand("runs", word)).code).toBe(2);
  },
);
