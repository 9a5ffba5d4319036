import { readFile } from "node:fs/promises";
import path from "node:path";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { expect, it } from "vitest";
import { listBundleFiles } from "../../src/cli/bundle-files.ts";
import { packBundle } from "../../src/cli/pack.ts";
import type { RunSummary } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, startErrand, waitFor } from "../support/errand.ts";

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

/** As any S3 client would, with what `errand local env` tells it. */
async function put(
  errand: Errand,
  key: string,
  { body, metadata = {} }: { body: Uint8Array; metadata?: Record<string, string> },
): Promise<void> {
  const { stdout } = await errand.run("local", "env", "--json");
  const variables = JSON.parse(stdout) as Record<string, string>;
  const s3 = new S3Client({
    endpoint: variables.AWS_ENDPOINT_URL ?? "",
    region: variables.AWS_REGION ?? "",
    credentials: {
      accessKeyId: variables.AWS_ACCESS_KEY_ID ?? "",
      secretAccessKey: variables.AWS_SECRET_ACCESS_KEY ?? "",
    },
    forcePathStyle: true,
  });
  const Bucket = variables.ERRAND_BUCKET ?? "";
  await s3.send(new PutObjectCommand({ Bucket, Key: key, Body: body, Metadata: metadata }));
  s3.destroy();
}

const pack = async (directory: string): Promise<Uint8Array> =>
  packBundle(directory, (await listBundleFiles(directory)).entries);

const untilRuns = (errand: Errand, count: number): Promise<RunSummary[]> =>
  waitFor(
    `${count} finished runs`,
    async () => JSON.parse((await errand.run("runs", "--json")).stdout) as RunSummary[],
    (runs) => runs.filter((run) => run.finishedAt !== null).length === count,
  );

it("what any S3 client drops is run, with what its metadata asks for", async () => {
  const errand = await startErrand();
  const metadata = { "var-who": "world", tag: "latest" };
  await put(errand, "drops/hello/mine.tar.gz", { body: await pack(await project()), metadata });
  const [run] = await untilRuns(errand, 1);

  expect(run).toMatchObject({ state: "succeeded", workflows: ["hello"] });
  expect((await errand.run("logs", "latest", "hello")).stdout).toContain("\nhello world\n");
});

it("a drop that is no bundle is a failed run that says why", async () => {
  const errand = await startErrand();
  await put(errand, "drops/broken.tar.gz", { body: Buffer.from("not an archive") });
  const [run] = await untilRuns(errand, 1);

  expect(run?.state).toBe("failed");
  const { problems } = await errand.show();
  expect(problems.join(" ")).toMatch(/gzip|tar|archive/);
});

it("a drop waits while no daemon is alive, shows as queued, and is run when one comes", async () => {
  const errand = await startErrand();
  const cloud = await startCloudAlone(errand);
  const submitted = await errand.run("submit", await project(), "hello", "--detach", "--json");
  const { id } = JSON.parse(submitted.stdout) as { id: string };

  expect(submitted.stderr).toContain("no daemon is running");
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
