/** Endpoints in each partition of AWS, against what its General Reference lists. Nothing here has been asked of AWS. */
import { spawnSync } from "node:child_process";
import { EC2Client } from "@aws-sdk/client-ec2";
import { PricingClient } from "@aws-sdk/client-pricing";
import { S3Client } from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { pricingRegionOf } from "../../../src/aws/pricing-region.ts";

/** The region, what all its hosts end in, and the Price List that is asked for it. */
const RECORDED = [
  ["us-east-1", "amazonaws.com", "api.pricing.us-east-1.amazonaws.com"],
  ["us-west-2", "amazonaws.com", "api.pricing.us-east-1.amazonaws.com"],
  ["ca-central-1", "amazonaws.com", "api.pricing.us-east-1.amazonaws.com"],
  ["sa-east-1", "amazonaws.com", "api.pricing.us-east-1.amazonaws.com"],
  ["eu-west-3", "amazonaws.com", "api.pricing.eu-central-1.amazonaws.com"],
  ["me-central-1", "amazonaws.com", "api.pricing.eu-central-1.amazonaws.com"],
  ["ap-northeast-1", "amazonaws.com", "api.pricing.ap-south-1.amazonaws.com"],
  ["cn-north-1", "amazonaws.com.cn", "api.pricing.cn-northwest-1.amazonaws.com.cn"],
  ["cn-northwest-1", "amazonaws.com.cn", "api.pricing.cn-northwest-1.amazonaws.com.cn"],
  ["us-gov-west-1", "amazonaws.com", undefined],
  ["us-gov-east-1", "amazonaws.com", undefined],
] as const;

type Client = { readonly config: { readonly endpointProvider: unknown } };

/** As the SDK would ask there. */
function hostOf({ config }: Client, Region: string): string {
  const provider = config.endpointProvider as (parameters: object) => { url: URL };
  return provider({ Region, UseFIPS: false, UseDualStack: false }).url.hostname;
}

test.each(RECORDED)("%s: hosts end in %s, prices are at %s", (region, suffix, pricingHost) => {
  expect(hostOf(new EC2Client({ region }), region)).toBe(`ec2.${region}.${suffix}`);
  expect(hostOf(new S3Client({ region }), region)).toBe(`s3.${region}.${suffix}`);
  const asked = pricingRegionOf(region);
  expect(asked && hostOf(new PricingClient({ region: asked }), asked)).toBe(pricingHost);
});

test("the runner, which has no SDK, asks the same hosts of S3", () => {
  const program = [
    "import sys; sys.path.insert(0, 'src/runner'); import boot",
    "for region in sys.argv[1:]: print(boot.S3('my-bucket', region, '', None).endpoint.netloc)",
  ].join("\n");
  const regions = RECORDED.map(([region]) => region);
  const cwd = new URL("../../..", import.meta.url);
  const env = { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1" };
  const { stdout } = spawnSync("python3", ["-c", program, ...regions], { cwd, env });
  expect(stdout.toString().trim().split("\n")).toEqual(
    RECORDED.map(([region, suffix]) => `my-bucket.s3.${region}.${suffix}`),
  );
});
