/** The SDK's clients. Credentials come by the SDK's own chain unless given. */
import { EC2Client } from "@aws-sdk/client-ec2";
import type { S3Client } from "@aws-sdk/client-s3";
import { ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import { SQSClient } from "@aws-sdk/client-sqs";
import { SSMClient } from "@aws-sdk/client-ssm";
import { type ClientOptions, commonOptions, createS3Client } from "./s3-client.ts";
import { createGenerateDataKey } from "./session/data-key.ts";
import type { GenerateDataKey } from "./session/encryption.ts";
import { watchCalls } from "./watch-calls.ts";

export type Clients = {
  readonly ec2: EC2Client;
  /** For RunInstances alone. */
  readonly launchEc2: EC2Client;
  readonly s3: S3Client;
  readonly sqs: SQSClient;
  readonly ssm: SSMClient;
  readonly serviceQuotas: ServiceQuotasClient;
  readonly generateDataKey: GenerateDataKey;
  /** Closes kept connections. */
  readonly close: () => void;
};

export function createClients(options: ClientOptions): Clients {
  const common = commonOptions(options);
  const clients = {
    ec2: new EC2Client(common),
    // The SDK takes InsufficientInstanceCapacity for a hiccup and asks three times; the next offer is the better try.
    launchEc2: new EC2Client({ ...common, maxAttempts: 1 }),
    s3: createS3Client(options),
    sqs: new SQSClient(common),
    ssm: new SSMClient(common),
    serviceQuotas: new ServiceQuotasClient(common),
  };
  const { onCall } = options;
  if (onCall) {
    clients.ec2.middlewareStack.use(watchCalls(onCall));
    clients.launchEc2.middlewareStack.use(watchCalls(onCall));
    clients.sqs.middlewareStack.use(watchCalls(onCall));
    clients.ssm.middlewareStack.use(watchCalls(onCall));
    clients.serviceQuotas.middlewareStack.use(watchCalls(onCall));
  }
  return {
    ...clients,
    generateDataKey: createGenerateDataKey(options),
    close: () => {
      for (const client of Object.values(clients)) client.destroy();
    },
  };
}
