/** Dropping bundles as any S3 client would, with what `errand local env` tells it. */
import {
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { listBundleFiles } from "../../src/cli/bundle-files.ts";
import { packBundle } from "../../src/cli/pack.ts";
import type { RunSummary } from "../../src/core/view.ts";
import { type Errand, waitFor } from "./errand.ts";

export async function putObject(
  errand: Errand,
  key: string,
  { body, metadata = {} }: { body: Uint8Array; metadata?: Record<string, string> },
): Promise<void> {
  const { s3, bucket } = await openBucket(errand);
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, Metadata: metadata }));
  s3.destroy();
}

export async function getText(errand: Errand, key: string): Promise<string> {
  const { s3, bucket } = await openBucket(errand);
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  const text = (await Body?.transformToString()) ?? "";
  s3.destroy();
  return text;
}

export async function listKeys(errand: Errand, prefix: string): Promise<readonly string[]> {
  const { s3, bucket } = await openBucket(errand);
  const { Contents = [] } = await s3.send(
    new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }),
  );
  s3.destroy();
  return Contents.map(({ Key = "" }) => Key);
}

async function openBucket(errand: Errand): Promise<{ s3: S3Client; bucket: string }> {
  const { stdout } = await errand.run("local", "env", "--json");
  const variables = JSON.parse(stdout) as Record<string, string>;
  const s3 = new S3Client({
    endpoint: variables.AWS_ENDPOINT_URL ?? "",
    region: variables.AWS_REGION ?? "",
    credentials: {
      accessKeyId: variables.AWS_ACCESS_KEY_ID ?? "",
      secretAccessKey: variables.AWS_SECRET_ACCESS_KEY ?? "",
    },
    forcePathStyle: true,
  });
  return { s3, bucket: variables.ERRAND_BUCKET ?? "" };
}

export const packDirectory = async (directory: string): Promise<Uint8Array> =>
  packBundle(directory, (await listBundleFiles(directory)).entries);

export const untilFinished = (errand: Errand, count: number): Promise<RunSummary[]> =>
  waitFor(
    `${count} finished runs`,
    async () => JSON.parse((await errand.run("runs", "--json")).stdout) as RunSummary[],
    (runs) => runs.filter((run) => run.finishedAt !== null).length === count,
  );
