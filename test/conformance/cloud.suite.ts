/** What every Cloud promises of launching, listing and terminating. */
import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import type { Launch } from "../../src/core/launches.ts";
import type { Instance } from "../../src/core/observation.ts";
import { type Catalog, chooseOffers, type Offer } from "../../src/core/offers.ts";
import type { Cloud } from "../../src/ports.ts";
import { makeResources } from "../support/make.ts";
import { type Backend, type Check, conformance } from "./backend.ts";

/** The installation whose instances the cloud lists. */
export const INSTALLATION = "conformance";

export type CloudUnderTest = {
  readonly cloud: Cloud;
  /** Lets this much time go by. */
  readonly pass: (ms: number) => Promise<void>;
};

/** `makeWorld` is called for each test; all may share one account. */
export function cloudConformance(backend: Backend, makeWorld: () => Promise<CloudUnderTest>): void {
  conformance("cloud", backend, (test) => {
    describeCatalog(makeWorld, test);
    describeLaunching(makeWorld, test);
    describeTerminating(makeWorld, test);
  });
}

type MakeWorld = () => Promise<CloudUnderTest>;

function offerOf(catalog: Catalog): Offer {
  const { offers } = chooseOffers(makeResources(), catalog, { offerBandPercent: 2 });
  const [offer] = offers;
  if (!offer) throw new Error("the catalog offers no machine to test with");
  return offer;
}

/** A frozen launch of what the catalog offers, under a token of its own. */
async function makeLaunch(cloud: Cloud, size = 1): Promise<Launch> {
  const catalog = await cloud.readCatalog();
  const { instanceType, zone, subnetId } = offerOf(catalog);
  const image = catalog.images.find(({ arch, hasGpuDriver }) => arch === "x86_64" && !hasGpuDriver);
  if (!image) throw new Error("the catalog has no image for x86_64");
  const token = randomBytes(12).toString("hex");
  return {
    format: 1,
    token,
    createdAt: 0,
    attempts: Array.from({ length: size }, (_, index) => ({
      run: "20261123-211530-k3f9q2",
      job: `job-${index}`,
      number: 1,
    })),
    input: {
      instanceType,
      zone,
      subnetId,
      imageId: image.imageId,
      rootDeviceName: image.rootDeviceName,
      diskGib: 94,
      instanceProfile: "",
      securityGroupIds: [],
      tags: { "errand:daemon": INSTALLATION, "errand:launch": token, Name: `errand ${token}` },
      userData: {
        bucket: "errand-conformance",
        region: catalog.region,
        endpoint: "",
        scriptSha256: "0".repeat(64),
      },
    },
  };
}

const LOOKS_MAX = 300;
const LOOK_MS = 100;

/** The token's instances by index, once all of them are in one of these states. */
async function instancesIn(
  { cloud, pass }: CloudUnderTest,
  token: string,
  states: readonly Instance["state"][],
): Promise<readonly Instance[]> {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const instances = (await cloud.listInstances()).filter((each) => each.token === token);
    if (instances.length > 0 && instances.every(({ state }) => states.includes(state))) {
      return instances.toSorted((a, b) => a.index - b.index);
    }
    await pass(LOOK_MS);
  }
  throw new Error(`the instances of ${token} were never all ${states.join(" or ")}`);
}

async function kindOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (error) {
    return (error as { kind?: string }).kind ?? String(error);
  }
}

function describeCatalog(makeWorld: MakeWorld, test: Check): void {
  test("the catalog offers a priced machine in a place, and an image for it", async () => {
    const { cloud } = await makeWorld();
    const catalog = await cloud.readCatalog();
    const offer = offerOf(catalog);
    expect(offer.hourlyUsd).toBeGreaterThan(0);
    expect(catalog.places).toContainEqual({ zone: offer.zone, subnetId: offer.subnetId });
    expect(catalog.images).toContainEqual(
      expect.objectContaining({ arch: "x86_64", hasGpuDriver: false }),
    );
    expect(catalog.pricedOn).toMatch(/^\d{4}-\d\d-\d\d$/);
  });
}

function describeLaunching(makeWorld: MakeWorld, test: Check): void {
  test("a launch of three gives three ids in the order of their indexes, and they are listed with all we ask for", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud, 3);
    const ids = await world.cloud.launch(launch);
    expect(new Set(ids).size).toBe(3);
    const instances = await instancesIn(world, launch.token, ["pending", "running"]);
    expect(instances.map(({ id, index }) => [id, index])).toEqual(ids.map((id, n) => [id, n]));
    const { instanceType, zone } = launch.input;
    for (const instance of instances) {
      expect(instance).toMatchObject({ token: launch.token, instanceType, zone });
      expect(instance.launchedAt).toBeGreaterThan(0);
      // EC2 gives "pending" for a reason at first.
      expect(instance.stateReason).not.toMatch(/^(Client|Server)\./);
    }
    await world.cloud.terminate(ids);
  });

  test("the same launch again gives the same instances, however often and at once", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud, 2);
    const answers = await Promise.all([1, 2, 3].map(() => world.cloud.launch(launch)));
    answers.push(await world.cloud.launch(launch));
    expect(new Set(answers.map(String)).size).toBe(1);
    expect(await instancesIn(world, launch.token, ["pending", "running"])).toHaveLength(2);
    await world.cloud.terminate(answers[0] ?? []);
  });

  test("instances are found by the token of their launch, and by no other", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud);
    const ids = await world.cloud.launch(launch);
    await instancesIn(world, launch.token, ["pending", "running"]);
    expect((await world.cloud.listLaunched(launch.token)).map(({ id }) => id)).toEqual(ids);
    expect(await world.cloud.listLaunched("another-token")).toEqual([]);
    await world.cloud.terminate(ids);
  });

  test("the token of another launch is already-launched", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud);
    const ids = await world.cloud.launch(launch);
    const other = { ...launch, input: { ...launch.input, diskGib: 200 } };
    expect(await kindOf(world.cloud.launch(other))).toBe("already-launched");
    expect(await instancesIn(world, launch.token, ["pending", "running"])).toHaveLength(1);
    await world.cloud.terminate(ids);
  });

  test("the token of instances that are terminated is already-launched, and launches nothing", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud);
    await world.cloud.terminate(await world.cloud.launch(launch));
    await instancesIn(world, launch.token, ["terminated"]);
    expect(await kindOf(world.cloud.launch(launch))).toBe("already-launched");
    expect(await instancesIn(world, launch.token, ["terminated"])).toHaveLength(1);
  });

  test("an image that does not exist is refused", async () => {
    const { cloud } = await makeWorld();
    const launch = await makeLaunch(cloud);
    const input = { ...launch.input, imageId: "ami-00000000000000000" };
    expect(await kindOf(cloud.launch({ ...launch, input }))).toBe("refused");
  });
}

function describeTerminating(makeWorld: MakeWorld, test: Check): void {
  test("a terminated instance is listed as such, with the reason that EC2 gives", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud);
    await world.cloud.terminate(await world.cloud.launch(launch));
    const [instance] = await instancesIn(world, launch.token, ["terminated"]);
    expect(instance?.stateReason).toMatch(/^Client\.UserInitiatedShutdown/);
  });

  test("terminating twice, nothing, or what never was, is no error, and spares no other", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud, 2);
    const ids = await world.cloud.launch(launch);
    await world.cloud.terminate([]);
    await world.cloud.terminate(["i-00000000000000001"]);
    const [first = "", second = ""] = ids;
    await world.cloud.terminate([first, "i-00000000000000001", second]);
    expect(await instancesIn(world, launch.token, ["terminated"])).toHaveLength(2);
    await world.cloud.terminate(ids);
  });

  test("terminating one of a launch leaves the other running", async () => {
    const world = await makeWorld();
    const launch = await makeLaunch(world.cloud, 2);
    const [first = "", second = ""] = await world.cloud.launch(launch);
    await instancesIn(world, launch.token, ["running"]);
    await world.cloud.terminate([first]);
    const instances = await instancesIn(world, launch.token, ["running", "terminated"]);
    expect(instances.map(({ state }) => state)).toEqual(["terminated", "running"]);
    await world.cloud.terminate([second]);
  });

  test("the console of an instance that never was is empty", async () => {
    const world = await makeWorld();
    expect(await world.cloud.readConsole("i-0123456789abcdef0")).toBe("");
  });
}
