/** Copying an object inside the bucket: exactly one version of it, whatever its size. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  type S3Client,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import PQueue from "p-queue";
import { callAws } from "./error-codes.ts";

export type CopySizes = {
  /** Larger objects are copied in parts: CopyObject takes up to 5 GiB. */
  readonly wholeBytesMax: number;
  readonly partBytes: number;
};

/** Parts of 1 GiB copy at once, and 10,000 of them are more than S3's largest object of 5 TiB. */
const SIZES: CopySizes = { wholeBytesMax: 5 * 2 ** 30, partBytes: 2 ** 30 };
const PARTS_AT_ONCE = 8;

type Copy = {
  readonly bucket: string;
  readonly from: { readonly key: string; readonly etag: string };
  readonly to: string;
};

/** Throws CloudError: `conflict` when the source has changed, `not-found` when it is gone. */
export function copyObject(s3: S3Client, copy: Copy, sizes = SIZES): Promise<void> {
  const { bucket, from, to } = copy;
  return callAws(`copying ${from.key} to ${to}`, async () => {
    const source = await s3.send(
      new HeadObjectCommand({ Bucket: bucket, Key: from.key, IfMatch: from.etag }),
    );
    if ((source.ContentLength ?? 0) > sizes.wholeBytesMax) {
      await copyInParts(s3, copy, { source, partBytes: sizes.partBytes });
      return;
    }
    await s3.send(new CopyObjectCommand({ Bucket: bucket, Key: to, ...sourceHeaders(copy) }));
  });
}

const sourceHeaders = ({ bucket, from }: Copy) => ({
  CopySource: [bucket, ...from.key.split("/")].map(encodeURIComponent).join("/"),
  CopySourceIfMatch: from.etag,
});

/** A copy in parts takes nothing of the source but its bytes: type and metadata are given anew. */
async function copyInParts(
  s3: S3Client,
  copy: Copy,
  { source, partBytes }: { source: HeadObjectCommandOutput; partBytes: number },
): Promise<void> {
  const target = { Bucket: copy.bucket, Key: copy.to };
  const { UploadId } = await s3.send(
    new CreateMultipartUploadCommand({
      ...target,
      ContentType: source.ContentType,
      Metadata: source.Metadata,
    }),
  );
  const queue = new PQueue({ concurrency: PARTS_AT_ONCE });
  try {
    const bytes = source.ContentLength ?? 0;
    const copyPart = async (index: number) => {
      const start = index * partBytes;
      const end = Math.min(start + partBytes, bytes) - 1;
      const PartNumber = index + 1;
      const { CopyPartResult } = await s3.send(
        new UploadPartCopyCommand({
          ...target,
          ...sourceHeaders(copy),
          UploadId,
          PartNumber,
          CopySourceRange: `bytes=${start}-${end}`,
        }),
      );
      return { PartNumber, ETag: CopyPartResult?.ETag };
    };
    const indexes = Array.from({ length: Math.ceil(bytes / partBytes) }, (_, index) => index);
    const Parts = await queue.addAll(indexes.map((index) => () => copyPart(index)));
    await s3.send(
      new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }),
    );
  } catch (error) {
    // Parts of an upload that is neither completed nor aborted are paid for until somebody finds them, and a part
    // that arrives after the abort stays. When even this fails, the first error is still the one to tell.
    queue.clear();
    await queue.onIdle();
    await s3.send(new AbortMultipartUploadCommand({ ...target, UploadId })).catch(() => {});
    throw error;
  }
}
