/** The local cloud under the real `aws` command, which knows nothing of us. */
import { randomBytes } from "node:crypto";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BUCKET, startTestCloud, type TestCloud } from "../support/test-cloud.ts";
import { installTool, type Output, runTool } from "../support/tools.ts";

const tool = installTool("aws");
const suite = "bin" in tool ? describe : describe.skip;

let test: TestCloud;
let folder: string;
let environment: Record<string, string>;

/** `bin` holds nothing when the tool is missing, and then no test runs. */
const bin = "bin" in tool ? tool.bin : "";

beforeAll(async () => {
  test = await startTestCloud({
    bootMs: 10,
    instanceTypes: [
      {
        name: "m5.large",
        vcpus: 2,
        memoryMib: 8192,
        architectures: ["x86_64"],
        hypervisor: "nitro",
        isBareMetal: false,
        isBurstable: false,
      },
    ],
  });
  folder = await mkdtemp(join(tmpdir(), "errand-aws-"));
  const config = join(folder, "config");
  // Version 1 presigns with an older signature unless it is told.
  await writeFile(config, "[default]\ns3 =\n  signature_version = s3v4\n");
  environment = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    AWS_CONFIG_FILE: config,
    AWS_PAGER: "",
    AWS_DEFAULT_REGION: test.cloud.region,
    AWS_ENDPOINT_URL: test.cloud.endpoint,
    AWS_ACCESS_KEY_ID: test.cloud.accessKeyId,
    AWS_SECRET_ACCESS_KEY: test.cloud.secretAccessKey,
    AWS_MAX_ATTEMPTS: "1",
  };
});
afterAll(async () => {
  await test.dispose();
  await rm(folder, { recursive: true, force: true });
});

const tryAws = (...words: string[]): Promise<Output> =>
  runTool(join(bin, "aws"), words, { env: environment, cwd: folder });

/** What it printed; fails when it did. */
async function aws(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await tryAws(...words);
  if (code !== 0) throw new Error(`aws ${words.join(" ")}: exit code ${code}: ${stderr}`);
  return stdout;
}
const awsJson = async (...words: string[]) => JSON.parse(await aws(...words, "--output", "json"));

async function write(name: string, body: Uint8Array | string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), body);
}
const read = (name: string): Promise<Buffer> => readFile(join(folder, name));

suite("aws s3", () => {
  it("copies a file up and down, small and in parts, and lists it", async () => {
    const big = randomBytes(20_000_001);
    await write("big", big);
    await write("small", "small");
    await aws("s3", "cp", "big", `s3://${BUCKET}/cp/big`);
    await aws("s3", "cp", "small", `s3://${BUCKET}/cp/deep/small`);
    const head = await awsJson("s3api", "head-object", "--bucket", BUCKET, "--key", "cp/big");
    // Its parts are of 8 MiB.
    expect(head.ETag).toMatch(/^"[0-9a-f]{32}-3"$/);
    await aws("s3", "cp", `s3://${BUCKET}/cp/big`, "big.back");
    expect((await read("big.back")).equals(big)).toBe(true);
    const list = await aws("s3", "ls", `s3://${BUCKET}/cp/`);
    expect(list).toMatch(/PRE deep\/\n.* 20000001 big\n/);
    const all = await aws("s3", "ls", "--recursive", "--summarize", `s3://${BUCKET}/cp/`);
    expect(all).toMatch(/ 5 cp\/deep\/small\n\nTotal Objects: 2\n {3}Total Size: 20000006\n/);
  });

  it("copies and moves within the cloud, in parts too, and removes what is under a prefix", async () => {
    const body = randomBytes(12_000_000);
    await write("body", body);
    await aws("s3", "cp", "body", `s3://${BUCKET}/within/a`, "--metadata", "k=v");
    await aws("s3", "cp", `s3://${BUCKET}/within/a`, `s3://${BUCKET}/within/b`);
    await aws("s3", "mv", `s3://${BUCKET}/within/b`, `s3://${BUCKET}/within/c`);
    await aws("s3", "cp", `s3://${BUCKET}/within/c`, "body.back");
    expect((await read("body.back")).equals(body)).toBe(true);
    expect(await aws("s3", "ls", `s3://${BUCKET}/within/`)).not.toMatch(/ b\n/);
    await aws("s3", "rm", "--recursive", `s3://${BUCKET}/within/`);
    expect((await tryAws("s3", "ls", `s3://${BUCKET}/within/`)).code).toBe(1);
  });

  it("syncs a tree up and down with odd names, sends only what changed, and deletes with --delete", async () => {
    const names = ["a", "deep/b", "deep/er/ü snow ☃", "plus+ and %20", "empty"];
    for (const name of names) await write(`tree/${name}`, name === "empty" ? "" : name);
    await aws("s3", "sync", "tree", `s3://${BUCKET}/tree`);
    await aws("s3", "sync", `s3://${BUCKET}/tree`, "back");
    for (const name of names)
      expect(await read(`back/${name}`)).toEqual(await read(`tree/${name}`));
    expect(await aws("s3", "sync", "tree", `s3://${BUCKET}/tree`)).toBe("");

    await write("tree/a", "other text");
    await utimes(join(folder, "tree/a"), new Date(), new Date(Date.now() + 5_000));
    expect(await aws("s3", "sync", "tree", `s3://${BUCKET}/tree`, "--no-progress")).toBe(
      `upload: tree/a to s3://${BUCKET}/tree/a\n`,
    );
    await rm(join(folder, "tree/deep"), { recursive: true });
    await aws("s3", "sync", "tree", `s3://${BUCKET}/tree`, "--delete");
    await aws("s3", "sync", `s3://${BUCKET}/tree`, "back", "--delete");
    expect((await readdir(join(folder, "back"))).toSorted()).toEqual(
      // The command leaves emptied directories alone.
      ["a", "deep", "empty", "plus+ and %20"],
    );
    await expect(read("back/deep/b")).rejects.toThrow("ENOENT");
    expect((await read("back/a")).toString()).toBe("other text");
  });

  it("makes a bucket, and removes it with all that is in it", async () => {
    await write("x", "x");
    await aws("s3", "mb", "s3://of-the-cli");
    await aws("s3", "cp", "x", "s3://of-the-cli/x");
    expect(await aws("s3", "ls")).toMatch(/ of-the-cli\n/);
    expect((await tryAws("s3", "rb", "s3://of-the-cli")).stderr).toMatch(/BucketNotEmpty/);
    await aws("s3", "rb", "--force", "s3://of-the-cli");
    expect(await aws("s3", "ls")).not.toMatch(/of-the-cli/);
  });

  it("presigns a link that anybody can follow", async () => {
    await write("x", "for everybody");
    await aws("s3", "cp", "x", `s3://${BUCKET}/presigned/x`);
    const url = await aws("s3", "presign", `s3://${BUCKET}/presigned/x`, "--expires-in", "60");
    expect(url).toMatch(/X-Amz-Expires=60/);
    expect(await (await fetch(url.trim())).text()).toBe("for everybody");
  });

  it("says what is wrong in AWS's words", async () => {
    const { code, stderr } = await tryAws("s3", "cp", `s3://${BUCKET}/none`, "none");
    expect([code, stderr.includes("404")]).toEqual([1, true]);
    expect((await tryAws("s3", "ls", "s3://no-such-bucket")).stderr).toMatch(/NoSuchBucket/);
  });
});

suite("aws s3api", () => {
  it("creates what is not there and swaps what is, on condition", async () => {
    await write("one", "one");
    const at = ["--bucket", BUCKET, "--key", "conditional"];
    const put = ["s3api", "put-object", ...at, "--body", "one"];
    const { ETag } = await awsJson(...put, "--if-none-match", "*");
    expect((await tryAws(...put, "--if-none-match", "*")).stderr).toMatch(/PreconditionFailed/);
    await aws(...put, "--if-match", ETag);
    const removal = ["s3api", "delete-object", ...at, "--if-match"];
    expect((await tryAws(...removal, '"another"')).stderr).toMatch(/PreconditionFailed/);
    await aws(...removal, ETag);
  });

  it("verifies the checksums that it asks for, and reads a range", async () => {
    await write("digits", "0123456789");
    const at = ["--bucket", BUCKET, "--key", "digits"];
    const put = ["s3api", "put-object", ...at, "--body", "digits"];
    const sum = await awsJson(...put, "--checksum-algorithm", "SHA256");
    expect(sum.ChecksumSHA256).toBe("hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=");
    const wrong = await tryAws(...put, "--checksum-sha256", `${"A".repeat(43)}=`);
    expect(wrong.stderr).toMatch(/BadDigest/);
    await aws("s3api", "get-object", ...at, "--range", "bytes=-3", "tail");
    expect((await read("tail")).toString()).toBe("789");
  });

  it("uploads in parts by hand, and gives an upload up", async () => {
    await write("part", "part");
    const at = ["--bucket", BUCKET, "--key", "by-hand"];
    const create = () => awsJson("s3api", "create-multipart-upload", ...at);
    const { UploadId } = await create();
    const of = [...at, "--upload-id", UploadId];
    const part = ["--part-number", "1", "--body", "part"];
    const { ETag } = await awsJson("s3api", "upload-part", ...of, ...part);
    const { Parts } = await awsJson("s3api", "list-parts", ...of);
    expect(Parts).toMatchObject([{ PartNumber: 1, Size: 4, ETag }]);
    const whole = JSON.stringify({ Parts: [{ PartNumber: 1, ETag }] });
    await aws("s3api", "complete-multipart-upload", ...of, "--multipart-upload", whole);
    const other = (await create()).UploadId;
    await aws("s3api", "abort-multipart-upload", ...at, "--upload-id", other);
    const { Uploads = [] } = await awsJson("s3api", "list-multipart-uploads", "--bucket", BUCKET);
    expect(Uploads).toEqual([]);
  });

  it("deletes many keys in one call and lists with a delimiter, page by page", async () => {
    for (const name of ["a", "b/1", "b/2", "c"]) await write(`many/${name}`, name);
    await aws("s3", "cp", "--recursive", "many", `s3://${BUCKET}/many/`);
    const list = await awsJson(
      ...["s3api", "list-objects-v2", "--bucket", BUCKET, "--prefix", "many/"],
      ...["--delimiter", "/", "--page-size", "1"],
    );
    expect(list.Contents.map(({ Key }: { Key: string }) => Key)).toEqual(["many/a", "many/c"]);
    expect(list.CommonPrefixes).toEqual([{ Prefix: "many/b/" }]);
    const Objects = ["a", "b/1", "none"].map((name) => ({ Key: `many/${name}` }));
    const batch = JSON.stringify({ Objects });
    const { Deleted } = await awsJson(
      ...["s3api", "delete-objects", "--bucket", BUCKET, "--delete", batch],
    );
    expect(Deleted).toHaveLength(3);
    const left = await awsJson(
      ...["s3api", "list-objects", "--bucket", BUCKET, "--prefix", "many/"],
    );
    expect(left.Contents.map(({ Key }: { Key: string }) => Key)).toEqual(["many/b/2", "many/c"]);
  });

  it("streams a file of 200 MB without an error of its own checks", async () => {
    await write("sparse", "");
    await truncate(join(folder, "sparse"), 200_000_000);
    await aws("s3", "cp", "sparse", `s3://${BUCKET}/sparse`, "--no-progress");
    const words = ["s3api", "head-object", "--bucket", BUCKET, "--key", "sparse"];
    expect((await awsJson(...words)).ContentLength).toBe(200_000_000);
    await aws("s3", "cp", `s3://${BUCKET}/sparse`, "sparse.back", "--no-progress");
    expect((await read("sparse.back")).length).toBe(200_000_000);
    await rm(join(folder, "sparse.back"));
  });
});

suite("aws sqs", () => {
  const sqs = (...words: string[]) =>
    awsJson("sqs", ...words, "--endpoint-url", test.cloud.endpoint);

  it("sends with attributes, receives by a long poll, deletes, and reads the counts", async () => {
    await aws("sqs", "create-queue", "--queue-name", "cli", "--endpoint-url", test.cloud.endpoint);
    const { QueueUrl } = await sqs("get-queue-url", "--queue-name", "cli");
    const at = ["--queue-url", QueueUrl];
    const attributes = JSON.stringify({ a: { DataType: "String", StringValue: "b" } });
    const body = ["--message-body", "hello", "--message-attributes", attributes];
    await aws("sqs", "send-message", ...at, ...body, "--endpoint-url", test.cloud.endpoint);
    const wait = ["--wait-time-seconds", "5", "--message-attribute-names", "All"];
    const { Messages } = await sqs("receive-message", ...at, ...wait);
    expect(Messages).toMatchObject([
      { Body: "hello", MessageAttributes: { a: { StringValue: "b" } } },
    ]);
    const counts = async () => {
      const { Attributes } = await sqs("get-queue-attributes", ...at, "--attribute-names", "All");
      return Attributes.ApproximateNumberOfMessagesNotVisible;
    };
    expect(await counts()).toBe("1");
    const handle = ["--receipt-handle", Messages[0].ReceiptHandle];
    await aws("sqs", "delete-message", ...at, ...handle, "--endpoint-url", test.cloud.endpoint);
    expect(await counts()).toBe("0");
    await aws("sqs", "delete-queue", ...at, "--endpoint-url", test.cloud.endpoint);
    const gone = ["sqs", "receive-message", ...at, "--endpoint-url", test.cloud.endpoint];
    expect((await tryAws(...gone)).stderr).toMatch(/NonExistentQueue|QueueDoesNotExist/);
  });

  it("hears of a drop that `aws s3 cp` made", async () => {
    const at = ["--queue-url", test.cloud.queueUrl];
    await aws("sqs", "purge-queue", ...at, "--endpoint-url", test.cloud.endpoint);
    await write("drop", "drop");
    await aws("s3", "cp", "drop", `s3://${BUCKET}/drops/train/a.tar.gz`);
    const { Messages } = await sqs("receive-message", ...at, "--wait-time-seconds", "5");
    expect(JSON.parse(Messages[0].Body).Records[0].s3.object.key).toBe("drops/train/a.tar.gz");
  });
});

suite("aws ec2, ssm, sts", () => {
  it("runs an instance of the image that Parameter Store names, and gives it back", async () => {
    const name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    const { Parameter } = await awsJson("ssm", "get-parameter", "--name", name);
    await write("user-data", "#!/bin/bash\nsleep 600\n");
    const tags = "ResourceType=instance,Tags=[{Key=Name,Value=of the cli}]";
    const { Instances } = await awsJson(
      ...["ec2", "run-instances", "--image-id", Parameter.Value, "--instance-type", "m5.large"],
      ...["--user-data", "file://user-data", "--count", "2", "--tag-specifications", tags],
      ...["--subnet-id", test.cloud.subnets[0]?.subnetId ?? "", "--client-token", "of-the-cli"],
      ...["--instance-initiated-shutdown-behavior", "terminate"],
    );
    const ids: string[] = Instances.map(({ InstanceId }: { InstanceId: string }) => InstanceId);
    expect(new Set(ids).size).toBe(2);
    const statesOf = async (): Promise<string[]> => {
      const filter = ["--filters", "Name=tag:Name,Values=of the cli"];
      const query = ["--query", "Reservations[].Instances[].State.Name"];
      return awsJson("ec2", "describe-instances", ...filter, ...query);
    };
    const within = { timeout: 30_000, interval: 200 };
    await vi.waitFor(async () => expect(await statesOf()).toEqual(["running", "running"]), within);
    await aws("ec2", "terminate-instances", "--instance-ids", ...ids);
    await aws("ec2", "wait", "instance-terminated", "--instance-ids", ...ids);
    expect(await statesOf()).toEqual(["terminated", "terminated"]);
  });

  it("knows types and their offerings, and refuses a dry run as EC2 does", async () => {
    const types = await awsJson("ec2", "describe-instance-types", "--instance-types", "m5.large");
    expect(types.InstanceTypes[0].VCpuInfo.DefaultVCpus).toBe(2);
    const words = ["--location-type", "availability-zone", "--filters"];
    const offerings = await awsJson(
      ...["ec2", "describe-instance-type-offerings", ...words, "Name=instance-type,Values=m5.*"],
    );
    expect(offerings.InstanceTypeOfferings.length).toBeGreaterThan(0);
    const dry = await tryAws(
      ...["ec2", "run-instances", "--dry-run", "--instance-type", "m5.large"],
      ...["--image-id", test.cloud.imageIds[0] ?? ""],
    );
    expect(dry.stderr).toMatch(/DryRunOperation/);
  });

  it("says who the caller is", async () => {
    expect((await awsJson("sts", "get-caller-identity")).Account).toBe("000000000000");
  });
});
