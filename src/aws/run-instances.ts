/** The input of RunInstances, from a frozen launch: the same launch gives the same input, byte for byte. */
import type { RunInstancesCommandInput } from "@aws-sdk/client-ec2";
import type { Launch } from "../core/launches.ts";

/** `userData` is text. */
export function runInstancesInput(launch: Launch, userData: string): RunInstancesCommandInput {
  const { token, attempts, input } = launch;
  const Tags = Object.entries(input.tags).map(([Key, Value]) => ({ Key, Value }));
  return {
    ClientToken: token,
    // All or nothing: an answer is known or unknown, never partly.
    MinCount: attempts.length,
    MaxCount: attempts.length,
    // A subnet stands in one zone, and so does the client token then.
    SubnetId: input.subnetId,
    InstanceType: input.instanceType as NonNullable<RunInstancesCommandInput["InstanceType"]>,
    ImageId: input.imageId,
    UserData: Buffer.from(userData).toString("base64"),
    // The runner's power-off is what ends the bill; the default would only stop the machine.
    InstanceInitiatedShutdownBehavior: "terminate",
    ...(input.securityGroupIds.length > 0 && { SecurityGroupIds: [...input.securityGroupIds] }),
    ...(input.instanceProfile && { IamInstanceProfile: profileOf(input.instanceProfile) }),
    BlockDeviceMappings: [
      {
        DeviceName: input.rootDeviceName,
        Ebs: {
          VolumeSize: input.diskGib,
          VolumeType: "gp3",
          Encrypted: true,
          DeleteOnTermination: true,
        },
      },
    ],
    MetadataOptions: {
      HttpEndpoint: "enabled",
      HttpTokens: "required",
      // Not from inside a container, nor through a proxy of the job's.
      HttpPutResponseHopLimit: 1,
      InstanceMetadataTags: "enabled",
    },
    // A machine that came back by itself would not be the attempt that was lost.
    MaintenanceOptions: { AutoRecovery: "disabled" },
    TagSpecifications: [
      { ResourceType: "instance", Tags },
      { ResourceType: "volume", Tags },
    ],
  };
}

const profileOf = (profile: string) =>
  profile.startsWith("arn:") ? { Arn: profile } : { Name: profile };
