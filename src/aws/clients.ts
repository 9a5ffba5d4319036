/** The SDK's clients, all made here. Credentials come by the SDK's own chain unless given. */
import { EC2Client } from "@aws-sdk/client-ec2";
import { S3Client } from "@aws-sdk/client-s3";
import { SQSClient } from "@aws-sdk/client-sqs";
import { SSMClient } from "@aws-sdk/client-ssm";

export type ClientOptions = {
  readonly region: string;
  /** Of another AWS, such as the local cloud; undefined for the region's own endpoints. */
  readonly endpoint?: string | undefined;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
};

export type Clients = {
  readonly ec2: EC2Client;
  /** For RunInstances alone. */
  readonly launchEc2: EC2Client;
  readonly s3: S3Client;
  readonly sqs: SQSClient;
  readonly ssm: SSMClient;
  /** Closes kept connections. */
  readonly close: () => void;
};

/** Long polls are quiet for 20 s. */
const SILENCE_MAX_MS = 60_000;
const CONNECT_MAX_MS = 5_000;

export function createClients({ region, endpoint, credentials }: ClientOptions): Clients {
  const common = {
    region,
    ...(endpoint && { endpoint }),
    ...(credentials && { credentials }),
    requestHandler: { connectionTimeout: CONNECT_MAX_MS, socketTimeout: SILENCE_MAX_MS },
  };
  const clients = {
    ec2: new EC2Client(common),
    // The SDK takes InsufficientInstanceCapacity for a hiccup and asks three times; the next offer is the better try.
    launchEc2: new EC2Client({ ...common, maxAttempts: 1 }),
    s3: new S3Client({ ...common, forcePathStyle: endpoint !== undefined }),
    sqs: new SQSClient(common),
    ssm: new SSMClient(common),
  };
  return {
    ...clients,
    close: () => {
      for (const client of Object.values(clients)) client.destroy();
    },
  };
}
