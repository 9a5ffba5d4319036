/** The calls that the suite of S3 is made of, under a prefix of their own. */
import { randomUUID } from "node:crypto";
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";

export type S3UnderTest = {
  readonly s3: S3Client;
  readonly bucket: string;
  readonly endpoint: string;
};

export type World = ReturnType<typeof makeCalls>;
export type Open = () => Promise<World>;

export function makeCalls({ s3, bucket: Bucket, endpoint }: S3UnderTest) {
  const root = `s3/${randomUUID()}/`;
  const at = (name: string) => ({ Bucket, Key: `${root}${name}` });
  return {
    s3,
    Bucket,
    endpoint,
    root,
    at,
    put: (
      name: string,
      Body: NonNullable<PutObjectCommandInput["Body"]>,
      more: Partial<PutObjectCommandInput> = {},
    ) => s3.send(new PutObjectCommand({ ...at(name), Body, ...more })),
    read: async (name: string, more: Partial<GetObjectCommandInput> = {}) => {
      const answer = await s3.send(new GetObjectCommand({ ...at(name), ...more }));
      return { ...answer, text: await answer.Body?.transformToString() };
    },
    /** Another client of the same account. */
    makeClient: async (more: S3ClientConfig) =>
      new S3Client({
        endpoint,
        region: "us-east-1",
        forcePathStyle: true,
        credentials: await s3.config.credentials(),
        ...more,
      }),
    remove: (name: string) => s3.send(new DeleteObjectCommand(at(name))),
    begin: async (name: string, more = {}) => {
      const command = new CreateMultipartUploadCommand({ ...at(name), ...more });
      return { ...at(name), UploadId: (await s3.send(command)).UploadId };
    },
  };
}
