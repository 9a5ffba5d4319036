/** A local cloud in a directory of its own, and AWS SDK clients that reach it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
} from "@aws-sdk/client-s3";
import { SQSClient } from "@aws-sdk/client-sqs";
import {
  type LocalCloud,
  type LocalCloudOptions,
  startLocalCloud,
} from "../../src/local/local-cloud.ts";

export type TestCloud = {
  readonly cloud: LocalCloud;
  readonly directory: string;
  readonly s3: S3Client;
  readonly sqs: SQSClient;
  /** Stops the cloud and removes its directory. */
  dispose(): Promise<void>;
};

export async function startTestCloud(options: Partial<LocalCloudOptions> = {}): Promise<TestCloud> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "errand-local-")));
  const cloud = await startLocalCloud({
    directory,
    port: 0,
    instanceTypes: [],
    // Tests call faster than AWS lets anybody; those of throttling say so.
    throttling: false,
    log: () => {},
    ...options,
  });
  const clients = makeClients(cloud);
  return {
    cloud,
    directory,
    ...clients,
    async dispose() {
      clients.s3.destroy();
      clients.sqs.destroy();
      await cloud.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Each call is made once, so that a test sees what the cloud answered. */
export function makeClients(
  cloud: Pick<LocalCloud, "endpoint" | "region" | "accessKeyId" | "secretAccessKey">,
): { readonly s3: S3Client; readonly sqs: SQSClient } {
  const { endpoint, region, accessKeyId, secretAccessKey } = cloud;
  const common = {
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  };
  return { s3: new S3Client({ ...common, forcePathStyle: true }), sqs: new SQSClient(common) };
}

/** The name of the error that a call is refused with; fails when it is not refused. */
export async function refusalOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => {
      throw new Error("the call was not refused");
    },
    (error: Error) => error.name,
  );
}

export const BUCKET = "errand-local";

/** The commonest calls on the cloud's bucket, with further fields of their commands. */
export function makeBucketCalls(client: () => S3Client) {
  const common = (Key: string) => ({ Bucket: BUCKET, Key });
  const get = (Key: string, more: Partial<GetObjectCommandInput> = {}) =>
    client().send(new GetObjectCommand({ ...common(Key), ...more }));
  return {
    put: (
      Key: string,
      Body: NonNullable<PutObjectCommandInput["Body"]>,
      more: Partial<PutObjectCommandInput> = {},
    ) => client().send(new PutObjectCommand({ ...common(Key), Body, ...more })),
    /** The body must be read. */
    get,
    head: (Key: string, more: Partial<GetObjectCommandInput> = {}) =>
      client().send(new HeadObjectCommand({ ...common(Key), ...more })),
    read: async (Key: string, more: Partial<GetObjectCommandInput> = {}): Promise<Buffer> =>
      Buffer.from((await (await get(Key, more)).Body?.transformToByteArray()) ?? []),
  };
}
