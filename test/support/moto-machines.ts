/**
 * moto keeps instances as rows in a table and runs none of them. This runs them: the user-data of each as a process of this host,
 * with instance metadata of its own on loopback, until it powers off or is terminated. It knows nothing of Errand but what the user-data
 * says, and it isolates nothing: only for user-data that a test has brought about.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DescribeInstanceAttributeCommand,
  DescribeInstancesCommand,
  type EC2Client,
  type Instance,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";

export type MotoMachines = {
  /** All that were started, in order, as EC2 described them then. */
  readonly started: readonly Instance[];
  /** What a machine has printed. */
  readonly console: (instanceId: string) => Promise<string>;
  /** Ends them all. */
  readonly stop: () => Promise<void>;
};

const LOOK_MS = 200;

/** `folder` is for the machines' files. */
export function startMotoMachines(ec2: EC2Client, folder: string): MotoMachines {
  const machines = new Map<string, Machine>();
  const started: Instance[] = [];
  const stopping = new AbortController();

  async function look(): Promise<void> {
    for (const instance of await describeAll(ec2)) {
      const { InstanceId: id = "", State: state, IamInstanceProfile: profile } = instance;
      const machine = machines.get(id);
      // moto lists an instance a moment before it gives it its profile.
      if (state?.Name === "running" && profile && !machine) {
        started.push(instance);
        machines.set(id, await startMachine(ec2, instance, join(folder, id)));
      } else if (state?.Name === "terminated") {
        machine?.kill();
      }
    }
  }

  const looking = (async () => {
    while (!stopping.signal.aborted) {
      // What went wrong is shown, and the next look is the next try.
      await look().catch((error: unknown) => process.stderr.write(`machines on moto: ${error}\n`));
      await sleep(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
  })();
  return {
    started,
    console: (id) => readFile(join(folder, id, "console"), "utf8"),
    stop: async () => {
      stopping.abort();
      await looking;
      for (const machine of machines.values()) machine.kill();
      await Promise.all([...machines.values()].map(({ ended }) => ended));
    },
  };
}

async function describeAll(ec2: EC2Client): Promise<readonly Instance[]> {
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({}));
  return Reservations.flatMap(({ Instances = [] }) => Instances);
}

type Machine = { readonly ended: Promise<void>; readonly kill: () => void };

async function startMachine(ec2: EC2Client, instance: Instance, folder: string): Promise<Machine> {
  const id = instance.InstanceId ?? "";
  const commands = join(folder, "bin");
  await mkdir(commands, { recursive: true });
  const off = join(folder, "powered-off");
  // What `shutdown` is to a machine: it answers at once, and then there is no machine any more.
  await writeFile(
    join(commands, "shutdown"),
    `#!/bin/sh\n: >${off}\nkill -TERM -$ERRAND_TEST_GROUP\n`,
  );
  await chmod(join(commands, "shutdown"), 0o755);
  await writeFile(join(folder, "user-data"), await readUserData(ec2, id));
  const metadata = await startMetadata(instance);
  const output = await open(join(folder, "console"), "w");
  const child = spawn(
    "bash",
    ["-c", 'export ERRAND_TEST_GROUP=$$; exec bash "$0"', join(folder, "user-data")],
    {
      cwd: folder,
      // A group of its own, which ends as one.
      detached: true,
      env: {
        PATH: `${commands}:${process.env.PATH}`,
        HOME: folder,
        TMPDIR: folder,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.endpoint,
        UV_OFFLINE: "1",
      },
      stdio: ["ignore", output.fd, output.fd],
    },
  );
  const kill = () => killGroup(child);
  const ended = once(child, "exit").then(async () => {
    kill();
    metadata.server.close();
    await output.close();
    // As InstanceInitiatedShutdownBehavior says, and as a machine whose user-data dies would not: that one waits for its cap.
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
  });
  return { ended, kill };
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

async function readUserData(ec2: EC2Client, InstanceId: string): Promise<Buffer> {
  const { UserData } = await ec2.send(
    new DescribeInstanceAttributeCommand({ InstanceId, Attribute: "userData" }),
  );
  return Buffer.from(UserData?.Value ?? "", "base64");
}

/** IMDSv2, with what the instance's row says. */
async function startMetadata(
  instance: Instance,
): Promise<{ readonly server: Server; readonly endpoint: string }> {
  const role = instance.IamInstanceProfile?.Arn?.split("/").at(-1) ?? "";
  const token = `token-of-${instance.InstanceId}`;
  const facts: Readonly<Record<string, string | undefined>> = {
    "instance-id": instance.InstanceId,
    "instance-type": instance.InstanceType,
    "ami-id": instance.ImageId,
    "ami-launch-index": String(instance.AmiLaunchIndex ?? 0),
    "placement/availability-zone": instance.Placement?.AvailabilityZone,
    "iam/security-credentials/": role,
    [`iam/security-credentials/${role}`]: JSON.stringify({
      ...{ Code: "Success", AccessKeyId: "moto", SecretAccessKey: "moto", Token: "moto" },
      Expiration: new Date(Date.now() + 6 * 3_600_000).toISOString(),
    }),
  };
  const server = createServer((request, response) => {
    const answer = (status: number, text = "") => response.writeHead(status).end(text);
    const { method, url = "", headers } = request;
    if (method === "PUT" && url === "/latest/api/token") return answer(200, token);
    if (headers["x-aws-ec2-metadata-token"] !== token) return answer(401);
    const fact = facts[url.replace(/^\/latest\/meta-data\//, "")];
    return fact === undefined ? answer(404) : answer(200, fact);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
