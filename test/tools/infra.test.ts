/**
 * The stack and an installation made from it, on programs that we did not write: cfn-lint reads the templates, the `aws` command deploys
 * one into moto, and commands and daemon as processes run a job there with nothing but the configuration that `errand init` wrote.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DescribeImagesCommand, DescribeInstancesCommand } from "@aws-sdk/client-ec2";
import {
  GetObjectCommand,
  PutBucketNotificationConfigurationCommand,
  type QueueConfiguration,
} from "@aws-sdk/client-s3";
import { GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { ListDocumentsCommand } from "@aws-sdk/client-ssm";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import { DOCUMENT_NAME } from "../../src/aws/session/document.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { parseConfig } from "../../src/config.ts";
import { type MotoServer, startMotoServer } from "../support/moto.ts";
import { type MotoMachines, startMotoMachines } from "../support/moto-machines.ts";
import { readTemplate, TEMPLATE_PATH } from "../support/template.ts";
import { installTool, type Output, runTool } from "../support/tools.ts";

const ROOT = join(import.meta.dirname, "../..");
const lint = installTool("cfn-lint");

("bin" in lint ? describe : describe.skip)("the templates under cfn-lint", () => {
  const check = (...words: string[]): Promise<Output> =>
    runTool(join("bin" in lint ? lint.bin : "", "cfn-lint"), words, {
      env: { PATH: process.env.PATH ?? "" },
      cwd: ROOT,
    });
  const clean = { code: 0, stdout: "", stderr: "" };

  it("has nothing to say of any template, in regions of aws and aws-cn", async () => {
    const names = (await readdir(join(ROOT, "infra"))).filter((name) => name.endsWith(".yaml"));
    const templates: string[] = [];
    for (const name of names) {
      const text = await readFile(join(ROOT, "infra", name), "utf8");
      if (text.includes("AWSTemplateFormatVersion")) templates.push(`infra/${name}`);
    }
    expect(templates).toContain("infra/errand.yaml");
    const regions = ["us-east-1", "eu-central-1", "cn-north-1"];
    expect(await check("--regions", ...regions, "--", ...templates)).toEqual(clean);
  });

  it("has nothing to say of the stack in any region of any partition", async () => {
    expect(await check("--regions", "ALL_REGIONS", "--", "infra/errand.yaml")).toEqual(clean);
  });
});

const STACK = "errand-test";
const REGION = "us-east-1";
const aws = installTool("aws");
const moto = installTool("moto");
const suite = "bin" in aws && "bin" in moto ? describe : describe.skip;

let server: MotoServer;
let clients: Clients;
let folder: string;
let machines: MotoMachines;
let environment: Record<string, string>;

beforeAll(async () => {
  if (!("bin" in aws && "bin" in moto)) return;
  folder = await mkdtemp(join(tmpdir(), "errand-moto-"));
  server = await startMotoServer(moto.bin);
  const { endpoint } = server;
  const credentials = { accessKeyId: "moto", secretAccessKey: "moto" };
  clients = createClients({ region: REGION, endpoint, credentials });
  machines = startMotoMachines(clients.ec2, join(folder, "machines"));
  environment = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    AWS_PAGER: "",
    AWS_DEFAULT_REGION: REGION,
    AWS_ENDPOINT_URL: endpoint,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
});
afterAll(async () => {
  await machines?.stop();
  clients?.close();
  await server?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const run = async (program: string, ...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await runTool(program, words, { env: environment, cwd: folder });
  if (code !== 0) throw new Error(`${words.join(" ")}: exit code ${code}: ${stderr}${stdout}`);
  return stdout;
};
const awsCommand = (...words: string[]) => run(join("bin" in aws ? aws.bin : "", "aws"), ...words);
const main = join(ROOT, "dist/src/cli/main.js");
const errand = (...words: string[]) => run(process.execPath, main, ...words);

/** What moto leaves out of a stack: notifications of the bucket, as the template has them. */
async function setNotifications(bucket: string, QueueUrl: string): Promise<void> {
  const asked = { QueueUrl, AttributeNames: ["QueueArn" as const] };
  const { Attributes } = await clients.sqs.send(new GetQueueAttributesCommand(asked));
  const { NotificationConfiguration } = readTemplate().properties("Bucket") as unknown as {
    NotificationConfiguration: {
      QueueConfigurations: readonly {
        Event: string;
        Filter: { S3Key: { Rules: { Name: "prefix"; Value: string }[] } };
      }[];
    };
  };
  const QueueConfigurations = NotificationConfiguration.QueueConfigurations.map(
    ({ Event, Filter }) =>
      ({
        QueueArn: Attributes?.QueueArn,
        Events: [Event],
        Filter: { Key: { FilterRules: Filter.S3Key.Rules } },
      }) as QueueConfiguration,
  );
  await clients.s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket: bucket,
      NotificationConfiguration: { QueueConfigurations },
    }),
  );
}

/** Until SIGTERM; returns what it logged. */
async function startDaemon(): Promise<{ readonly stop: () => Promise<string> }> {
  const child = spawn(process.execPath, [main, "daemon"], {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (data) => {
    log += data;
  });
  const ended = once(child, "exit");
  const lines = createInterface(child.stdout);
  const [line] = await Promise.race([once(lines, "line"), ended.then(() => [""])]);
  if (!String(line).startsWith("ready ")) throw new Error(`the daemon did not start: ${log}`);
  return {
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
      return log;
    },
  };
}

const WORKFLOWS = `
workflows:
  - name: prepare
    provider: python
    python_script: prepare.py
    artifacts: [data]
  - name: train
    provider: python
    python_script: train.py
    depends-on: [prepare]
    artifacts: [model]
    resources: { image: IMAGE }
`;

suite("an installation on moto", () => {
  it("is deployed by the aws command, and configured by errand init", async () => {
    const deploy = ["--stack-name", STACK, "--template-file", TEMPLATE_PATH];
    await awsCommand("cloudformation", "deploy", ...deploy, "--capabilities", "CAPABILITY_IAM");
    // moto works outputs out when a stack is updated, and not when a change set is carried out.
    const again = [
      "--template-body",
      `file://${TEMPLATE_PATH}`,
      "--capabilities",
      "CAPABILITY_IAM",
    ];
    await awsCommand("cloudformation", "update-stack", "--stack-name", STACK, ...again);
    const { DocumentIdentifiers: documents } = await clients.ssm.send(
      new ListDocumentsCommand({ Filters: [{ Key: "Owner", Values: ["Self"] }] }),
    );
    expect(documents).toMatchObject([{ Name: DOCUMENT_NAME, DocumentType: "Session" }]);

    const place = ["--endpoint", server.endpoint, "--region", REGION];
    await expect(errand("init", "--stack", "another", ...place)).rejects.toThrow(
      /exit code 2: .*there is no stack another in us-east-1/,
    );
    await errand("init", "--stack", STACK, ...place);
    await expect(errand("init", "--stack", STACK, ...place)).rejects.toThrow(
      /exit code 2: .*errand.yaml exists/,
    );
    const text = await readFile(join(folder, "errand.yaml"), "utf8");
    expect(parseConfig({ file: { name: "errand.yaml", text } })).toMatchObject({
      region: REGION,
      bucket: "errand-123456789012-us-east-1",
      installation: expect.stringMatching(/^[0-9a-f-]{36}$/),
      subnets: [1, 2, 3].map(() => ({ subnetId: expect.stringMatching(/^subnet-/) })),
    });
  });

  it("runs a workflow and the one it depends on to their end, brings back what they made, and leaves no machine", async () => {
    const path = join(folder, "errand.yaml");
    // The machines are processes of this host, which has no uv that it may rely on.
    await writeFile(path, `${await readFile(path, "utf8")}allowsHostPython: true\n`);
    const config = parseConfig({
      file: { name: "errand.yaml", text: await readFile(path, "utf8") },
    });
    await setNotifications(config.bucket, config.queueUrl ?? "");
    const bundle = join(folder, "bundle");
    await mkdir(join(bundle, ".dstack"), { recursive: true });
    const image = await findImage();
    await writeFile(join(bundle, ".dstack/workflows.yaml"), WORKFLOWS.replace("IMAGE", image));
    const prepare =
      "import os; os.mkdir('data'); open('data/x', 'w').write('42'); print('prepared')";
    const train =
      "import os; os.mkdir('model'); open('model/y', 'w').write(open('data/x').read() * 2); print('trained')";
    await writeFile(join(bundle, "prepare.py"), prepare);
    await writeFile(join(bundle, "train.py"), train);

    const daemon = await startDaemon();
    let log = "";
    try {
      const told = await errand("submit", "bundle", "train").catch(async (error: unknown) => {
        const consoles = await Promise.all(
          machines.started.map(({ InstanceId = "" }) => machines.console(InstanceId)),
        );
        throw new Error(`${consoles.join("\n---\n")}`, { cause: error });
      });
      expect(told).toContain("trained");
      await errand("artifacts", "latest", "--download", "out");
      await vi.waitFor(
        async () => expect(await keptTypes(config.bucket)).toBeGreaterThan(500),
        20_000,
      );
      await vi.waitFor(async () => expect(await livingInstances()).toEqual([]), 20_000);
    } finally {
      log = await daemon.stop();
    }
    const files = await readdir(join(folder, "out"), { recursive: true });
    const model = files.find((name) => name.endsWith("model/y")) ?? "";
    expect(await readFile(join(folder, "out", model), "utf8")).toBe("4242");
    expect(machines.started).toHaveLength(2);
    await expectLaunched(config);
    // All that the queue told was read: nothing waits, and nothing went to the dead letters.
    expect(await messagesIn(config.queueUrl ?? "")).toBe("0 0");
    expect(log).not.toMatch(/"level":"error"/);
  });

  it("is found whole by errand doctor, but for what moto has not got", async () => {
    const { code, stdout } = await runTool(process.execPath, [main, "doctor", "--json"], {
      env: environment,
      cwd: folder,
    });
    const { findings } = JSON.parse(stdout) as { readonly findings: readonly Finding[] };
    const told = findings.filter(({ verdict }) => verdict !== "pass");
    expect(told.map(({ check, verdict }) => `${verdict} ${check}`)).toEqual([
      "warn daemon",
      // The region's parameters of moto name no image with GPU drivers.
      "warn images",
      // Of quotas it knows those of VPC.
      "skip quotas",
      // It answers 500: it simulates no policies, and describes no document of sessions.
      "skip daemon's rights",
      "skip machines' role",
      "warn live logs",
    ]);
    expect(code).toBe(0);
  });

  it("plans with the types that the daemon has read, and says how old prices are, here and of what ran", async () => {
    const { jobs, prices } = JSON.parse(await errand("plan", "bundle", "prepare", "--json"));
    expect(jobs[0].zones).toHaveLength(3);
    expect(prices).toMatchObject({ region: REGION, isLive: false, pricedOn: "2026-07-20" });
    const shown = await runTool(process.execPath, [main, "show", "latest"], {
      env: environment,
      cwd: folder,
    });
    expect(shown.stderr).toBe(
      "prices are of 2026-07-20: AWS's own of the day were not to be had\n",
    );
  });

  it("launches a job that names an image from that image", async () => {
    const [prepare, train] = machines.started.map(({ ImageId }) => ImageId);
    expect(train).toBe(await findImage());
    expect(prepare).not.toBe(train);
  });
});

/** One that moto has, and that no parameter names. */
async function findImage(): Promise<string> {
  const { Images = [] } = await clients.ec2.send(new DescribeImagesCommand({}));
  const ubuntu = Images.find(
    ({ Name = "", Architecture }) => /ubuntu/.test(Name) && Architecture === "x86_64",
  );
  if (!ubuntu?.ImageId) throw new Error("moto has no image of Ubuntu");
  return ubuntu.ImageId;
}

async function livingInstances(): Promise<readonly string[]> {
  const { Reservations = [] } = await clients.ec2.send(new DescribeInstancesCommand({}));
  const instances = Reservations.flatMap(({ Instances = [] }) => Instances);
  return instances.flatMap(({ InstanceId = "", State }) =>
    State?.Name === "terminated" ? [] : InstanceId,
  );
}

/** How many types the daemon has read and kept in the bucket. moto tells types, and has no Price List. */
async function keptTypes(Bucket: string): Promise<number> {
  const input = { Bucket, Key: `catalog/${REGION}.json` };
  const { Body } = await clients.s3.send(new GetObjectCommand(input));
  const { types, prices } = JSON.parse((await Body?.transformToString()) ?? "");
  expect(prices).toBeUndefined();
  return types.length;
}

/** Each machine was launched as the rights of the template ask for. */
async function expectLaunched(config: ReturnType<typeof parseConfig>): Promise<void> {
  for (const instance of machines.started) {
    const tags = Object.fromEntries((instance.Tags ?? []).map(({ Key, Value }) => [Key, Value]));
    expect(tags["errand:daemon"]).toBe(config.installation);
    expect(config.subnets.map(({ subnetId }) => subnetId)).toContain(instance.SubnetId);
    expect(config.securityGroupIds).toEqual(instance.SecurityGroups?.map(({ GroupId }) => GroupId));
    expect(instance.IamInstanceProfile?.Arn).toContain(config.instanceProfile);
  }
  const errandJson = await clients.s3.send(
    new GetObjectCommand({ Bucket: config.bucket, Key: "errand.json" }),
  );
  const { installation } = JSON.parse((await errandJson.Body?.transformToString()) ?? "");
  expect(installation).toBe(config.installation);
}

async function messagesIn(QueueUrl: string): Promise<string> {
  const { Attributes = {} } = await clients.sqs.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }),
  );
  const { ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible } = Attributes;
  return `${ApproximateNumberOfMessages} ${ApproximateNumberOfMessagesNotVisible}`;
}
