/**
 * What an instance costs an hour: on-demand Linux list prices of us-east-1, as AWS published them in July 2026.
 * Almost every family is priced by the vCPU, so one figure a family is enough; the rest is listed by type. Other
 * regions cost up to a half more: there these figures are shown as estimates.
 */
import type { InstanceType } from "../core/offers.ts";
import { familyOf } from "../core/requirements.ts";
import { diskGibMonthUsd } from "./disk-prices.ts";

/** Where prices come from, so that the live Price List can take the table's place. */
export type Prices = {
  /** US dollars; undefined where no price is known. */
  readonly hourlyUsd: (type: InstanceType, region: string) => number | undefined;
  /** Of a gp3 disk, US dollars for a GiB a month. */
  readonly diskGibMonthUsd: (region: string) => number;
  /** True when these are not the region's own. */
  readonly isEstimate: (region: string) => boolean;
  /** YYYY-MM-DD. */
  readonly pricedOn: string;
};

const TABLE_REGION = "us-east-1";

export const listPrices: Prices = {
  hourlyUsd: ({ name, vcpus, isBareMetal }) => {
    // Bare metal may cost more than its vCPUs, and is never chosen.
    if (isBareMetal) return undefined;
    const listed = typePrices.get(name);
    if (listed !== undefined) return listed;
    const largeUsd = familyPrices.get(familyOf({ name }));
    return largeUsd === undefined ? undefined : rounded((largeUsd * vcpus) / 2);
  },
  diskGibMonthUsd,
  isEstimate: (region) => region !== TABLE_REGION,
  pricedOn: "2026-07-20",
};

/** To AWS's own five digits, so that no 0.30000000000000004 is shown. */
const rounded = (usd: number): number => Math.round(usd * 1e5) / 1e5;

/** US dollars an hour for 2 vCPUs: the price of the family's `large`, where it has one. */
const familyPrices = parsePrices(`
  a1 .051
  c5 .085  c5a .077  c5ad .086  c5d .096  c5n .108
  c6a .0765  c6g .068  c6gd .0768  c6gn .0864  c6i .085  c6id .1008  c6in .1134
  c7a .10264  c7g .0725  c7gd .0907  c7gn .1248  c7i .08925  c7i-flex .08479
  c8a .10777  c8g .07976  c8gb .1185  c8gd .09798  c8gn .1185  c8i .09371  c8i-flex .08902
  c8ib .13608  c8id .11088  c8in .13608  c8ine .1701
  m5 .096  m5a .086  m5ad .103  m5d .113  m5dn .136  m5n .119  m5zn .1652
  m6a .0864  m6g .077  m6gd .0904  m6i .096  m6id .11865  m6idn .15912  m6in .13923
  m7a .11592  m7g .0816  m7gd .1068  m7i .1008  m7i-flex .09576
  m8a .12172  m8azn .20646  m8g .08976  m8gb .1455  m8gd .11532  m8gn .1455  m8i .10584  m8i-flex .10055
  m8ib .16708  m8id .13052  m8in .16708  m8ine .20885
  r5 .126  r5a .113  r5ad .131  r5b .149  r5d .144  r5dn .167  r5n .149
  r6a .1134  r6g .1008  r6gd .1152  r6i .126  r6id .1512  r6idn .19539  r6in .17433
  r7a .15215  r7g .1071  r7gd .1361  r7i .1323  r7iz .186
  r8a .15976  r8g .11782  r8gb .18218  r8gd .14696  r8gn .18218  r8i .13892  r8i-flex .13197
  r8ib .2092  r8id .16632  r8in .2092
  x2gd .167  x2idn .20841  x2iedn .41681  x2iezn .417  x8g .1954  x8i .21883  z1d .186
  d3 .2497  d3en .2629  i3en .226  i4g .15444  i4i .1716  i7i .18876  i7ie .2599  i8g .1716  i8ge .2373
  im4gn .1819  is4gen .28815
  t3 .0832  t3a .0752  t4g .0672
  dl1 .2731  f2 .165  p6-b200 1.1868  p6-b300 1.4835  trn1 .33594  trn1n .38719  vt1 .10833
  u-3tb1 .24375  u7i-12tb .28032  u7i-6tb .28031  u7i-8tb .37375
  u7in-16tb .40285  u7in-24tb .60431  u7in-32tb .80577
`);

/** Sizes that are not priced by the vCPU: a GPU or a disk costs more than the vCPUs around it. */
const typePrices = parsePrices(`
  t3.nano .0052  t3.micro .0104  t3.small .0208  t3.medium .0416
  t3a.nano .0047  t3a.micro .0094  t3a.small .0188  t3a.medium .0376
  t4g.nano .0042  t4g.micro .0084  t4g.small .0168  t4g.medium .0336
  g4ad.xlarge .37853  g4ad.2xlarge .54117  g4ad.4xlarge .867  g4ad.8xlarge 1.734  g4ad.16xlarge 3.468
  g4dn.xlarge .526  g4dn.2xlarge .752  g4dn.4xlarge 1.204  g4dn.8xlarge 2.176  g4dn.12xlarge 3.912  g4dn.16xlarge 4.352
  g5.xlarge 1.006  g5.2xlarge 1.212  g5.4xlarge 1.624  g5.8xlarge 2.448  g5.12xlarge 5.672  g5.16xlarge 4.096
  g5.24xlarge 8.144  g5.48xlarge 16.288
  g5g.xlarge .42  g5g.2xlarge .556  g5g.4xlarge .828  g5g.8xlarge 1.372  g5g.16xlarge 2.744
  g6.xlarge .8048  g6.2xlarge .9776  g6.4xlarge 1.3232  g6.8xlarge 2.0144  g6.12xlarge 4.6016  g6.16xlarge 3.3968
  g6.24xlarge 6.6752  g6.48xlarge 13.3504
  g6e.xlarge 1.861  g6e.2xlarge 2.24208  g6e.4xlarge 3.00424  g6e.8xlarge 4.52856  g6e.12xlarge 10.49264
  g6e.16xlarge 7.57719  g6e.24xlarge 15.06559  g6e.48xlarge 30.13118
  g6f.large .202  g6f.xlarge .2375  g6f.2xlarge .475  g6f.4xlarge .95  gr6f.4xlarge 1.066
  gr6.4xlarge 1.5392  gr6.8xlarge 2.4464
  g7e.2xlarge 3.36312  g7e.4xlarge 3.99816  g7e.8xlarge 5.26824  g7e.12xlarge 8.28608  g7e.24xlarge 16.57216
  g7e.48xlarge 33.14432
  p3dn.24xlarge 31.212  p4d.24xlarge 21.95764  p4de.24xlarge 27.44705
  p5.4xlarge 6.88  p5.48xlarge 55.04  p5en.48xlarge 63.296
  hpc7g.4xlarge 1.6832  hpc7g.8xlarge 1.6832  hpc7g.16xlarge 1.6832
  inf1.xlarge .228  inf1.2xlarge .362  inf1.6xlarge 1.18  inf1.24xlarge 4.721
  inf2.xlarge .7582  inf2.8xlarge 1.96786  inf2.24xlarge 6.49063  inf2.48xlarge 12.98127
  u-6tb1.56xlarge 46.40391  u-6tb1.112xlarge 54.6
  x8i.96xlarge 48.74438
`);

function parsePrices(table: string): ReadonlyMap<string, number> {
  const words = table.trim().split(/\s+/);
  const prices = new Map<string, number>();
  for (let index = 0; index < words.length; index += 2) {
    prices.set(words[index] ?? "", Number(words[index + 1]));
  }
  return prices;
}
