/**
 * What a gp3 disk costs: US dollars for a GB-month, of which AWS counts binary gigabytes and a share by the second.
 * List prices of 2026; a region that is not here is shown at the dearest of them.
 */

const usdByRegion: Readonly<Record<string, number>> = {
  "us-east-1": 0.08,
  "us-east-2": 0.08,
  "us-west-1": 0.096,
  "us-west-2": 0.08,
  "ca-central-1": 0.088,
  "eu-central-1": 0.0952,
  "eu-north-1": 0.0836,
  "eu-west-1": 0.088,
  "eu-west-2": 0.0928,
  "eu-west-3": 0.0928,
  "ap-northeast-1": 0.096,
  "ap-northeast-2": 0.0912,
  "ap-south-1": 0.0912,
  "ap-southeast-1": 0.096,
  "ap-southeast-2": 0.096,
  "sa-east-1": 0.152,
};

export const diskGibMonthUsd = (region: string): number =>
  usdByRegion[region] ?? Math.max(...Object.values(usdByRegion));
