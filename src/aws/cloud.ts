/** EC2 as the Cloud of ports.ts. */
import {
  type EC2Client,
  type Instance as Ec2Instance,
  GetConsoleOutputCommand,
  paginateDescribeInstances,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import type { ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import type { SSMClient } from "@aws-sdk/client-ssm";
import type { Launch } from "../core/launches.ts";
import type { Instance } from "../core/observation.ts";
import { isCloudError } from "../errors.ts";
import type { Cloud } from "../ports.ts";
import { type CatalogOptions, createCatalogReader } from "./catalog.ts";
import { callAws } from "./error-codes.ts";
import { createQuotaReader, type QuotaReaderOptions } from "./quotas.ts";
import { runInstancesInput } from "./run-instances.ts";
import { renderUserData } from "./user-data.ts";

export type CloudClients = {
  readonly ec2: EC2Client;
  /** Makes each call once: what RunInstances answers is decided about, never repeated unseen. */
  readonly launchEc2: EC2Client;
  readonly ssm: SSMClient;
  readonly serviceQuotas: ServiceQuotasClient;
};

export type CloudOptions = CatalogOptions & {
  /** The value of the tag `errand:daemon`. */
  readonly installation: string;
  /** The body of a bootstrap script, from `tools/bootstrap/<sha256>`. */
  readonly readScript: (sha256: string) => Promise<string>;
  readonly quotas?: QuotaReaderOptions;
};

export function createCloud(clients: CloudClients, options: CloudOptions): Cloud {
  const { ec2, launchEc2 } = clients;
  return {
    readCatalog: createCatalogReader(clients, options),

    readQuotas: createQuotaReader(clients.serviceQuotas, options.quotas ?? {}),

    listInstances: () =>
      describeInstances(ec2, { Name: "tag:errand:daemon", Values: [options.installation] }),

    listLaunched: (token) => describeInstances(ec2, { Name: "client-token", Values: [token] }),

    launch: async (launch) => {
      const { scriptSha256, ...header } = launch.input.userData;
      const script = await options.readScript(scriptSha256);
      const userData = renderUserData({ ...header, token: launch.token }, script);
      return runInstances(launchEc2, launch, userData);
    },

    terminate: (instanceIds) => terminateInstances(ec2, instanceIds),

    readConsole: (instanceId) => readConsole(ec2, instanceId),
  };
}

function runInstances(
  ec2: EC2Client,
  launch: Launch,
  userData: string,
): Promise<readonly string[]> {
  const { instanceType, zone } = launch.input;
  return callAws(`launching ${instanceType} in ${zone}`, async () => {
    const output = await ec2.send(new RunInstancesCommand(runInstancesInput(launch, userData)));
    const instanceIds: string[] = [];
    for (const { AmiLaunchIndex: index = 0, InstanceId: id = "" } of output.Instances ?? []) {
      instanceIds[index] = id;
    }
    return instanceIds;
  });
}

const PAGE_SIZE = 1_000;

function describeInstances(
  ec2: EC2Client,
  filter: { Name: string; Values: string[] },
): Promise<readonly Instance[]> {
  return callAws("listing instances", async () => {
    const instances: Instance[] = [];
    const input = { Filters: [filter], MaxResults: PAGE_SIZE };
    for await (const page of paginateDescribeInstances({ client: ec2 }, input)) {
      for (const { Instances = [] } of page.Reservations ?? []) {
        instances.push(...Instances.map(toInstance));
      }
    }
    return instances;
  });
}

function toInstance(instance: Ec2Instance): Instance {
  const state = instance.State?.Name;
  if (!state) throw new Error(`EC2 lists ${instance.InstanceId} without a state`);
  return {
    id: instance.InstanceId ?? "",
    token: instance.Tags?.find(({ Key }) => Key === "errand:launch")?.Value ?? "",
    index: instance.AmiLaunchIndex ?? 0,
    state,
    instanceType: instance.InstanceType ?? "",
    zone: instance.Placement?.AvailabilityZone ?? "",
    launchedAt: instance.LaunchTime?.getTime() ?? 0,
    stateReason: stateReasonOf(instance),
  };
}

/** EC2 mostly has the code at the beginning of the message already. */
function stateReasonOf({ StateReason: reason }: Ec2Instance): string {
  const { Code: code = "", Message: message = "" } = reason ?? {};
  return message.startsWith(code) ? message : `${code}: ${message}`;
}

/** EC2 gives the last 64 KB, of an instance that was terminated for about an hour. */
async function readConsole(ec2: EC2Client, instanceId: string): Promise<string> {
  try {
    const { Output = "" } = await callAws(`reading the console of ${instanceId}`, () =>
      ec2.send(new GetConsoleOutputCommand({ InstanceId: instanceId })),
    );
    return Buffer.from(Output, "base64").toString();
  } catch (error) {
    if (isCloudError(error, "not-found")) return "";
    throw error;
  }
}

const BATCH_SIZE = 100;

/** Goes through all of them, whatever some of them answer, and throws the first error at the end. */
async function terminateInstances(ec2: EC2Client, instanceIds: readonly string[]): Promise<void> {
  const errors: unknown[] = [];
  for (let start = 0; start < instanceIds.length; start += BATCH_SIZE) {
    const batch = instanceIds.slice(start, start + BATCH_SIZE);
    const error = await terminateBatch(ec2, batch);
    if (error === undefined) continue;
    // One bad id refuses its whole batch, so each has to be told apart from it.
    const isOwn = batch.length === 1 || !isCloudError(error, "not-found", "refused");
    if (isOwn) errors.push(error);
    else for (const id of batch) errors.push(await terminateBatch(ec2, [id]));
  }
  const error = errors.find((each) => each !== undefined && !isCloudError(each, "not-found"));
  if (error !== undefined) throw error;
}

/** Returns what went wrong. */
async function terminateBatch(ec2: EC2Client, instanceIds: readonly string[]): Promise<unknown> {
  try {
    const what = instanceIds.length === 1 ? instanceIds[0] : `${instanceIds.length} instances`;
    await callAws(`terminating ${what}`, () =>
      ec2.send(new TerminateInstancesCommand({ InstanceIds: [...instanceIds] })),
    );
    return undefined;
  } catch (error) {
    return error;
  }
}
