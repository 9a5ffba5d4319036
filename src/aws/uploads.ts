/** Uploads in parts that nobody has completed, as the Uploads of ports.ts. */
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { isCloudError } from "../errors.ts";
import type { Upload, Uploads } from "../ports.ts";
import { callAws } from "./error-codes.ts";

export const createUploads = (s3: S3Client, bucket: string): Uploads => ({
  list: (prefix, limit) =>
    callAws(`listing uploads below ${prefix}`, async () => {
      const { Uploads: found = [] } = await s3.send(
        new ListMultipartUploadsCommand({
          Bucket: bucket,
          Prefix: prefix,
          MaxUploads: limit,
          EncodingType: "url",
        }),
      );
      return found.map(
        ({ Key = "", UploadId: id = "", Initiated }): Upload => ({
          key: decodeURIComponent(Key.replaceAll("+", " ")),
          id,
          startedAt: Initiated?.getTime() ?? Number.POSITIVE_INFINITY,
        }),
      );
    }),

  abort: async ({ key, id }) => {
    try {
      await callAws(`aborting an upload of ${key}`, () =>
        s3.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: id })),
      );
    } catch (error) {
      // Completed or aborted meanwhile.
      if (!isCloudError(error, "not-found")) throw error;
    }
  },
});
