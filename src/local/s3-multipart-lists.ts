/** ListParts and ListMultipartUploads. */
import type { LocalResponse } from "./http.ts";
import { checksumElements, type S3Call } from "./s3-call.ts";
import { compareUtf8 } from "./s3-keys.ts";
import { readCount, readEncoding } from "./s3-list.ts";
import { findUploadOf } from "./s3-multipart.ts";
import { S3_NAMESPACE, xmlResponse } from "./s3-xml.ts";
import { xmlDocument } from "./xml.ts";

export async function listParts(call: S3Call): Promise<LocalResponse> {
  const { request, bucket, key, store } = call;
  const upload = findUploadOf(call);
  const partsMax = readCount(request.query, "max-parts");
  const marker = Number(request.query.get("part-number-marker") ?? 0);
  const behind = store.listParts(upload.id).filter((part) => part.number > marker);
  const page = behind.slice(0, partsMax);
  const isTruncated = page.length < behind.length && page.length > 0;
  const body = xmlDocument(
    "ListPartsResult",
    {
      Bucket: bucket,
      Key: key,
      UploadId: upload.id,
      StorageClass: "STANDARD",
      ChecksumAlgorithm: upload.algorithm,
      ChecksumType: upload.checksumType,
      PartNumberMarker: marker,
      NextPartNumberMarker: page.at(-1)?.number,
      MaxParts: partsMax,
      IsTruncated: isTruncated,
      Part: page.map((part) => {
        const { ChecksumType: _, ...sums } = checksumElements(part.checksum);
        return {
          PartNumber: part.number,
          LastModified: new Date(part.modifiedAt).toISOString(),
          ETag: `"${part.etag}"`,
          Size: part.bytes,
          ...sums,
        };
      }),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}

/** Uploads of one key stand in the order of their creation; the marker names the last one of the page before. */
export async function listMultipartUploads(call: S3Call): Promise<LocalResponse> {
  const { request, bucket, store } = call;
  const { query } = request;
  const uploadsMax = readCount(query, "max-uploads");
  const encode = readEncoding(query);
  const prefix = query.get("prefix") ?? "";
  const keyMarker = query.get("key-marker") ?? "";
  const idMarker = query.get("upload-id-marker") ?? "";
  const all = store.listUploads(bucket).filter(({ key }) => key.startsWith(prefix));
  const marked = idMarker === "" ? -1 : all.findIndex(({ id }) => id === idMarker);
  const behind = all.filter(({ key }, index) =>
    marked >= 0 ? index > marked : keyMarker === "" || compareUtf8(key, keyMarker) > 0,
  );
  const page = behind.slice(0, uploadsMax);
  const isTruncated = page.length < behind.length && page.length > 0;
  const body = xmlDocument(
    "ListMultipartUploadsResult",
    {
      Bucket: bucket,
      KeyMarker: encode(keyMarker),
      UploadIdMarker: idMarker,
      NextKeyMarker: isTruncated ? encode(page.at(-1)?.key ?? "") : undefined,
      NextUploadIdMarker: isTruncated ? page.at(-1)?.id : undefined,
      Prefix: encode(prefix),
      EncodingType: query.get("encoding-type") ?? undefined,
      MaxUploads: uploadsMax,
      IsTruncated: isTruncated,
      Upload: page.map((upload) => ({
        Key: encode(upload.key),
        UploadId: upload.id,
        StorageClass: "STANDARD",
        Initiated: new Date(upload.createdAt).toISOString(),
        ChecksumAlgorithm: upload.algorithm,
        ChecksumType: upload.checksumType,
      })),
    },
    S3_NAMESPACE,
  );
  return xmlResponse(body);
}
