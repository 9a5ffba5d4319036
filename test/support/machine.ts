/** Machines of the local cloud that tests launch, and what they see of them. */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import {
  DescribeInstancesCommand,
  type EC2Client,
  type Instance,
  RunInstancesCommand,
  type RunInstancesCommandInput,
} from "@aws-sdk/client-ec2";
import { expect, vi } from "vitest";

/** What is waited for comes at once on an idle machine, and later on a busy one. */
export const WAIT = { timeout: 15_000, interval: 20 };

/** Returns the ids by launch index. */
export async function launch(
  ec2: EC2Client,
  userData: string,
  more: Partial<RunInstancesCommandInput> = {},
): Promise<string[]> {
  const { Instances = [] } = await ec2.send(
    new RunInstancesCommand({
      ImageId: "ami-0a120230000000010",
      InstanceType: "m5.large",
      MinCount: 1,
      MaxCount: 1,
      InstanceInitiatedShutdownBehavior: "terminate",
      UserData: Buffer.from(userData).toString("base64"),
      ...more,
    }),
  );
  return Instances.map(({ InstanceId = "" }) => InstanceId);
}

export async function describeInstance(ec2: EC2Client, id: string): Promise<Instance | undefined> {
  const answer = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }));
  return answer.Reservations?.[0]?.Instances?.[0];
}

export const waitForState = (ec2: EC2Client, id: string, state: string): Promise<Instance> =>
  vi.waitFor(async () => {
    const instance = await describeInstance(ec2, id);
    expect(instance?.State?.Name).toBe(state);
    return instance as Instance;
  }, WAIT);

/** What a machine has written there, once it ends with a newline. */
export const waitForFile = (path: string): Promise<string> =>
  vi.waitFor(async () => {
    const text = await readFile(path, "utf8");
    expect(text.endsWith("\n")).toBe(true);
    return text.trimEnd();
  }, WAIT);

/** A zombie has ended; where there is no /proc, it is taken for living until somebody reaps it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = existsSync("/proc/self/stat")
      ? readFileSync(`/proc/${pid}/stat`, "latin1")
      : ") R";
    return !/\) [ZX]/.test(stat);
  } catch {
    return false;
  }
}

export const waitForEnd = (pid: number): Promise<void> =>
  vi.waitFor(() => expect(isAlive(pid)).toBe(false), WAIT);
