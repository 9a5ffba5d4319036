/** DescribeSubnets, DescribeAvailabilityZones and DescribeImages: the fixed part of the world. */
import { z } from "zod";
import { filters, flag, integer, list, parseForm, text } from "./ec2-form.ts";
import { applyFilters, takePage } from "./ec2-pages.ts";
import {
  ACCOUNT_ID,
  IMAGES,
  type MachineImage,
  REGION,
  SUBNETS,
  type Subnet,
  VPC_ID,
} from "./ec2-world.ts";
import { items, type Xml } from "./ec2-xml.ts";
import { ApiError } from "./http.ts";

const paged = {
  MaxResults: integer.optional(),
  NextToken: text.optional(),
  Filter: filters.optional(),
};

type Column<Item> = Readonly<Record<string, (item: Item) => readonly string[]>>;

function selectBy<Item>(
  items: readonly Item[],
  requested: { readonly Filter?: z.output<typeof filters> | undefined },
  columns: Column<Item>,
): readonly Item[] {
  const isFilter = (name: string): boolean =>
    Object.hasOwn(columns, name) || name.startsWith("tag:");
  return applyFilters(items, requested.Filter ?? [], isFilter, (item, name) =>
    columns[name]?.(item),
  );
}

type Paged = {
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
  readonly Filter?: z.output<typeof filters> | undefined;
};

/** One page of what the filters leave, in the order in which they stand here. */
function pageBy<Item>(
  items: readonly Item[],
  input: Paged,
  columns: Column<Item>,
  least = 5,
): { readonly page: readonly Item[]; readonly nextToken: string | undefined } {
  const placeOf = (item: Item): string => String(items.indexOf(item)).padStart(6, "0");
  return takePage(selectBy(items, input, columns), input, { least, most: 1_000 }, placeOf);
}

/** All of `ids`, or an error that names the missing ones. */
function selectIds<Item extends { readonly id: string }>(
  items: readonly Item[],
  ids: readonly string[] | undefined,
  refuse: (missing: string) => ApiError,
): readonly Item[] {
  if (ids === undefined) return items;
  const missing = ids.find((id) => !items.some((item) => item.id === id));
  if (missing !== undefined) throw refuse(missing);
  return items.filter(({ id }) => ids.includes(id));
}

const subnets = z.strictObject({ ...paged, SubnetId: list(text).optional() });

/** What stands here from the first day has no tags, so a filter by them finds nothing. */
const noTags = { "tag-key": () => [] };

const subnetColumns: Column<Subnet> = {
  "availability-zone": ({ zone }) => [zone],
  availabilityZone: ({ zone }) => [zone],
  "subnet-id": ({ id }) => [id],
  "vpc-id": () => [VPC_ID],
  availabilityZoneId: ({ zoneId }) => [zoneId],
  "availability-zone-id": ({ zoneId }) => [zoneId],
  "cidr-block": ({ network }) => [`${network}.0/24`],
  "default-for-az": () => ["true"],
  "map-public-ip-on-launch": () => ["true"],
  "owner-id": () => [ACCOUNT_ID],
  state: () => ["available"],
  ...noTags,
};

export function describeSubnets(form: URLSearchParams): Xml {
  const input = parseForm(subnets, form);
  const named = selectIds(SUBNETS, input.SubnetId, (missing) => {
    const message = `The subnet ID '${missing}' does not exist`;
    return new ApiError(400, "InvalidSubnetID.NotFound", message);
  });
  const { page, nextToken } = pageBy(named, input, subnetColumns);
  return { subnetSet: items(page.map(renderSubnet)), nextToken };
}

const renderSubnet = ({ id, zone, zoneId, network }: Subnet): Xml => ({
  subnetId: id,
  subnetArn: `arn:aws:ec2:${REGION}:${ACCOUNT_ID}:subnet/${id}`,
  state: "available",
  vpcId: VPC_ID,
  ownerId: ACCOUNT_ID,
  cidrBlock: `${network}.0/24`,
  availableIpAddressCount: 251,
  availabilityZone: zone,
  availabilityZoneId: zoneId,
  defaultForAz: true,
  mapPublicIpOnLaunch: true,
  tagSet: items([]),
});

const zones = z.strictObject({
  Filter: filters.optional(),
  ZoneName: list(text).optional(),
  AllAvailabilityZones: flag.optional(),
});

const zoneColumns: Column<Subnet> = {
  "zone-name": ({ zone }) => [zone],
  "zone-id": ({ zoneId }) => [zoneId],
  "region-name": () => [REGION],
  "opt-in-status": () => ["opt-in-not-required"],
  "zone-type": () => ["availability-zone"],
  state: () => ["available"],
};

export function describeAvailabilityZones(form: URLSearchParams): Xml {
  const input = parseForm(zones, form);
  const missing = input.ZoneName?.find((name) => !SUBNETS.some(({ zone }) => zone === name));
  if (missing !== undefined) {
    const message = `Invalid availability zone: [${missing}]`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  const named = SUBNETS.filter(({ zone }) => input.ZoneName?.includes(zone) ?? true);
  return { availabilityZoneInfo: items(selectBy(named, input, zoneColumns).map(renderZone)) };
}

const renderZone = ({ zone, zoneId }: Subnet): Xml => ({
  zoneName: zone,
  zoneId,
  zoneState: "available",
  zoneType: "availability-zone",
  regionName: REGION,
  groupName: REGION,
  networkBorderGroup: REGION,
  optInStatus: "opt-in-not-required",
  messageSet: items([]),
});

const images = z.strictObject({
  ...paged,
  ImageId: list(text).optional(),
  Owner: list(text).optional(),
  IncludeDeprecated: flag.optional(),
});

const imageColumns: Column<MachineImage> = {
  architecture: ({ architecture }) => [architecture],
  "image-id": ({ id }) => [id],
  "image-type": () => ["machine"],
  name: ({ name }) => [name],
  "owner-alias": () => ["amazon"],
  "owner-id": () => [ACCOUNT_ID],
  "is-public": () => ["true"],
  "platform-details": () => ["Linux/UNIX"],
  "ena-support": () => ["true"],
  hypervisor: () => ["xen"],
  "root-device-name": ({ rootDeviceName }) => [rootDeviceName],
  "root-device-type": () => ["ebs"],
  ...noTags,
  state: () => ["available"],
  "virtualization-type": () => ["hvm"],
};

export function describeImages(form: URLSearchParams): Xml {
  const input = parseForm(images, form);
  const named = selectIds(IMAGES, input.ImageId, (missing) => {
    const message = `The image id '[${missing}]' does not exist`;
    return new ApiError(400, "InvalidAMIID.NotFound", message);
  });
  const { Owner = ["amazon"] } = input;
  const isAmazons = Owner.some((owner) => owner === "amazon" || owner === ACCOUNT_ID);
  const { page, nextToken } = pageBy(isAmazons ? named : [], input, imageColumns, 1);
  return { imagesSet: items(page.map(renderImage)), nextToken };
}

const renderImage = (image: MachineImage): Xml => ({
  imageId: image.id,
  imageLocation: `amazon/${image.name}`,
  imageState: "available",
  imageOwnerId: ACCOUNT_ID,
  imageOwnerAlias: "amazon",
  creationDate: "2026-01-01T00:00:00.000Z",
  isPublic: true,
  architecture: image.architecture,
  imageType: "machine",
  platformDetails: "Linux/UNIX",
  name: image.name,
  rootDeviceType: "ebs",
  rootDeviceName: image.rootDeviceName,
  blockDeviceMapping: items([
    {
      deviceName: image.rootDeviceName,
      ebs: {
        snapshotId: image.snapshotId,
        volumeSize: image.diskGib,
        volumeType: "gp3",
        deleteOnTermination: true,
        encrypted: false,
      },
    },
  ]),
  virtualizationType: "hvm",
  hypervisor: "xen",
  enaSupport: true,
  imdsSupport: "v2.0",
  tagSet: items([]),
});
