/** Instances under torture: each acknowledged one is there and alive, or honestly terminated, and ran its user-data once. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DescribeInstancesCommand,
  type Instance,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import type { Random } from "../simulation/random.ts";
import { isAlive, launch } from "./machine.ts";
import { type Actor, type Clients, check } from "./torture.ts";

type Launch = {
  readonly token: string;
  readonly size: number;
  /** Empty until the call was answered. */
  ids: readonly string[];
  isEndAsked: boolean;
  isEndAnswered: boolean;
};

const LIVING_MAX = 4;

/** Machines write into `folder`, a line for each time their user-data begins. */
export function makeEc2Actor(
  folder: string,
  random: Random,
): Actor & {
  /** The pids of all machines that ever ran. */
  listPids(): Promise<readonly number[]>;
} {
  const launches: Launch[] = [];
  let tokens = 0;

  const userDataOf = (token: string): string =>
    ["#!/bin/bash", `echo $$ >>'${join(folder, token)}'`, "sleep 600", ""].join("\n");

  const callLaunch = (clients: Clients, { token, size }: Launch): Promise<readonly string[]> =>
    launch(clients.ec2, userDataOf(token), {
      ClientToken: token,
      MinCount: size,
      MaxCount: size,
    });

  async function begin(clients: Clients): Promise<void> {
    tokens += 1;
    const token = `torture-${tokens}`;
    const size = random.between(1, 2);
    const one: Launch = { token, size, ids: [], isEndAsked: false, isEndAnswered: false };
    launches.push(one);
    one.ids = await callLaunch(clients, one);
  }

  async function end({ ec2 }: Clients, one: Launch): Promise<void> {
    one.isEndAsked = true;
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [...one.ids] }));
    one.isEndAnswered = true;
  }

  const readPids = async (token: string): Promise<readonly number[]> => {
    const text = await readFile(join(folder, token), "utf8").catch(() => "");
    return text.split("\n").filter(Boolean).map(Number);
  };

  async function verifyLaunch(clients: Clients, one: Launch): Promise<void> {
    const found = await listOf(clients, one.token);
    check(found.length === one.size || (found.length === 0 && one.ids.length === 0), () => {
      return `${one.token} has ${found.length} instances, not ${one.size}`;
    });
    const ids = found.map(({ InstanceId = "" }) => InstanceId);
    const lost = one.ids.find((id) => !ids.includes(id));
    check(lost === undefined, () => `an acknowledged instance is not listed: ${lost}`);
    for (const instance of found) verifyInstance(one, instance);
    const pids = await readPids(one.token);
    check(pids.length <= one.size, () => `${one.token} ran ${pids.length} times, not ${one.size}`);
    // A call that was not answered is repeated, as the daemon does, and makes no second machine.
    if (one.ids.length === 0 && !one.isEndAsked) one.ids = await callLaunch(clients, one);
  }

  return {
    async act(clients) {
      await sleep(random.between(0, 40));
      const living = launches.filter((each) => each.ids.length > 0 && !each.isEndAsked);
      const [oldest] = living;
      if (oldest && (living.length >= LIVING_MAX || random.chance(0.4))) await end(clients, oldest);
      else await begin(clients);
    },
    async verify(clients) {
      for (const one of launches) await verifyLaunch(clients, one);
      for (const one of launches.filter((each) => each.isEndAsked && !each.isEndAnswered)) {
        await end(clients, one);
      }
      for (const one of launches.filter((each) => !each.isEndAsked)) {
        await waitUntilRunning(clients, one, () => readPids(one.token));
      }
    },
    async listPids() {
      return (await Promise.all(launches.map(({ token }) => readPids(token)))).flat();
    },
  };
}

async function listOf({ ec2 }: Clients, token: string): Promise<readonly Instance[]> {
  const Filters = [{ Name: "client-token", Values: [token] }];
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters }));
  return Reservations.flatMap(({ Instances = [] }) => Instances);
}

function verifyInstance(one: Launch, { InstanceId, State, StateReason }: Instance): void {
  const isLiving = State?.Name === "pending" || State?.Name === "running";
  if (one.isEndAnswered) {
    check(!isLiving, () => `${InstanceId} was terminated, and is ${State?.Name}`);
  } else if (!one.isEndAsked) {
    const why = StateReason?.Message;
    check(isLiving, () => `${InstanceId} is ${State?.Name} for no reason of ours: ${why}`);
  }
}

const LOOKS_MAX = 300;

/** Those that should live have begun, once each, and do live. */
async function waitUntilRunning(
  clients: Clients,
  one: Launch,
  readPids: () => Promise<readonly number[]>,
): Promise<void> {
  for (let look = 0; look < LOOKS_MAX; look += 1) {
    const states = (await listOf(clients, one.token)).map(({ State }) => State?.Name);
    const pids = await readPids();
    const isThere = states.every((state) => state === "running") && pids.length === one.size;
    if (isThere && pids.every(isAlive)) return;
    await sleep(50);
  }
  const states = (await listOf(clients, one.token)).map(({ State }) => State?.Name);
  const pids = (await readPids()).map((pid) => `${pid} ${isAlive(pid) ? "lives" : "is dead"}`);
  check(false, () => `${one.token} is ${states.join(", ")}; its machines: ${pids.join(", ")}`);
}
