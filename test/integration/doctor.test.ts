/** `errand doctor` on a sound local cloud, and on ones that are broken in one place each. */
import { RunInstancesCommand } from "@aws-sdk/client-ec2";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Clients, createClients } from "../../src/aws/clients.ts";
import { createCloud } from "../../src/aws/cloud.ts";
import { createStore } from "../../src/aws/store.ts";
import { examine, type Patient, verdictOf } from "../../src/cli/doctor/doctor.ts";
import { readLocalTypes } from "../../src/cli/local-types.ts";
import { systemClock } from "../../src/cli/system-clock.ts";
import { parseConfig } from "../../src/config.ts";
import { ensureInstallation } from "../../src/daemon/installation.ts";
import { keepLease } from "../../src/daemon/lease.ts";
import { type FaultCalls, makeFaultCalls } from "../support/faults.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";

let world: TestCloud;
let clients: Clients;
const faults: FaultCalls = makeFaultCalls(() => world.cloud);
const INSTALLATION = "abcdefghij234567abcd";

beforeAll(async () => {
  world = await startTestCloud({ instanceTypes: await readLocalTypes() });
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  clients = createClients({ endpoint, region, credentials: { accessKeyId, secretAccessKey } });
  await ensureInstallation(createStore(clients.s3, world.cloud.bucket), INSTALLATION);
});
afterEach(() => faults.clear());
afterAll(async () => {
  clients.close();
  await world.dispose();
});

let examinations = 0;

function makePatient(settings: object = {}, { reap = false, aheadMs = 0 } = {}): Patient {
  const { endpoint, region, bucket, queueUrl, instanceProfile, accessKeyId, secretAccessKey } =
    world.cloud;
  const text = JSON.stringify({ region, bucket, queueUrl, instanceProfile, endpoint, ...settings });
  const config = parseConfig({ file: { name: "errand.yaml", text } });
  const { subnets, images } = config;
  examinations += 1;
  return {
    store: createStore(clients.s3, config.bucket),
    clients,
    config,
    cloud: createCloud(clients, {
      ...{ region, subnets, images, installation: INSTALLATION },
      readScript: async () => "",
    }),
    where: { endpoint, region, credentials: { accessKeyId, secretAccessKey } },
    isLocal: true,
    token: `examination${examinations}`,
    eventMs: 2_000,
    clock: { ...systemClock, now: () => Date.now() + aheadMs },
    reap,
  };
}

async function examined(patient: Patient) {
  const findings = await examine(patient, () => {});
  const found = Object.fromEntries(findings.map((each) => [each.check, each]));
  return { verdict: verdictOf(findings), found };
}

const objects = () => createStore(clients.s3, world.cloud.bucket).list("");

test("a sound installation passes, and nothing of the examination is left", async () => {
  const before = await objects();
  const { verdict, found } = await examined(makePatient());
  expect(verdict).toBe("warn");
  const bad = Object.values(found).filter(({ verdict: each }) => each !== "pass");
  // No daemon runs; quotas and roles there are none here.
  expect(bad.map(({ check, verdict: each }) => `${each} ${check}`)).toEqual([
    "warn daemon",
    "skip quotas",
    "skip daemon's rights",
    "skip machines' role",
  ]);
  expect(found["daemon's rights"]?.detail).toBe("the local cloud has no IAM");
  expect(found.launch?.detail).toMatch(/^EC2 would launch \S+ in us-east-1a, /);
  expect(await objects()).toEqual(before);
});

test("rights that IAM would have to tell are skipped where an endpoint has none, with its words", async () => {
  const { found } = await examined({ ...makePatient(), isLocal: false });
  for (const name of ["daemon's rights", "machines' role"]) {
    expect(found[name]).toMatchObject({
      verdict: "skip",
      detail: expect.stringContaining('the local cloud has no service "iam"'),
      cure: "",
    });
  }
});

test("a bucket that is not there fails, and what hangs on it is not guessed at", async () => {
  const { verdict, found } = await examined(makePatient({ bucket: "errand-elsewhere" }));
  expect(verdict).toBe("fail");
  expect(found.bucket).toMatchObject({
    verdict: "fail",
    detail: "there is no bucket errand-elsewhere",
    cure: expect.stringContaining("errand init"),
  });
  expect(found.events).toMatchObject({ verdict: "skip", detail: "needs bucket" });
  expect(found.images?.verdict).toBe("pass");
});

test("a launch that EC2 would refuse names the statement to add", async () => {
  const resource = "arn:aws:ec2:us-east-1:000000000000:security-group/sg-1";
  await faults.add({
    ...{ fault: "error", operation: "ec2:RunInstances", code: "UnauthorizedOperation" },
    message: `You are not authorized to perform: ec2:RunInstances on resource: ${resource}`,
  });
  const { found } = await examined(makePatient());
  expect(found.launch?.verdict).toBe("fail");
  expect(found.launch?.detail).toMatch(/^subnet-\w+: launching \S+ in us-east-1a, as a trial: /);
  expect(found.launch?.cure).toContain(
    `{"Effect":"Allow","Action":"ec2:RunInstances","Resource":"${resource}"}`,
  );
});

test("a quota that no machine of a family fits into is told, with the others", async () => {
  await faults.add(
    { fault: "quota", family: "standard", vcpus: 64 },
    { fault: "quota", family: "g-vt", vcpus: 0 },
  );
  const { found } = await examined(makePatient());
  expect(found.quotas).toMatchObject({
    verdict: "warn",
    detail: expect.stringMatching(
      /^vCPUs: Standard \(.*\) 64, G and VT 0; not one machine of G and VT fits$/,
    ),
  });
});

test("events that get lost are noticed", async () => {
  await faults.add({ fault: "event-lost", source: "s3" });
  const { found } = await examined(makePatient());
  expect(found.events).toMatchObject({
    verdict: "fail",
    detail: "the queue did not hear of an object within 2 s",
  });
});

test("without a queue it says what that means", async () => {
  const { found } = await examined(makePatient({ queueUrl: undefined }));
  expect(found.events).toMatchObject({ verdict: "warn", detail: expect.stringContaining("sweep") });
});

test("machines that no run wants are told, and ended when one asks for it", async () => {
  const Tags = [
    { Key: "errand:daemon", Value: INSTALLATION },
    { Key: "errand:launch", Value: "nobodyslaunch" },
  ];
  await clients.launchEc2.send(
    new RunInstancesCommand({
      ...{ ImageId: world.cloud.imageIds[0], InstanceType: "t3a.nano", MinCount: 1, MaxCount: 1 },
      TagSpecifications: [{ ResourceType: "instance", Tags }],
    }),
  );
  const young = await examined(makePatient());
  expect(young.found.orphans?.verdict).toBe("pass");
  const later = { aheadMs: 11 * 60_000 };
  const told = await examined(makePatient({}, later));
  expect(told.found.orphans).toMatchObject({
    verdict: "warn",
    detail: expect.stringMatching(/^no open run wants i-\w+ \(t3a.nano, us-east-1\w\)$/),
    cure: expect.stringContaining("--reap"),
  });
  const reaped = await examined(makePatient({}, { ...later, reap: true }));
  expect(reaped.found.orphans?.detail).toMatch(/^ended i-/);
  expect((await examined(makePatient({}, later))).found.orphans?.verdict).toBe("pass");
});

test("a daemon that does not hear of objects is told from one that does", async () => {
  const patient = makePatient();
  const me = { holder: "me", host: "here", pid: 1 };
  const lease = keepLease(patient.store, me, { now: Date.now, isDead: () => false });
  await lease.renew();
  const deaf = await examined(patient);
  expect(deaf.found.daemon).toMatchObject({ verdict: "pass", detail: "process 1 on here plans" });
  expect(deaf.found.events?.detail).toBe("the daemon did not hear of an object within 2 s");
  await lease.release();
});

test("subnets and images that EC2 does not know, and another's bucket, fail with their cure", async () => {
  const subnets = await examined(makePatient({ subnets: ["subnet-0123456789abcdef0"] }));
  expect(subnets.found.images?.detail).toContain("subnet-0123456789abcdef0");
  const image = await examined(makePatient({ images: { cpu: "ami-0123456789abcdef0" } }));
  expect(image.found.images?.detail).toContain("ami-0123456789abcdef0");
  expect(image.found.offers).toMatchObject({ verdict: "skip", detail: "needs images" });
  const other = await examined(makePatient({ installation: "zzzzzzzzzzzzzzzzzzzz" }));
  expect(other.found.installation).toMatchObject({
    verdict: "fail",
    cure: expect.stringContaining(`InstallationId=${INSTALLATION}`),
  });
});
