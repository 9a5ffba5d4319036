/** What instances can be filtered by, under AWS's names. One that is not here is refused, never passed over. */
import {
  ACCOUNT_ID,
  IMAGES,
  INSTANCE_PROFILE,
  SECURITY_GROUP,
  SUBNETS,
  VPC_ID,
} from "./ec2-world.ts";
import type { InstanceState, Placed } from "./instances-store.ts";

export const STATE_CODES: Readonly<Record<InstanceState, number>> = {
  pending: 0,
  running: 16,
  "shutting-down": 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
};

export const privateDnsName = ({ instance }: Placed): string =>
  instance.state === "terminated" ? "" : `ip-${instance.address.replaceAll(".", "-")}.ec2.internal`;

export const volumeIdOf = ({ instance }: Placed): string => `vol-${instance.id.slice(2)}`;

export const imageOf = ({ reservation }: Placed) =>
  IMAGES.find(({ id }) => id === reservation.imageId);

type Filters = Readonly<Record<string, (placed: Placed) => readonly string[]>>;

/** A terminated instance has left its network and has no volume: by these it is not found. */
const whilePlaced = (values: Filters[string]) => (placed: Placed) =>
  placed.instance.state === "terminated" ? [] : values(placed);

const groupIds = whilePlaced(({ reservation }) => reservation.securityGroupIds);
const groupNames = whilePlaced(({ reservation }) =>
  reservation.securityGroupIds.map(() => SECURITY_GROUP.name),
);

const FILTERS: Filters = {
  architecture: (placed) => [imageOf(placed)?.architecture ?? ""],
  "availability-zone": ({ reservation }) => [reservation.zone],
  "availability-zone-id": ({ reservation }) =>
    SUBNETS.filter(({ zone }) => zone === reservation.zone).map(({ zoneId }) => zoneId),
  "block-device-mapping.device-name": whilePlaced((placed) => [
    imageOf(placed)?.rootDeviceName ?? "",
  ]),
  "block-device-mapping.volume-id": whilePlaced((placed) => [volumeIdOf(placed)]),
  "client-token": ({ reservation }) => [reservation.clientToken],
  "group-id": groupIds,
  "group-name": groupNames,
  hypervisor: () => ["xen"],
  "iam-instance-profile.arn": whilePlaced(({ reservation }) =>
    reservation.hasProfile ? [INSTANCE_PROFILE.arn] : [],
  ),
  "image-id": ({ reservation }) => [reservation.imageId],
  "instance-id": ({ instance }) => [instance.id],
  "instance-state-code": ({ instance }) => [String(STATE_CODES[instance.state])],
  "instance-state-name": ({ instance }) => [instance.state],
  "instance-type": ({ reservation }) => [reservation.instanceType],
  "instance.group-id": groupIds,
  "instance.group-name": groupNames,
  "launch-index": ({ instance }) => [String(instance.index)],
  "launch-time": ({ reservation }) => [new Date(reservation.launchedAt).toISOString()],
  "metadata-options.http-tokens": () => ["required"],
  "metadata-options.instance-metadata-tags": ({ reservation }) => [
    reservation.metadata.hasTags ? "enabled" : "disabled",
  ],
  "monitoring-state": () => ["disabled"],
  "owner-id": () => [ACCOUNT_ID],
  "private-dns-name": (placed) => [privateDnsName(placed)],
  "private-ip-address": whilePlaced(({ instance }) => [instance.address]),
  reason: ({ instance }) => [instance.reason?.transition ?? ""],
  "reservation-id": ({ reservation }) => [reservation.id],
  "root-device-name": (placed) => [imageOf(placed)?.rootDeviceName ?? ""],
  "root-device-type": () => ["ebs"],
  "state-reason-code": ({ instance }) => [instance.reason?.code ?? ""],
  "subnet-id": whilePlaced(({ reservation }) => [reservation.subnetId]),
  "tag-key": ({ instance }) => Object.keys(instance.tags),
  tenancy: () => ["default"],
  "virtualization-type": () => ["hvm"],
  "vpc-id": whilePlaced(() => [VPC_ID]),
};

export const isInstanceFilter = (name: string): boolean =>
  name.startsWith("tag:") || Object.hasOwn(FILTERS, name);

export function instanceValues(placed: Placed, name: string): readonly string[] {
  if (!name.startsWith("tag:")) return FILTERS[name]?.(placed) ?? [];
  const { tags } = placed.instance;
  const key = name.slice("tag:".length);
  return Object.hasOwn(tags, key) ? [tags[key] ?? ""] : [];
}
