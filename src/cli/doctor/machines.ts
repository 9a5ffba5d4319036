/** What machines are launched from, where, whether EC2 would launch one, and which are nobody's. */
import { tryLaunch } from "../../aws/probes.ts";
import { bootstrapScript } from "../../aws/user-data.ts";
import type { Launch } from "../../core/launches.ts";
import { type Catalog, isOffered } from "../../core/offers.ts";
import { QUOTA_GROUPS, QUOTA_TITLES, quotaGroupOf } from "../../core/quotas.ts";
import { readInstallation } from "../../daemon/installation.ts";
import { findOrphans } from "../../daemon/sweep.ts";
import type { Patient } from "./doctor.ts";
import { fail, type Outcome, pass, refusalOf, skip, warn } from "./finding.ts";

export async function checkImages({ cloud }: Patient): Promise<Outcome> {
  const { images } = await cloud.readCatalog();
  const named = images.map(
    ({ arch, hasGpuDriver, imageId }) => `${hasGpuDriver ? "gpu" : "cpu"} ${arch} ${imageId}`,
  );
  if (!images.some((each) => !each.hasGpuDriver)) {
    return fail("the region has no public image for CPU machines", "Set images.cpu.");
  }
  const hasGpu = images.some((each) => each.hasGpuDriver);
  return hasGpu
    ? pass(named.join(", "))
    : warn(`${named.join(", ")}; none for GPUs`, "Set images.gpu.");
}

export async function checkOffers({ cloud, config }: Patient): Promise<Outcome> {
  const { places, types } = await cloud.readCatalog();
  if (places.length === 0) {
    return fail(
      "there is no subnet to launch in: the region's default VPC has none",
      "Set `subnets`, or deploy the stack, which makes some.",
    );
  }
  const bare = places.filter(({ zone }) => !types.some((type) => isOffered(type, zone)));
  const zones = [...new Set(places.map(({ zone }) => zone))].join(", ");
  if (bare.length > 0) {
    const names = bare.map(({ subnetId, zone }) => `${subnetId} (${zone})`).join(", ");
    return warn(`EC2 offers no type that we know in ${names}`, "Check `subnets`.");
  }
  const gpus = types.filter(({ gpu }) => gpu !== undefined).length;
  const where = config.subnets.length > 0 ? "configured subnets" : "default subnets";
  return pass(`${types.length} types, ${gpus} of them with GPUs, in ${where} in ${zones}`);
}

/** Of the families that the region's subnets offer. */
export async function checkQuotas({ cloud }: Patient): Promise<Outcome> {
  const [quotas, { types }] = await Promise.all([cloud.readQuotas(), cloud.readCatalog()]);
  const known = QUOTA_GROUPS.filter((group) => quotas[group] !== undefined);
  if (known.length === 0) return skip("Service Quotas tells none; jobs wait when EC2 refuses");
  const detail = known.map((group) => `${QUOTA_TITLES[group]} ${quotas[group]}`).join(", ");
  const short = known.filter((group) => {
    const sizes = types.flatMap(({ name, vcpus }) => (quotaGroupOf(name) === group ? [vcpus] : []));
    return sizes.length > 0 && Math.min(...sizes) > (quotas[group] ?? 0);
  });
  if (short.length === 0) return pass(`vCPUs: ${detail}`);
  const names = short.map((group) => QUOTA_TITLES[group]).join(", ");
  return warn(
    `vCPUs: ${detail}; not one machine of ${names} fits`,
    "If jobs need them, ask AWS: Service Quotas, EC2, Running On-Demand instances.",
  );
}

/** A trial in each subnet, of the cheapest type there: subnets, image, profile, group and tags are all in it. */
export async function checkLaunch(patient: Patient): Promise<Outcome> {
  const { cloud, clients, store, token } = patient;
  const catalog = await cloud.readCatalog();
  const installation = (await readInstallation(store)) ?? patient.config.installation ?? token;
  const { script, sha256 } = bootstrapScript();
  const tried: string[] = [];
  for (const [index, place] of catalog.places.entries()) {
    const launch = trialLaunch(patient, { catalog, place, installation, sha256, index });
    if (!launch) continue;
    try {
      await tryLaunch(clients, launch, script);
    } catch (error) {
      const outcome = refusalOf(error);
      return { ...outcome, detail: `${place.subnetId}: ${outcome.detail}` };
    }
    tried.push(`${launch.input.instanceType} in ${place.zone}`);
  }
  return pass(`EC2 would launch ${tried.join(", ")}`);
}

type Trial = {
  readonly catalog: Catalog;
  readonly place: Catalog["places"][number];
  readonly installation: string;
  readonly sha256: string;
  readonly index: number;
};

function trialLaunch(
  { config, token }: Patient,
  { catalog, place, installation, sha256, index }: Trial,
): Launch | undefined {
  const image = catalog.images.find((each) => !each.hasGpuDriver);
  const [type] = catalog.types
    .filter((each) => isOffered(each, place.zone) && each.arch === image?.arch)
    .sort((a, b) => (a.hourlyUsd ?? Infinity) - (b.hourlyUsd ?? Infinity));
  if (!image || !type) return undefined;
  const own = `${token}${index}`;
  const { bucket, region, endpoint = "", instanceProfile, securityGroupIds, instanceTags } = config;
  return {
    format: 1,
    token: own,
    createdAt: 0,
    attempts: [{ run: "doctor", job: "doctor", number: 1 }],
    input: {
      ...{ instanceType: type.name, zone: place.zone, subnetId: place.subnetId },
      ...{ imageId: image.imageId, rootDeviceName: image.rootDeviceName, diskGib: 30 },
      ...{ instanceProfile, securityGroupIds: [...securityGroupIds] },
      tags: {
        ...instanceTags,
        "errand:daemon": installation,
        "errand:launch": own,
        Name: "errand",
      },
      userData: { bucket, region, endpoint, scriptSha256: sha256 },
    },
  };
}

/** Machines of this installation that no open run wants. A daemon ends few by itself, and asks about many. */
export async function checkOrphans({
  cloud,
  store,
  clock,
  config,
  reap,
}: Patient): Promise<Outcome> {
  const installation = await readInstallation(store);
  if (installation === undefined || (config.installation ?? installation) !== installation) {
    return skip("whose the bucket is decides which machines are whose");
  }
  const orphans = await findOrphans({ cloud, store, clock });
  if (orphans.length === 0) return pass("every living machine is of an open run");
  const ids = orphans.map(({ id, instanceType, zone }) => `${id} (${instanceType}, ${zone})`);
  if (!reap) {
    return warn(
      `no open run wants ${ids.join(", ")}`,
      "If they are nobody's: errand doctor --reap ends them.",
    );
  }
  await cloud.terminate(orphans.map(({ id }) => id));
  return warn(`ended ${ids.join(", ")}, which no open run wanted`, "");
}
