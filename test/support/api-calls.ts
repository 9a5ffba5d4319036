/** Which calls of AWS the code makes, read from the code itself, as the rights that they need. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const SRC = join(import.meta.dirname, "../../src");

/** What an operation needs where that is not its own name. From the service authorization reference and the API's pages. */
const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  "s3:HeadObject": ["s3:GetObject"],
  "s3:HeadBucket": ["s3:ListBucket"],
  "s3:ListObjectsV2": ["s3:ListBucket"],
  "s3:ListMultipartUploads": ["s3:ListBucketMultipartUploads"],
  // Of an object with tags, S3 copies the tags too.
  "s3:CopyObject": ["s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"],
  "s3:CreateMultipartUpload": ["s3:PutObject"],
  "s3:UploadPartCopy": ["s3:GetObject", "s3:PutObject"],
  "s3:CompleteMultipartUpload": ["s3:PutObject"],
  "sqs:DeleteMessageBatch": ["sqs:DeleteMessage"],
  // With tags and with an instance profile.
  "ec2:RunInstances": ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"],
  // Needs none.
  "sts:GetCallerIdentity": [],
};

/** Rights by the file of `src/` whose calls need them, as `service:Action`. */
export function rightsByFile(): ReadonlyMap<string, readonly string[]> {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.startsWith("local/"))
    .sort();
  const rights = new Map<string, readonly string[]>();
  for (const file of files) {
    const calls = operationsOf(readFileSync(join(SRC, file), "utf8"));
    if (calls.length > 0) rights.set(file, [...new Set(calls.flatMap(rightsOf))].sort());
  }
  return rights;
}

const rightsOf = (operation: string): readonly string[] => RIGHTS[operation] ?? [operation];

/** IAM's prefixes are the clients' names, with these exceptions. */
const PREFIXES: Readonly<Record<string, string>> = { "service-quotas": "servicequotas" };

/** Commands and paginators that a module takes from a client of the SDK. */
function operationsOf(source: string): readonly string[] {
  // Static imports and `await import()` alike.
  const imports =
    /(?:import\s*(\{[^}]*\})\s*from|const\s*(\{[^}]*\})\s*=\s*await import\()\s*"@aws-sdk\/client-([a-z0-9-]+)"/g;
  return [...source.matchAll(imports)].flatMap(([, named = "", dynamic = "", client = ""]) =>
    [...(named || dynamic).matchAll(/\b(?:paginate([A-Z]\w+)|([A-Z]\w+)Command)\b/g)].map(
      ([, paged, called]) => `${PREFIXES[client] ?? client}:${paged ?? called}`,
    ),
  );
}

const RUNNER_METHODS: Readonly<Record<string, string>> = {
  GET: "s3:GetObject",
  HEAD: "s3:GetObject",
  PUT: "s3:PutObject",
  POST: "s3:PutObject",
  DELETE: "s3:AbortMultipartUpload",
};

/** What the runner asks of AWS: of S3 by the methods of its client, of others by the names of operations. */
export function runnerRights(): readonly string[] {
  const source = ["boot.py", "runner.py"]
    .map((name) => readFileSync(join(SRC, "runner", name), "utf8"))
    .join("\n");
  const opened = [...source.matchAll(/\.open\(\s*"([A-Z]+)"/g)].map(([, method = ""]) => method);
  const rights = opened.map((method) => {
    const right = RUNNER_METHODS[method];
    if (!right) throw new Error(`the runner calls S3 with ${method}: which right is that?`);
    return right;
  });
  const ofOthers = [...source.matchAll(/"(AmazonSSM|secretsmanager)\.([A-Z]\w+)"/g)].map(
    ([, target = "", operation = ""]) => `${target === "AmazonSSM" ? "ssm" : target}:${operation}`,
  );
  const ofSts = [...source.matchAll(/"Action": "([A-Z]\w+)"/g)].map(([, name]) => `sts:${name}`);
  return [...new Set([...rights, ...ofOthers, ...ofSts])].sort();
}
