import { expect, test } from "vitest";
import { step } from "../../../src/core/step.ts";
import { makeCatalog, makeJob, makeLook, makeResources, makeRun } from "../../support/make.ts";

test.each([
  ["does not exist", [], "there is no image ami-0a in us-east-1 that this account may use"],
  [
    "is for another architecture",
    [{ arch: "arm64", hasGpuDriver: false, imageId: "ami-0a", namedAs: "ami-0a" } as const],
    "the image ami-0a is for arm64, and the job asks for x86_64; set resources.arch",
  ],
])("a job fails at once when the image that it names %s", (_, named, reason) => {
  const jobs = [makeJob({ resources: makeResources({ image: "ami-0a" }) })];
  const { images } = makeCatalog();
  const catalog = makeCatalog({
    images: [...images, ...named.map((image) => ({ ...image, rootDeviceName: "/dev/xvda" }))],
  });
  const { run } = step(makeRun([], { jobs }), makeLook({ catalog }));
  expect(run.attempts).toEqual([]);
  expect(run.verdicts[0]?.reason).toContain(reason);
});
