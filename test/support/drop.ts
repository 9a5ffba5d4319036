/** Dropping bundles as any S3 client would, with what `errand local env` tells of. */
import {
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { listBundleFiles } from "../../src/cli/bundle-files.ts";
import { needLocalCloud } from "../../src/cli/local-note.ts";
import { packBundle } from "../../src/cli/pack.ts";
import type { RunView } from "../../src/core/view.ts";
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
  const { bucket, endpoint, region, ...credentials } = await needLocalCloud(errand.data);
  return { s3: new S3Client({ endpoint, region, credentials, forcePathStyle: true }), bucket };
}

export const packDirectory = async (directory: string): Promise<Uint8Array> =>
  packBundle(directory, (await listBundleFiles(directory)).entries);

/** Ids of all runs and of the drops on their way: equal before and after what must send nothing. */
export const listSent = async (errand: Errand): Promise<readonly string[]> =>
  (await Promise.all(["drops/", "status/"].map((prefix) => listKeys(errand, prefix)))).flat();

/** Waits for the end of so many runs, of those that were not there `before`; newest first. */
export const untilFinished = (
  errand: Errand,
  count: number,
  before: readonly string[] = [],
): Promise<readonly RunView[]> =>
  waitFor(
    `${count} finished runs`,
    async () => {
      const keys = (await listKeys(errand, "status/")).filter((key) => !before.includes(key));
      const texts = await Promise.all(keys.map((key) => getText(errand, key)));
      return texts.map((text) => JSON.parse(text) as RunView).reverse();
    },
    (runs) => runs.filter((run) => run.finishedAt !== null).length === count,
  );
