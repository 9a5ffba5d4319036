import { expect, test } from "vitest";
import { loadConfig, parseConfig } from "../../src/config.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { UserError } from "../../src/errors.ts";
import { makeDirectory } from "../support/directory.ts";

const file = (text: string) => ({ name: "errand.yaml", text });
const PLAIN = "region: eu-west-1\nbucket: errand-file\n";

const problemsOf = (sources: Parameters<typeof parseConfig>[0]): string => {
  try {
    parseConfig(sources);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error("the configuration was taken");
};

test("region and bucket are enough, all else has a default", () => {
  expect(parseConfig({ file: file(PLAIN) })).toEqual({
    region: "eu-west-1",
    bucket: "errand-file",
    subnets: [],
    securityGroupIds: [],
    instanceProfile: "errand-instance",
    images: {},
    instanceTags: {},
    jobRoles: {},
    providers: [],
    limits: DEFAULT_LIMITS,
    logLevel: "info",
    logFormat: "json",
    allowsHostPython: false,
    every: { logMs: 2_000, heartbeatMs: 30_000, syncMs: 60_000, stopMs: 5_000 },
  });
});

test("a flag wins over the environment, the environment over the file", () => {
  const environment = { ERRAND_BUCKET: "errand-env", AWS_REGION: "us-east-2" };
  const all = parseConfig({
    flags: { bucket: "errand-flag" },
    environment,
    file: file(`${PLAIN}queueUrl: https://sqs.eu-west-1.amazonaws.com/1/q\n`),
  });
  expect([all.bucket, all.region, all.queueUrl]).toEqual([
    "errand-flag",
    "us-east-2",
    "https://sqs.eu-west-1.amazonaws.com/1/q",
  ]);
});

test("AWS_REGION wins over AWS_DEFAULT_REGION, and an empty variable is none", () => {
  const config = parseConfig({
    environment: { AWS_REGION: "us-east-2", AWS_DEFAULT_REGION: "us-west-1", ERRAND_BUCKET: "" },
    file: file(PLAIN),
  });
  expect([config.region, config.bucket]).toEqual(["us-east-2", "errand-file"]);
});

test("one limit is set and the others keep their defaults", () => {
  const config = parseConfig({
    environment: { ERRAND_INSTANCES_MAX: "0", ERRAND_HOURLY_USD_MAX: "2.5" },
    file: file(`${PLAIN}limits: { jobsMax: 5 }\n`),
  });
  expect(config.limits).toEqual({
    ...DEFAULT_LIMITS,
    instancesMax: 0,
    hourlyUsdMax: 2.5,
    jobsMax: 5,
  });
});

test("roles for jobs are ARNs by name, and what is none is told with its name", () => {
  const training = "arn:aws:iam::123456789012:role/errand-training";
  const config = parseConfig({ file: file(`${PLAIN}jobRoles: { training: "${training}" }\n`) });
  expect(config.jobRoles).toEqual({ training });
  const told = problemsOf({
    file: file(`${PLAIN}jobRoles: { a: errand-training, "b c": "${training}" }\n`),
  });
  expect(told).toContain("errand.yaml: jobRoles.a: is no role's ARN; one looks like arn:aws:iam::");
  expect(told).toContain("errand.yaml: jobRoles.b c: a role's name has letters, digits, dots");
});

test("a bucket of digits is a name", () => {
  const environment = { ERRAND_BUCKET: "1234567", AWS_REGION: "us-east-1" };
  expect(parseConfig({ environment }).bucket).toBe("1234567");
});

test("an endpoint loses the slash at its end", () => {
  const environment = { AWS_ENDPOINT_URL: "http://127.0.0.1:4577/" };
  expect(parseConfig({ environment, file: file(PLAIN) }).endpoint).toBe("http://127.0.0.1:4577");
});

test("all problems are told at once, each with the place it comes from", () => {
  const text = `
buckett: x
region: mars
limits: { instancesMax: many, maxJobs: 3 }
subnets: [{ zone: us-east-1a }]
instanceTags: { "a b": x, "errand:run": y }
`;
  const message = problemsOf({
    flags: { logLevel: "loud" },
    environment: { ERRAND_HOURLY_USD_MAX: "lots", AWS_ENDPOINT_URL: "ftp://x" },
    file: file(text),
  });
  const lines = message.split("\n");
  expect(lines[0]).toBe("the configuration has 11 problems:");
  expect(lines).toContain("errand.yaml: region: is no region; one looks like us-east-1");
  expect(lines).toContain(
    "errand.yaml: bucket: is missing; set it here, by --bucket or ERRAND_BUCKET",
  );
  expect(lines).toContain("AWS_ENDPOINT_URL: endpoint: is no http or https URL");
  expect(lines.find((line) => line.startsWith("--log-level: logLevel: "))).toContain('"debug"');
  expect(lines.find((line) => line.startsWith("ERRAND_HOURLY_USD_MAX: "))).toContain("number");
  expect(lines.find((line) => line.includes("limits.instancesMax: "))).toMatch(/^errand.yaml: /);
  expect(lines.find((line) => line.includes('"limits.maxJobs" is no setting'))).toContain(
    "jobsMax",
  );
  expect(lines.find((line) => line.includes('"buckett" is no setting'))).toContain(
    'did you mean "bucket"?',
  );
  expect(lines.find((line) => line.includes("subnets.0.subnetId: "))).toBeDefined();
  expect(lines.find((line) => line.includes("instanceTags.a b: "))).toContain("letters, digits");
  expect(lines.find((line) => line.includes("instanceTags.errand:run: "))).toContain("itself");
});

test("YAML that cannot be read is told with line and column", () => {
  expect(
    problemsOf({ file: file("region: eu-west-1\nregion: eu-west-2\nbucket: errand\n") }),
  ).toMatch(/errand\.yaml:2:1: .*unique/);
});

test("of a file that is no YAML it is not said what is missing in it", () => {
  expect(problemsOf({ file: file("region: [") })).toMatch(/^errand\.yaml:1:\d+: [^\n]+$/);
});

test("a setting that is like none is told with those there are", () => {
  const problem = problemsOf({ file: file(`${PLAIN}zzz: 1\n`) });
  expect(problem).toMatch(/^errand\.yaml: "zzz" is no setting; there are region, bucket, .*$/);
});

test("a file that is no map is refused", () => {
  expect(problemsOf({ file: file("- a\n") })).toContain("errand.yaml: has to be a map of settings");
});

test("an empty file is a file", () => {
  const environment = { AWS_REGION: "us-east-1", ERRAND_BUCKET: "errand" };
  expect(parseConfig({ environment, file: file("# nothing yet\n") }).bucket).toBe("errand");
});

test("errand.yaml of the working directory is read, and --config instead of it", async () => {
  const cwd = await makeDirectory({
    "errand.yaml": PLAIN,
    "other.yaml": "region: eu-west-1\nbucket: errand-other\n",
  });
  const flags = { region: "us-east-1" };
  expect((await loadConfig(flags, { cwd })).bucket).toBe("errand-file");
  expect((await loadConfig(flags, { cwd, path: `${cwd}/other.yaml` })).bucket).toBe("errand-other");
});

test("a file that was named and is not there is an error that names it", async () => {
  await expect(loadConfig({}, { path: "/nowhere/errand.yaml" })).rejects.toThrow(
    "reading the configuration /nowhere/errand.yaml",
  );
});

test("a retention has a unit: 30 alone could be seconds or days", () => {
  const retentionOf = (text: string) =>
    parseConfig({ file: file(`${PLAIN}retention: ${text}\n`) }).retention;
  expect([retentionOf("30d"), retentionOf("12h")]).toEqual([30 * 86_400_000, 12 * 3_600_000]);
  for (const text of ["30", '"30"', "soon", "[]"]) {
    expect(problemsOf({ file: file(`${PLAIN}retention: ${text}\n`) })).toBe(
      'errand.yaml: retention: is no length of time; one looks like "30d" or "12h"',
    );
  }
});

test("provider modules are looked for from where the configuration lies", async () => {
  const directory = await makeDirectory({
    "conf/errand.yaml": `${PLAIN}providers: [./sweep.mjs, a-package]\n`,
  });
  const { providers } = await loadConfig({}, { path: `${directory}/conf/errand.yaml` });
  expect(providers).toEqual([
    { module: "./sweep.mjs", directory: `${directory}/conf` },
    { module: "a-package", directory: `${directory}/conf` },
  ]);
});

test("budgets and quotas are limits, each known by name", () => {
  const text = `${PLAIN}limits: {runUsdMax: 5, dayUsdMax: 20.5, vcpusMax: {gAndVt: 64, p: 0}}\n`;
  expect(parseConfig({ file: file(text) }).limits).toEqual({
    ...DEFAULT_LIMITS,
    runUsdMax: 5,
    dayUsdMax: 20.5,
    vcpusMax: { gAndVt: 64, p: 0 },
  });
  expect(problemsOf({ file: file(`${PLAIN}limits: {runUsdMax: 0}\n`) })).toContain(
    "limits.runUsdMax",
  );
  expect(problemsOf({ file: file(`${PLAIN}limits: {vcpusMax: {g: 64}}\n`) })).toContain("vcpusMax");
});

test("a subnet is an id, or an id with its zone", () => {
  const text = `${PLAIN}subnets: [subnet-0a1b, { zone: eu-west-1b, subnetId: subnet-0c2d }]\n`;
  expect(parseConfig({ file: file(text) }).subnets).toEqual([
    { subnetId: "subnet-0a1b" },
    { subnetId: "subnet-0c2d", zone: "eu-west-1b" },
  ]);
  expect(problemsOf({ file: file(`${PLAIN}subnets: [eu-west-1a]\n`) })).toBe(
    "errand.yaml: subnets.0.subnetId: is no subnet; one looks like subnet-0a1b2c3d",
  );
  const problem = problemsOf({ file: file(`${PLAIN}subnets: [{ subnet: subnet-0a1b }]\n`) });
  expect(problem).toContain('"subnets.0.subnet" is no setting; did you mean "subnetId"?');
});
