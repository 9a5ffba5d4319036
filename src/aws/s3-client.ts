/** The client of S3, apart from the others: loading that of EC2 takes half a second, which commands that read the bucket are spared. */
import { S3Client } from "@aws-sdk/client-s3";
import { type OnCall, watchCalls } from "./watch-calls.ts";

export type ClientOptions = {
  readonly region: string;
  /** Of another AWS, such as the local cloud; undefined for the region's own endpoints. */
  readonly endpoint?: string | undefined;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly onCall?: OnCall | undefined;
};

/** Long polls are quiet for 20 s. */
const SILENCE_MAX_MS = 60_000;
const CONNECT_MAX_MS = 5_000;

/** What all clients are made with. */
export const commonOptions = ({ region, endpoint, credentials }: ClientOptions) => ({
  region,
  ...(endpoint && { endpoint }),
  ...(credentials && { credentials }),
  requestHandler: { connectionTimeout: CONNECT_MAX_MS, socketTimeout: SILENCE_MAX_MS },
});

export function createS3Client(options: ClientOptions): S3Client {
  const forcePathStyle = options.endpoint !== undefined;
  const client = new S3Client({ ...commonOptions(options), forcePathStyle });
  if (options.onCall) client.middlewareStack.use(watchCalls(options.onCall));
  return client;
}
