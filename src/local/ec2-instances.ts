/** DescribeInstances and the XML of instances. */
import { z } from "zod";
import { filters, integer, list, parseForm, text } from "./ec2-form.ts";
import {
  imageOf,
  instanceValues,
  isInstanceFilter,
  privateDnsName,
  STATE_CODES,
  volumeIdOf,
} from "./ec2-instance-filters.ts";
import { applyFilters, takePage } from "./ec2-pages.ts";
import { ACCOUNT_ID, INSTANCE_PROFILE, REGION, SECURITY_GROUP, VPC_ID } from "./ec2-world.ts";
import { items, type Xml } from "./ec2-xml.ts";
import { ApiError } from "./http.ts";
import type { InstanceState, Placed, Reservation } from "./instances-store.ts";

export const renderState = (name: InstanceState): Xml => ({ code: STATE_CODES[name], name });

const describe = z.strictObject({
  InstanceId: list(text).optional(),
  Filter: filters.optional(),
  MaxResults: integer.optional(),
  NextToken: text.optional(),
});

/** `placed` are all that EC2 still lists. */
export function describeInstances(placed: readonly Placed[], form: URLSearchParams): Xml {
  const input = parseForm(describe, form);
  if (input.InstanceId !== undefined && input.MaxResults !== undefined) {
    const message = "The parameter instancesSet cannot be used with the parameter maxResults";
    throw new ApiError(400, "InvalidParameterCombination", message);
  }
  const named = input.InstanceId === undefined ? placed : pickInstances(placed, input.InstanceId);
  const matching = applyFilters(named, input.Filter ?? [], isInstanceFilter, instanceValues);
  const sorted = matching.toSorted((left, right) => (sortKey(left) < sortKey(right) ? -1 : 1));
  const { page, nextToken } = takePage(sorted, input, { least: 5, most: 1_000 }, sortKey);
  return { reservationSet: items(groupByReservation(page).map(renderReservation)), nextToken };
}

/** In the order named. Throws InvalidInstanceID for the first that there is not, so none of the others is touched. */
export function pickInstances(
  placed: readonly Placed[],
  ids: readonly string[],
): readonly Placed[] {
  const malformed = ids.find((id) => !/^i-[0-9a-f]{8,17}$/.test(id));
  if (malformed !== undefined) {
    throw new ApiError(400, "InvalidInstanceID.Malformed", `Invalid id: "${malformed}"`);
  }
  const known = new Map(placed.map((each) => [each.instance.id, each]));
  const missing = ids.filter((id) => !known.has(id));
  if (missing.length > 0) {
    const what =
      missing.length === 1
        ? `instance ID '${missing[0]}' does`
        : `instance IDs '${missing.join(", ")}' do`;
    throw new ApiError(400, "InvalidInstanceID.NotFound", `The ${what} not exist`);
  }
  return [...new Set(ids)].flatMap((id) => known.get(id) ?? []);
}

/** In the order of launches, and within one by index. */
const sortKey = ({ reservation, instance }: Placed): string =>
  [
    String(reservation.launchedAt).padStart(15, "0"),
    reservation.id,
    String(instance.index).padStart(4, "0"),
  ].join(" ");

function groupByReservation(placed: readonly Placed[]): readonly Reservation[] {
  const groups = new Map<string, Reservation>();
  for (const { reservation, instance } of placed) {
    const instances = [...(groups.get(reservation.id)?.instances ?? []), instance];
    groups.set(reservation.id, { ...reservation, instances });
  }
  return [...groups.values()];
}

export const renderReservation = (reservation: Reservation): Xml => ({
  reservationId: reservation.id,
  ownerId: ACCOUNT_ID,
  groupSet: items([]),
  instancesSet: items(
    reservation.instances.map((instance) => renderInstance({ reservation, instance })),
  ),
});

function renderInstance(placed: Placed): Xml {
  const { reservation, instance } = placed;
  const image = imageOf(placed);
  const isGone = instance.state === "terminated";
  return {
    instanceId: instance.id,
    imageId: reservation.imageId,
    instanceState: renderState(instance.state),
    privateDnsName: privateDnsName(placed),
    dnsName: "",
    reason: instance.reason?.transition ?? "",
    amiLaunchIndex: instance.index,
    productCodes: items([]),
    instanceType: reservation.instanceType,
    launchTime: new Date(reservation.launchedAt).toISOString(),
    placement: { availabilityZone: reservation.zone, groupName: "", tenancy: "default" },
    monitoring: { state: "disabled" },
    // A terminated instance has left its network, and its volume is gone.
    ...(isGone ? {} : renderPlace(placed)),
    stateReason: renderReason(placed),
    architecture: image?.architecture,
    rootDeviceType: "ebs",
    rootDeviceName: image?.rootDeviceName,
    virtualizationType: "hvm",
    clientToken: reservation.clientToken,
    tagSet: renderTags(instance.tags),
    hypervisor: "xen",
    ebsOptimized: false,
    enaSupport: true,
    metadataOptions: {
      state: "applied",
      httpTokens: "required",
      httpPutResponseHopLimit: reservation.metadata.hopLimit,
      httpEndpoint: "enabled",
      httpProtocolIpv6: "disabled",
      instanceMetadataTags: reservation.metadata.hasTags ? "enabled" : "disabled",
    },
    maintenanceOptions: { autoRecovery: reservation.autoRecovery },
  };
}

function renderPlace(placed: Placed): Xml {
  const { reservation, instance } = placed;
  const image = imageOf(placed);
  const volume = {
    volumeId: volumeIdOf(placed),
    status: "attached",
    attachTime: new Date(reservation.launchedAt).toISOString(),
    deleteOnTermination: true,
  };
  return {
    subnetId: reservation.subnetId,
    vpcId: VPC_ID,
    privateIpAddress: instance.address,
    sourceDestCheck: true,
    groupSet: items(
      reservation.securityGroupIds.map((groupId) => ({ groupId, groupName: SECURITY_GROUP.name })),
    ),
    blockDeviceMapping: items([{ deviceName: image?.rootDeviceName, ebs: volume }]),
    ...(reservation.hasProfile
      ? { iamInstanceProfile: { arn: INSTANCE_PROFILE.arn, id: INSTANCE_PROFILE.id } }
      : {}),
  };
}

function renderReason({ instance }: Placed): Xml | undefined {
  if (instance.state === "pending") return { code: "pending", message: "pending" };
  return instance.reason && { code: instance.reason.code, message: instance.reason.message };
}

const renderTags = (tags: Readonly<Record<string, string>>): Xml =>
  items(Object.entries(tags).map(([key, value]) => ({ key, value })));

/** As EventBridge sends it. */
export function stateEvent(
  instanceId: string,
  state: InstanceState,
  eventId: string,
  at: number,
): string {
  return JSON.stringify({
    version: "0",
    id: eventId,
    "detail-type": "EC2 Instance State-change Notification",
    source: "aws.ec2",
    account: ACCOUNT_ID,
    time: `${new Date(at).toISOString().slice(0, 19)}Z`,
    region: REGION,
    resources: [`arn:aws:ec2:${REGION}:${ACCOUNT_ID}:instance/${instanceId}`],
    detail: { "instance-id": instanceId, state },
  });
}
