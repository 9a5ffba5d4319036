/** Secrets and a role reach the job, and nothing else: not the bucket, the cloud's own files, any log or any answer. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmod, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { describe, expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, errandPath, runErrand, startErrand } from "../support/errand.ts";
import { isRoot, ORDINARY_USER } from "../support/sandbox-host.ts";

const users = isRoot ? [undefined, ORDINARY_USER] : [undefined];
const ROLE = "arn:aws:iam::000000000000:role/errand-training";
const CONFIG = `jobRoles:\n  training: ${ROLE}\n`;

const JOB = `
import hashlib, json, os, sys, time, urllib.request
values = {name: os.environ[name] for name in ("TOKEN", "PASSWORD")}
for value in values.values():
    print("this is", value, "it")
    print(value, file=sys.stderr)
    for letter in value:
        print(letter, end="", flush=True)
print()
ask = urllib.request.Request(
    os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
    headers={"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
)
keys = json.load(urllib.request.urlopen(ask, timeout=20))
print("keys", keys["SecretAccessKey"], keys["Token"])
os.mkdir("out")
with open("out/found.json", "w") as file:
    digests = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in values.items()}
    json.dump({**digests, "role": keys["RoleArn"], "region": os.environ["AWS_REGION"]}, file)
print("everything is out")
time.sleep(600)
`;

describe("secrets and a role", () => {
  it.each(users)(
    "reach the job and are in no file, log or answer, with the cloud of user %s",
    async (user) => {
      const [token, password] = [newSecret(), newSecret()];
      let log = "";
      const folder = await makeDirectory({ "errand.yaml": CONFIG });
      await chmod(folder, 0o755);
      const config = path.join(folder, "errand.yaml");
      const errand = await startErrand({
        config,
        words: ["--log-level", "debug"],
        onLog: (text) => {
          log += text;
        },
        ...(user === undefined ? {} : { user }),
      });
      putSecret(errand, "/errand/token", `${token}\n`);
      putSecret(errand, "errand/db", JSON.stringify({ password }));
      const directory = await makeDirectory({
        ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: python
    python_script: train.py
    role: training
    environment: {TOKEN: {ssm: /errand/token}, PASSWORD: {secret: errand/db, key: password}}
    artifacts: [out]
`,
        "train.py": JOB,
      });

      const following = errand.start("submit", directory);
      await following.said(/everything is out/);
      const instances = await describeInstances(errand);
      const during = await grep(errand.data, [token, password]);
      await errand.run("cancel", "latest");
      const told = await following.finished;
      const view = await errand.until("its end", ({ finishedAt }) => finishedAt !== null);

      const logs = await errand.run("logs", "latest");
      const answers = [told.stdout, told.stderr, logs.stdout, JSON.stringify(view), instances, log];
      expect(during.holders).toEqual([]);
      expect(during.names).toEqual(expect.arrayContaining(["user-data", "console.log", "journal"]));
      expect(instances).toContain("errand:launch");
      expect((await grep(errand.data, [token, password])).holders).toEqual([]);
      for (const answer of answers) {
        expect(answer).not.toContain(token);
        expect(answer).not.toContain(password);
      }
      expect(logs.stdout.match(/this is \*\*\* it/g)).toHaveLength(2);
      expect(logs.stdout).toContain("keys *** ***");
      expect(log).toContain("instances launched");

      const into = await makeDirectory();
      await errand.run("artifacts", "latest", "--download", into);
      expect(JSON.parse(await readFile(path.join(into, "train/out/found.json"), "utf8"))).toEqual({
        TOKEN: sha256(token),
        PASSWORD: sha256(password),
        role: ROLE,
        region: "us-east-1",
      });
    },
  );

  it("that are not there fail the job with the names of variable and parameter", async () => {
    const errand = await startErrand();
    const directory = await makeDirectory({
      ".dstack/workflows.yaml":
        "workflows:\n  - {name: a, provider: python, python_script: a.py, environment: {TOKEN: {ssm: /errand/none}}}\n",
      "a.py": "",
    });
    const { code, stdout } = await errand.run("submit", directory);
    expect(code).toBe(1);
    expect(stdout).toContain("TOKEN: there is no parameter /errand/none in us-east-1");
  });

  it("a role that the operator does not list is refused by check", async () => {
    const config = path.join(await makeDirectory({ "errand.yaml": CONFIG }), "errand.yaml");
    const errand = await startErrand({ config });
    const directory = await makeDirectory({
      ".dstack/workflows.yaml":
        "workflows:\n  - {name: a, provider: python, python_script: a.py, role: admin}\n",
      "a.py": "",
    });
    // The command has no configuration: the list is the daemon's.
    const { code, stdout } = await runErrand("check", directory, "--local", "--data", errand.data);
    expect(code).toBe(2);
    expect(stdout).toContain('there is no role "admin" for jobs; known roles: training');
  });
});

const newSecret = (): string => `Sec-${randomBytes(12).toString("hex")}+/ü"'$`;
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

function putSecret({ data }: Errand, name: string, input: string): void {
  const words = [errandPath, "local", "secret", "put", name, "--data", data];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { input });
  if (status !== 0) throw new Error(`putting ${name}: ${stderr}`);
  expect(`${stdout}`).toBe(`kept ${name}\n`);
}

/** With its tags. */
async function describeInstances({ data }: Errand): Promise<string> {
  const note = JSON.parse(await readFile(path.join(data, "local.json"), "utf8"));
  const ec2 = new EC2Client({ endpoint: note.endpoint, region: note.region, credentials: note });
  const described = await ec2.send(new DescribeInstancesCommand({}));
  ec2.destroy();
  return JSON.stringify(described.Reservations);
}

/** Files of the data directory that hold one of the texts: the bucket, the queue, the instances and their disks; and all names. */
async function grep(folder: string, texts: readonly string[]) {
  const [holders, names]: [string[], string[]] = [[], []];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    // Machines share packages and interpreters there: large, and fetched before any secret.
    if (!entry.isFile() || file.includes("/cache/")) continue;
    const body = await readFile(file).catch(() => Buffer.alloc(0));
    names.push(entry.name);
    if (texts.some((text) => body.includes(text) || file.includes(text))) holders.push(file);
  }
  return { holders, names };
}
