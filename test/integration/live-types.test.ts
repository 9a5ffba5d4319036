/** Types as the local cloud tells them to a daemon that takes it for AWS, by its endpoint. */
import { EC2Client } from "@aws-sdk/client-ec2";
import { expect, test } from "vitest";
import { readLiveTypes } from "../../src/aws/live-types.ts";
import { readLocalTypes } from "../../src/cli/local-types.ts";
import { startTestCloud } from "../support/test-cloud.ts";

test("an endpoint that is not AWS tells types, and is asked for no prices and not complained of", async () => {
  const instanceTypes = await readLocalTypes();
  const { cloud, dispose } = await startTestCloud({ instanceTypes });
  const { endpoint, region, accessKeyId, secretAccessKey } = cloud;
  const where = { endpoint, region, credentials: { accessKeyId, secretAccessKey } };
  const ec2 = new EC2Client(where);
  const complaints: unknown[] = [];
  const onComplaint = (error: unknown) => complaints.push(error);
  try {
    const live = await readLiveTypes(ec2, where, { now: () => 5, onComplaint });
    expect(live.types.length).toBeGreaterThan(500);
    expect(live).not.toHaveProperty("prices");
    expect(complaints).toEqual([]);
  } finally {
    ec2.destroy();
    await dispose();
  }
});
