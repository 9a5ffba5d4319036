/** What EC2 and SSM of the local cloud do not let pass, through the AWS SDK over the wire: rates, and instances not listed yet. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateTagsCommand,
  DescribeInstancesCommand,
  GetConsoleOutputCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { GetParameterCommand } from "@aws-sdk/client-ssm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LocalEc2, type LocalEc2Options, startLocalEc2 } from "../support/local-ec2.ts";
import { launch } from "../support/machine.ts";
import { refusalOf } from "../support/test-cloud.ts";

let folder: string;
let cloud: LocalEc2;
let now: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-limits-"));
  now = Date.now();
});

afterEach(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<LocalEc2Options>): Promise<void> {
  cloud = await startLocalEc2({ folder, now: () => now, ...options });
}

const NOTHING = "#!/bin/sh\n";

describe("rates", () => {
  it("the sixth launch of a burst is refused with 503, and two a second pass after it", async () => {
    await start({ throttling: true });
    for (let count = 0; count < 5; count += 1) await launch(cloud.ec2, NOTHING);
    await expect(launch(cloud.ec2, NOTHING)).rejects.toMatchObject({
      name: "RequestLimitExceeded",
      $metadata: { httpStatusCode: 503 },
    });
    now += 1_000;
    await launch(cloud.ec2, NOTHING);
    await launch(cloud.ec2, NOTHING);
    expect(await refusalOf(launch(cloud.ec2, NOTHING))).toBe("RequestLimitExceeded");
  });

  it("a launch that is refused for its rate is not made: its token is free", async () => {
    await start({ throttling: true });
    for (let count = 0; count < 5; count += 1) await launch(cloud.ec2, NOTHING);
    const ClientToken = "later";
    expect(await refusalOf(launch(cloud.ec2, NOTHING, { ClientToken }))).toBe(
      "RequestLimitExceeded",
    );
    now += 500;
    const ids = await launch(cloud.ec2, NOTHING, { ClientToken });
    const Filters = [{ Name: "client-token", Values: [ClientToken] }];
    const { Reservations = [] } = await cloud.ec2.send(new DescribeInstancesCommand({ Filters }));
    expect(Reservations.flatMap(({ Instances = [] }) => Instances)).toHaveLength(ids.length);
  });

  it("a dry run costs a token as well", async () => {
    await start({ throttling: true });
    for (let count = 0; count < 5; count += 1) {
      expect(await refusalOf(launch(cloud.ec2, NOTHING, { DryRun: true }))).toBe("DryRunOperation");
    }
    expect(await refusalOf(launch(cloud.ec2, NOTHING))).toBe("RequestLimitExceeded");
  });

  it("instances listed without a filter have a smaller bucket than those listed with one", async () => {
    await start({ throttling: true });
    const all = () => cloud.ec2.send(new DescribeInstancesCommand({}));
    await Promise.all(Array.from({ length: 50 }, all));
    expect(await refusalOf(all())).toBe("RequestLimitExceeded");
    const Filters = [{ Name: "instance-state-name", Values: ["running"] }];
    await Promise.all(
      Array.from({ length: 100 }, () => cloud.ec2.send(new DescribeInstancesCommand({ Filters }))),
    );
  });

  it("parameters are read forty times a second", async () => {
    await start({ throttling: true });
    const read = () => refusalOf(cloud.ssm.send(new GetParameterCommand({ Name: "/none" })));
    const answers = await Promise.all(Array.from({ length: 60 }, read));
    expect(answers.filter((name) => name === "ParameterNotFound")).toHaveLength(40);
    expect(answers.filter((name) => name === "ThrottlingException")).toHaveLength(20);
  });

  it("nothing is refused when throttling is off", async () => {
    await start({ throttling: false });
    for (let count = 0; count < 8; count += 1) await launch(cloud.ec2, NOTHING);
  });
});

it("an instance that is not listed yet is not found by its id either, and is both a moment later", async () => {
  await start({ listingLagMs: 3_000 });
  const [id = ""] = await launch(cloud.ec2, NOTHING);
  const list = () => cloud.ec2.send(new DescribeInstancesCommand({}));
  const InstanceIds = [id];
  const Tags = [{ Key: "a", Value: "b" }];
  const byId = [
    () => cloud.ec2.send(new DescribeInstancesCommand({ InstanceIds })),
    () => cloud.ec2.send(new CreateTagsCommand({ Resources: InstanceIds, Tags })),
    () => cloud.ec2.send(new GetConsoleOutputCommand({ InstanceId: id })),
    () => cloud.ec2.send(new TerminateInstancesCommand({ InstanceIds })),
  ];
  expect((await list()).Reservations ?? []).toEqual([]);
  for (const call of byId) expect(await refusalOf(call())).toBe("InvalidInstanceID.NotFound");
  now += 3_000;
  expect((await list()).Reservations).toHaveLength(1);
  for (const call of byId) await call();
});
