/** RunInstances: reads and checks the whole request, then launches as many instances as there is room for, or none. */
import { createHash, randomBytes } from "node:crypto";
import { z } from "zod";
import { flag, integer, list, parseForm, text } from "./ec2-form.ts";
import { type InstanceTypeData, zonesOf } from "./ec2-instance-types.ts";
import type { LimitLaunch, WantedLaunch } from "./ec2-limits.ts";
import { checkMetadataTags, checkTags, tagList } from "./ec2-tags.ts";
import {
  IMAGES,
  INSTANCE_PROFILE,
  type MachineImage,
  SECURITY_GROUP,
  SUBNETS,
  type Subnet,
} from "./ec2-world.ts";
import { ApiError } from "./http.ts";
import type { Instance, Reservation } from "./instances-store.ts";

const COUNT_MAX = 1_000;
const USER_DATA_BYTES_MAX = 16_384;

/** Values of which the local cloud does one are spelled out: asking for another is refused. */
const runInstances = z.strictObject({
  ImageId: text,
  InstanceType: text,
  MinCount: integer,
  MaxCount: integer,
  ClientToken: z.string().max(64).optional(),
  UserData: text.optional(),
  SubnetId: text.optional(),
  Placement: z
    .strictObject({ AvailabilityZone: text.optional(), Tenancy: z.literal("default").optional() })
    .optional(),
  SecurityGroupId: list(text).optional(),
  NetworkInterface: list(
    z.strictObject({
      DeviceIndex: z.literal("0"),
      SubnetId: text.optional(),
      SecurityGroupId: list(text).optional(),
      AssociatePublicIpAddress: flag.optional(),
      DeleteOnTermination: z.literal("true").optional(),
    }),
  ).optional(),
  IamInstanceProfile: z.strictObject({ Name: text.optional(), Arn: text.optional() }).optional(),
  InstanceInitiatedShutdownBehavior: z.enum(["stop", "terminate"]).optional(),
  TagSpecification: list(
    z.strictObject({ ResourceType: z.enum(["instance", "volume"]), Tag: tagList.optional() }),
  ).optional(),
  BlockDeviceMapping: list(
    z.strictObject({
      DeviceName: text,
      Ebs: z
        .strictObject({
          VolumeSize: integer.optional(),
          VolumeType: z.enum(["gp2", "gp3", "io1", "io2"]).optional(),
          Encrypted: flag.optional(),
          DeleteOnTermination: z.literal("true").optional(),
          Iops: integer.optional(),
          Throughput: integer.optional(),
        })
        .optional(),
    }),
  ).optional(),
  MetadataOptions: z
    .strictObject({
      HttpTokens: z.literal("required").optional(),
      HttpEndpoint: z.literal("enabled").optional(),
      HttpPutResponseHopLimit: integer.optional(),
      InstanceMetadataTags: z.enum(["enabled", "disabled"]).optional(),
    })
    .optional(),
  MaintenanceOptions: z
    .strictObject({ AutoRecovery: z.enum(["default", "disabled"]).optional() })
    .optional(),
});
type Input = z.output<typeof runInstances>;

export type RunOptions = {
  readonly types: readonly InstanceTypeData[];
  readonly now: () => number;
  readonly listReservations: () => readonly Reservation[];
  readonly limitLaunch: LimitLaunch;
  readonly launch: (reservation: Reservation) => Promise<void>;
};

/** What was asked for is checked by the first call; the second, which it returns, launches. */
export type PrepareRun = (form: URLSearchParams) => () => Promise<Reservation>;

export function createRunInstances(options: RunOptions): PrepareRun {
  /** Calls under way, by token: a second one with the same token waits for the first's answer. */
  const launching = new Map<string, Promise<Reservation>>();

  return (form) => {
    const input = parseForm(runInstances, form);
    const plan = planLaunch(input, options);
    const key = `${plan.zone} ${plan.clientToken}`;
    return async () => {
      if (input.ClientToken === undefined) return await launchNew(plan, options);
      const underWay = launching.get(key);
      const earlier =
        underWay === undefined ? findEarlier(plan, options.listReservations()) : await underWay;
      if (earlier) return repeatAnswer(earlier, plan);
      const launched = launchNew(plan, options).finally(() => launching.delete(key));
      launching.set(key, launched);
      return await launched;
    };
  };
}

/** The token is zonal: in another zone it launches again. */
const findEarlier = (plan: Plan, reservations: readonly Reservation[]): Reservation | undefined =>
  reservations.find(
    ({ clientToken, zone }) => clientToken === plan.clientToken && zone === plan.zone,
  );

function repeatAnswer(earlier: Reservation, plan: Plan): Reservation {
  if (earlier.parametersSha256 !== plan.parametersSha256) {
    const message =
      "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
    throw new ApiError(400, "IdempotentParameterMismatch", message);
  }
  if (earlier.instances.every(({ state }) => state === "terminated" || state === "shutting-down")) {
    const message = "The instances associated with the client token have been terminated.";
    throw new ApiError(400, "IdempotentInstanceTerminated", message);
  }
  return earlier;
}

/** All of a reservation but what makes each instance its own. */
type Plan = Omit<Reservation, "format" | "id" | "launchedAt" | "instances"> & {
  readonly wanted: WantedLaunch;
  readonly tags: Readonly<Record<string, string>>;
  readonly subnet: Subnet;
};

async function launchNew(plan: Plan, options: RunOptions): Promise<Reservation> {
  const { wanted, tags, subnet, ...settings } = plan;
  const count = options.limitLaunch(wanted);
  const reservation: Reservation = {
    ...settings,
    format: 1,
    id: `r-${randomId()}`,
    launchedAt: options.now(),
    instances: Array.from({ length: count }, (_, index) => makeInstance(index, tags, subnet)),
  };
  await options.launch(reservation);
  return reservation;
}

function makeInstance(
  index: number,
  tags: Readonly<Record<string, string>>,
  subnet: Subnet,
): Instance {
  const id = `i-${randomId()}`;
  // Addresses are for show and may repeat: nothing listens there.
  const address = `${subnet.network}.${4 + (Number.parseInt(id.slice(-4), 16) % 250)}`;
  return {
    id,
    index,
    state: "pending",
    tags,
    address,
    metadataSecret: randomBytes(16).toString("hex"),
    cookie: `${id}:${randomBytes(16).toString("hex")}`,
  };
}

const randomId = (): string => `0${randomBytes(8).toString("hex")}`;

function planLaunch(input: Input, { types }: RunOptions): Plan {
  checkCounts(input);
  const image = findImage(input.ImageId);
  const network = readNetwork(input);
  const type = findType(input.InstanceType, types, network.subnet.zone);
  if (!type.architectures.includes(image.architecture)) {
    const message = `The architecture '${type.architectures.join(",")}' of the specified instance type does not match the architecture '${image.architecture}' of the specified AMI.`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  const { ClientToken = "", ...parameters } = input;
  return {
    clientToken: ClientToken,
    parametersSha256: createHash("sha256").update(JSON.stringify(parameters)).digest("hex"),
    instanceType: type.name,
    imageId: image.id,
    subnet: network.subnet,
    subnetId: network.subnet.id,
    zone: network.subnet.zone,
    securityGroupIds: network.securityGroupIds,
    hasProfile: readProfile(input),
    userData: readUserData(input.UserData ?? ""),
    shutdownBehavior: input.InstanceInitiatedShutdownBehavior ?? "stop",
    volume: { ...readVolume(input, image), tags: readTags(input, "volume") },
    metadata: {
      hopLimit: readHopLimit(input),
      hasTags: input.MetadataOptions?.InstanceMetadataTags === "enabled",
    },
    autoRecovery: input.MaintenanceOptions?.AutoRecovery ?? "default",
    wanted: {
      instanceType: type.name,
      zone: network.subnet.zone,
      vcpus: type.vcpus,
      countMin: input.MinCount,
      countMax: input.MaxCount,
    },
    tags: readTags(input, "instance"),
  };
}

function checkCounts({ MinCount, MaxCount }: Input): void {
  if (MinCount < 1 || MaxCount < MinCount) {
    const message = `Invalid values for MinCount (${MinCount}) and MaxCount (${MaxCount}): 1 <= MinCount <= MaxCount`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  if (MaxCount > COUNT_MAX) {
    const message = `You have requested more instances (${MaxCount}) than your current instance limit of ${COUNT_MAX} allows.`;
    throw new ApiError(400, "InstanceLimitExceeded", message);
  }
}

function findImage(imageId: string): MachineImage {
  const image = IMAGES.find(({ id }) => id === imageId);
  if (image) return image;
  if (!/^ami-[0-9a-f]{8,17}$/.test(imageId)) {
    throw new ApiError(400, "InvalidAMIID.Malformed", `Invalid id: "${imageId}"`);
  }
  const message = `The image id '[${imageId}]' does not exist`;
  throw new ApiError(400, "InvalidAMIID.NotFound", message);
}

function findType(
  name: string,
  types: readonly InstanceTypeData[],
  zone: string,
): InstanceTypeData {
  const type = types.find((each) => each.name === name);
  if (type === undefined) {
    const message = `Invalid value '${name}' for InstanceType.`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  if (zonesOf(type).includes(zone)) return type;
  const others = zonesOf(type).join(", ");
  const message = `Your requested instance type (${name}) is not supported in your requested Availability Zone (${zone}). Please retry your request by not specifying an Availability Zone or choosing ${others}.`;
  throw new ApiError(400, "Unsupported", message);
}

type Network = { readonly subnet: Subnet; readonly securityGroupIds: string[] };

function readNetwork(input: Input): Network {
  const interfaces = input.NetworkInterface ?? [];
  if (interfaces.length > 1) {
    throw new ApiError(501, "UnknownParameter", "the local cloud does not know NetworkInterface.2");
  }
  const [card] = interfaces;
  if (card && (input.SubnetId !== undefined || input.SecurityGroupId !== undefined)) {
    const message =
      "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request";
    throw new ApiError(400, "InvalidParameterCombination", message);
  }
  const securityGroupIds = card?.SecurityGroupId ?? input.SecurityGroupId ?? [SECURITY_GROUP.id];
  const unknown = securityGroupIds.find((id) => id !== SECURITY_GROUP.id);
  if (unknown !== undefined) {
    const message = `The security group '${unknown}' does not exist`;
    throw new ApiError(400, "InvalidGroup.NotFound", message);
  }
  return {
    subnet: findSubnet(card?.SubnetId ?? input.SubnetId, input.Placement?.AvailabilityZone),
    securityGroupIds,
  };
}

function findSubnet(subnetId: string | undefined, zone: string | undefined): Subnet {
  const subnet = SUBNETS.find((each) =>
    subnetId === undefined ? zone === undefined || each.zone === zone : each.id === subnetId,
  );
  if (subnet === undefined && subnetId !== undefined) {
    const message = `The subnet ID '${subnetId}' does not exist`;
    throw new ApiError(400, "InvalidSubnetID.NotFound", message);
  }
  if (subnet === undefined || (zone !== undefined && subnet.zone !== zone)) {
    const message = `Invalid availability zone: [${zone}]`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  return subnet;
}

function readProfile({ IamInstanceProfile: profile }: Input): boolean {
  if (profile === undefined) return false;
  const { Name, Arn } = profile;
  if (Arn === undefined && Name === INSTANCE_PROFILE.name) return true;
  if (Name === undefined && Arn === INSTANCE_PROFILE.arn) return true;
  const [field, value, kind] = Arn === undefined ? ["name", Name, "name"] : ["arn", Arn, "ARN"];
  const message = `Value (${value}) for parameter iamInstanceProfile.${field} is invalid. Invalid IAM Instance Profile ${kind}`;
  throw new ApiError(400, "InvalidParameterValue", message);
}

function readUserData(base64: string): string {
  const compact = base64.replaceAll(/\s/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(compact) || compact.length % 4 !== 0) {
    const message = "Invalid BASE64 encoding of user data.";
    throw new ApiError(400, "InvalidUserData.Malformed", message);
  }
  if (Buffer.byteLength(compact, "base64") > USER_DATA_BYTES_MAX) {
    const message = `User data is limited to ${USER_DATA_BYTES_MAX} bytes`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  return compact;
}

function readVolume(input: Input, image: MachineImage) {
  const mappings = input.BlockDeviceMapping ?? [];
  const other = mappings.find(({ DeviceName }) => DeviceName !== image.rootDeviceName);
  if (other || mappings.length > 1) {
    const message = `the local cloud knows one volume, the root at ${image.rootDeviceName}`;
    throw new ApiError(501, "UnknownParameter", message);
  }
  const ebs = mappings[0]?.Ebs;
  const gib = ebs?.VolumeSize ?? image.diskGib;
  if (gib < image.diskGib) {
    const message = `Volume of size ${gib}GB is smaller than snapshot '${image.snapshotId}', expect size>= ${image.diskGib}GB`;
    throw new ApiError(400, "InvalidBlockDeviceMapping", message);
  }
  return { gib, type: ebs?.VolumeType ?? "gp3", isEncrypted: ebs?.Encrypted ?? false };
}

function readHopLimit({ MetadataOptions }: Input): number {
  const limit = MetadataOptions?.HttpPutResponseHopLimit ?? 1;
  if (limit >= 1 && limit <= 64) return limit;
  const message = `Value (${limit}) for parameter HttpPutResponseHopLimit is invalid. Expecting a value between 1 and 64.`;
  throw new ApiError(400, "InvalidParameterValue", message);
}

function readTags(input: Input, resource: "instance" | "volume"): Record<string, string> {
  const specification = (input.TagSpecification ?? []).filter(
    ({ ResourceType }) => ResourceType === resource,
  );
  if (specification.length > 1) {
    const message = `'${resource}' is specified in more than one tag specification`;
    throw new ApiError(400, "InvalidParameterValue", message);
  }
  const tags = checkTags(specification[0]?.Tag ?? []);
  if (input.MetadataOptions?.InstanceMetadataTags === "enabled" && resource === "instance") {
    checkMetadataTags(Object.keys(tags));
  }
  return tags;
}
