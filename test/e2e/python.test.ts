/** How a Python job can end, and what is told of it: without uv, without a network, on whatever Python the machine has. */
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { listMachineProcesses, startErrand, waitFor } from "../support/errand.ts";

const SCRIPTS: Readonly<Record<string, string>> = {
  "not-utf-8": String.raw`
import sys
sys.stdout.buffer.write(b"before\nlatin \xe9t\xe9, \xff\xfe and half a \xf0\x9f\nafter\n")
`,
  outlived: `
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        time.sleep(600)
    os._exit(0)
print("gone before its children")
`,
  raises: "raise ValueError('no such thing')",
  "kills-itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
  "no-such-version": "print('ran all the same')",
  module: "import sys\nprint(sys.argv[1:], __name__)",
};

it("however a script ends, the job ends with its reason and its output", async () => {
  const special: Readonly<Record<string, object>> = {
    "no-such-version": { python: "3.99" },
    module: { python_script: "-m module 'a b' -c" },
  };
  const workflows = Object.keys(SCRIPTS).map((name) => ({
    name,
    provider: "python",
    python_script: `${name}.py`,
    ...special[name],
  }));
  const missing = { name: "missing", provider: "python", requirements: "req.txt" };
  const project = await makeDirectory({
    ".dstack/workflows.yaml": JSON.stringify({
      workflows: [...workflows, { ...missing, python_script: "raises.py" }],
    }),
    ...Object.fromEntries(Object.entries(SCRIPTS).map(([name, text]) => [`${name}.py`, text])),
  });
  const errand = await startErrand();
  await errand.run("submit", project);
  const view = await errand.show();

  expect(
    Object.fromEntries(view.jobs.map(({ name, state, reason }) => [name, [state, reason]])),
  ).toEqual({
    "not-utf-8": ["succeeded", ""],
    outlived: ["succeeded", ""],
    raises: ["failed", "exit code 1"],
    "kills-itself": ["failed", "killed by SIGKILL"],
    "no-such-version": [
      "failed",
      expect.stringMatching(
        /^python 3\.99 is not to be had here: there is no python3\.99 on PATH, /,
      ),
    ],
    module: ["succeeded", ""],
    missing: ["failed", "req.txt is not in the bundle"],
  });
  const logOf = async (job: string) => (await errand.run("logs", "latest", job)).stdout;
  expect(await logOf("not-utf-8")).toContain(
    "before\nlatin \ufffdt\ufffd, \ufffd\ufffd and half a \ufffd\nafter\n",
  );
  expect(await logOf("raises")).toContain("ValueError: no such thing\n");
  expect(await logOf("module")).toContain("['a b', '-c'] __main__\n");
  expect(await logOf("no-such-version")).not.toContain("ran all the same");
  await waitFor(
    "the end of what a job left behind",
    () => listMachineProcesses(errand.data),
    (left) => left.length === 0,
  );
});
