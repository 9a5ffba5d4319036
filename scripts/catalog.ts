/**
 * `npm run catalog`: reads instance types, and the regions that offer them, from EC2 or from anything that
 * speaks its protocol, and writes the snapshot. The SDK's environment says whom to ask: AWS_ENDPOINT_URL,
 * AWS_REGION, credentials.
 *
 *   npm run catalog -- --regions us-east-1,eu-west-1 --source "EC2, read 2026-11-23"
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EC2Client } from "@aws-sdk/client-ec2";
import { describeInstanceTypes, describeOfferings } from "../src/aws/instance-types.ts";
import { formatInstanceTypes, formatOfferings } from "../src/aws/snapshot.ts";
import type { InstanceType } from "../src/core/offers.ts";

const { values } = parseArgs({
  options: {
    regions: { type: "string", default: process.env.AWS_REGION ?? "us-east-1" },
    source: { type: "string", default: `EC2, read ${new Date().toISOString().slice(0, 10)}` },
    out: { type: "string", default: "src/aws/snapshot" },
  },
});

const types = new Map<string, InstanceType>();
const offerings = new Map<string, ReadonlySet<string>>();
for (const region of values.regions.split(",")) {
  const ec2 = new EC2Client({ region });
  for (const type of await describeInstanceTypes(ec2)) types.set(type.name, type);
  offerings.set(region, (await describeOfferings(ec2, "region")).get(region) ?? new Set());
  console.error(`${region}: ${offerings.get(region)?.size} types`);
  ec2.destroy();
}
const sorted = [...types.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
await writeFile(
  join(values.out, "instance-types.csv"),
  formatInstanceTypes(
    sorted,
    `Instance types as DescribeInstanceTypes tells of them.\n${values.source}`,
  ),
);
await writeFile(
  join(values.out, "offerings.csv"),
  formatOfferings(
    offerings,
    `Regions that offer them, by DescribeInstanceTypeOfferings.\n${values.source}`,
  ),
);
