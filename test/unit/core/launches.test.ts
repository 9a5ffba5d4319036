import { expect, test } from "vitest";
import {
  joinBatch,
  launchSchema,
  makeLaunch,
  makeOrder,
  orderSchema,
  shapeOf,
} from "../../../src/core/launches.ts";
import {
  makeAttempt,
  makeCatalog,
  makeJob,
  makeOffer,
  makeRun,
  makeSettings,
  makeStarted,
} from "../../support/make.ts";

const context = { catalog: makeCatalog(), settings: makeSettings(), at: 7 };

test("a launch freezes the whole RunInstances input", () => {
  const launch = makeLaunch("t1", [{ run: makeRun(), attempt: makeAttempt() }], context);
  expect(launchSchema.parse(JSON.parse(JSON.stringify(launch)))).toEqual(launch);
  expect(launch.input).toEqual({
    instanceType: "m7i.large",
    zone: "us-east-1a",
    subnetId: "subnet-a",
    imageId: "ami-cpu",
    rootDeviceName: "/dev/xvda",
    diskGib: 94,
    instanceProfile: "errand-instance",
    securityGroupIds: [],
    tags: {
      "errand:daemon": "inst",
      "errand:launch": "t1",
      "errand:run": "20261123-211530-aaaaaa",
      Name: "errand brave-otter-42 train",
    },
    userData: { bucket: "errand-test", region: "us-east-1", endpoint: "", scriptSha256: "abc" },
  });
});

test("a launch of several runs carries no run's tag", () => {
  const other = makeRun([], { id: "20261123-211530-bbbbbb" });
  const members = [
    { run: makeRun(), attempt: makeAttempt() },
    { run: other, attempt: makeAttempt({ launch: { token: "t1", index: 1 } }) },
  ];
  expect(makeLaunch("t1", members, context).input.tags).not.toHaveProperty("errand:run");
});

test("a machine with GPUs gets the image with a driver", () => {
  const attempt = makeAttempt({ offer: makeOffer({ gpus: 1 }) });
  const launch = makeLaunch("t1", [{ run: makeRun(), attempt }], context);
  expect(launch.input.imageId).toBe("ami-gpu");
});

const ofJob = {
  arch: "x86_64",
  hasGpuDriver: false,
  imageId: "ami-0a",
  namedAs: "ami-0a",
  rootDeviceName: "/dev/sda1",
} as const;
const naming = (image: string) => makeJob({ resources: { ...makeJob().resources, image } });

test("a job's own image takes the place of the one for its kind of machine, with its root device", () => {
  const run = makeRun([], { jobs: [naming("ami-0a")] });
  const catalog = makeCatalog({ images: [...makeCatalog().images, ofJob] });
  for (const gpus of [0, 1]) {
    const attempt = makeAttempt({ offer: makeOffer({ gpus }) });
    const { input } = makeLaunch("t1", [{ run, attempt }], { ...context, catalog });
    expect(input).toMatchObject({ imageId: "ami-0a", rootDeviceName: "/dev/sda1" });
  }
  const plain = makeLaunch("t1", [{ run: makeRun(), attempt: makeAttempt() }], {
    ...context,
    catalog: makeCatalog({ images: [ofJob, ...makeCatalog().images] }),
  });
  expect(plain.input.imageId).toBe("ami-cpu");
});

test("a disk is never smaller than the image that is put on it", () => {
  const [image] = makeCatalog().images;
  const sizeOn = (diskGib: number) => {
    const catalog = makeCatalog({ images: image ? [{ ...image, diskGib }] : [] });
    const members = [{ run: makeRun(), attempt: makeAttempt() }];
    return makeLaunch("t1", members, { ...context, catalog }).input.diskGib;
  };
  expect(sizeOn(8)).toBe(94);
  expect(sizeOn(120)).toBe(120);
});

test("jobs that name different images do not share a launch", () => {
  const names = [makeJob(), naming("ami-0a"), naming("ami-0b")].map(
    (job) => shapeOf(job, makeOffer(), 50).name,
  );
  expect(new Set(names).size).toBe(3);
});

test("the operator's tags cannot take the place of ours", () => {
  const settings = makeSettings({ instanceTags: { team: "ml", "errand:daemon": "other" } });
  const launch = makeLaunch("t1", [{ run: makeRun(), attempt: makeAttempt() }], {
    ...context,
    settings,
  });
  expect(launch.input.tags).toMatchObject({ team: "ml", "errand:daemon": "inst" });
});

test("an order names the artifacts of the attempt that succeeded", () => {
  const lost = makeStarted({ job: "prepare", outcome: { type: "lost", at: 1, reason: "" } });
  const done = makeStarted({
    job: "prepare",
    number: 2,
    outcome: { type: "succeeded", at: 2, reason: "" },
  });
  const jobs = [
    makeJob({ name: "prepare" }),
    makeJob({ needs: ["prepare"], inputs: [{ type: "job", job: "prepare" }] }),
  ];
  const run = makeRun([lost, done], { jobs });
  const order = makeOrder({ run, attempt: makeAttempt() }, makeSettings());
  expect(orderSchema.parse(JSON.parse(JSON.stringify(order)))).toEqual(order);
  expect(order.inputs).toEqual([
    {
      from: "prepare",
      prefix: "runs/20261123-211530-aaaaaa/prepare/2/artifacts/",
      manifest: "runs/20261123-211530-aaaaaa/prepare/2/manifest.json",
    },
  ]);
});

test("an order says where secrets are kept, and which role its job takes", () => {
  const environment = {
    A: "a",
    TOKEN: { ssm: "/errand/token" },
    DB: { secret: "errand/db", key: "k" },
  };
  const run = makeRun([], { jobs: [makeJob({ environment, role: "training" })] });
  const training = "arn:aws:iam::123456789012:role/errand-training";
  const settings = { ...makeSettings(), jobRoles: { training } };
  const order = makeOrder({ run, attempt: makeAttempt() }, settings);
  expect(orderSchema.parse(JSON.parse(JSON.stringify(order)))).toEqual(order);
  expect([order.job.environment, order.role]).toEqual([environment, training]);
});

test("a batch is full at its shape's size, and the next attempt opens another", () => {
  const shape = { name: "s", sizeMax: 2 };
  let batches = { tokens: ["a", "b"], open: [] } as Parameters<typeof joinBatch>[0];
  const places = [1, 2, 3].map(() => {
    const joined = joinBatch(batches, shape);
    batches = joined.batches;
    return joined.launch;
  });
  expect(places).toEqual([
    { token: "a", index: 0 },
    { token: "a", index: 1 },
    { token: "b", index: 0 },
  ]);
});
