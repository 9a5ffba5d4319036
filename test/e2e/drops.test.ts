import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { listSent, packDirectory, putObject, untilFinished } from "../support/drop.ts";
import { type Errand, shareErrand, waitFor } from "../support/errand.ts";

const shared = shareErrand();

const workflows = `
variables:
  hello:
    who: nobody
`;

const project = () =>
  makeDirectory({
    ".dstack/workflows.yaml": `
workflows:
  - name: hello
    provider: python
    python_script: hello.py
`,
    ".dstack/variables.yaml": workflows,
    "hello.py": "import os\nprint('hello', os.environ['WHO'])",
  });

it("what any S3 client drops is run, with what its metadata asks for", async () => {
  const errand = shared();
  const metadata = { "var-who": "world", tag: "latest" };
  await putObject(errand, "drops/hello/mine.tar.gz", {
    body: await packDirectory(await project()),
    metadata,
  });
  const [run] = await untilFinished(errand, 1);

  expect(run).toMatchObject({ state: "succeeded", workflows: ["hello"] });
  expect((await errand.run("logs", "latest", "hello")).stdout).toContain("\nhello world\n");
});

it("a drop that is no bundle is a failed run that says why", async () => {
  const errand = shared();
  const before = await listSent(errand);
  await putObject(errand, "drops/broken.tar.gz", { body: Buffer.from("not an archive") });
  const [run] = await untilFinished(errand, 1, before);

  expect(run?.state).toBe("failed");
  expect(run?.problems.join(" ")).toMatch(/gzip|tar|archive/);
});

it("a drop waits while no daemon is alive, shows as queued, and is run when one comes", async () => {
  const errand = shared();
  const cloud = await startCloudAlone(errand);
  const submitted = await errand.run("submit", await project(), "hello", "--detach", "--json");
  const { id } = JSON.parse(submitted.stdout) as { id: string };

  expect(submitted.stderr).toBe(
    `no daemon is running: start one with errand daemon --local --data ${errand.data}\n`,
  );
  expect(await errand.run("logs", id)).toMatchObject({
    code: 0,
    stdout: "",
    stderr: expect.stringContaining("is queued, and has written nothing yet"),
  });
  expect(await errand.show(id)).toMatchObject({
    id,
    state: "queued",
    workflows: ["hello"],
    jobs: [],
  });
  await errand.restart();
  const view = await errand.until("the run's end", ({ finishedAt }) => finishedAt !== null, id);
  expect(view.state).toBe("succeeded");
  expect(await errand.stop()).toBe(0);
  cloud.child.kill("SIGTERM");
  expect((await cloud.finished).code).toBe(0);
});

/** Ends the daemon with its cloud, and starts the cloud again without a daemon. */
async function startCloudAlone(errand: Errand) {
  await errand.stop();
  const cloud = errand.start("local", "--no-daemon", "--port", "0");
  await waitFor(
    "the local cloud's note",
    () => readFile(path.join(errand.data, "local.json"), "utf8").catch(() => ""),
    (note) => note.includes('"endpoint"'),
  );
  return cloud;
}
