/** The real user-data on a machine of the local cloud, up to the order that it does not find. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bootstrapScript, renderUserData } from "../../src/aws/user-data.ts";
import { listSurvivors } from "../../src/local/survivors.ts";
import { type LocalEc2, startLocalEc2 } from "../support/local-ec2.ts";
import { describeInstance, launch, waitForFile, waitForState } from "../support/machine.ts";

let folder: string;
let cloud: LocalEc2;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-bootstrap-"));
  cloud = await startLocalEc2({ folder });
});

afterEach(async () => {
  await cloud.stop();
  await rm(folder, { recursive: true, force: true });
});

it("a machine whose runner is killed before it has an order powers off at once, not at its boot cap", async () => {
  const header = { bucket: "errand-test", region: "us-east-1", token: "t1" };
  // Nobody listens there, and the runner asks for five minutes.
  const userData = renderUserData(
    { ...header, endpoint: "http://127.0.0.1:1" },
    bootstrapScript().script,
  );
  const [id = ""] = await launch(cloud.ec2, userData);
  await waitForState(cloud.ec2, id, "running");
  const pid = Number(await waitForFile(join(folder, "instances", id, "flags/started")));
  await waitForFile(join(folder, "instances", id, "disk/var/lib/errand/boot.py"));
  expect((await describeInstance(cloud.ec2, id))?.State?.Name).toBe("running");
  process.kill(pid, "SIGKILL");
  const instance = await waitForState(cloud.ec2, id, "terminated");
  expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
  expect(await listSurvivors(folder)).toEqual([]);
});
