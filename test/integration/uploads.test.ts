import { CreateMultipartUploadCommand } from "@aws-sdk/client-s3";
import { expect, it } from "vitest";
import { createUploads } from "../../src/aws/uploads.ts";
import { BUCKET, startTestCloud } from "../support/test-cloud.ts";

it("uploads that are open are listed below their prefix, and aborted, twice if need be", async () => {
  const { s3, dispose } = await startTestCloud();
  try {
    const keys = ["runs/a b/ü+%.bin", "runs/line\nbreak", "drops/mine.zip"];
    for (const Key of keys)
      await s3.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }));
    const uploads = createUploads(s3, BUCKET);
    const listed = await uploads.list("runs/", 10);
    expect(listed.map(({ key }) => key).sort()).toEqual(keys.slice(0, 2).sort());
    expect(Math.abs(Date.now() - (listed[0]?.startedAt ?? 0))).toBeLessThan(60_000);
    expect(await uploads.list("runs/", 1)).toHaveLength(1);
    for (const upload of [...listed, ...listed]) await uploads.abort(upload);
    expect(await uploads.list("runs/", 10)).toEqual([]);
    expect(await uploads.list("drops/", 10)).toHaveLength(1);
  } finally {
    await dispose();
  }
});
