/** The ports on the simulated world: what the simulation proves, it proves of a world that keeps these promises. */
import { CALM } from "../simulation/faults.ts";
import { Random } from "../simulation/random.ts";
import { World } from "../simulation/world.ts";
import { cloudConformance } from "./cloud.suite.ts";
import { storeConformance } from "./store.suite.ts";

const makeWorld = () => new World(new Random(1), CALM);

storeConformance({ name: "simulated world" }, async () => makeWorld().bucket);

cloudConformance({ name: "simulated world" }, async () => {
  const world = makeWorld();
  return { cloud: world, pass: (ms) => world.pass(ms) };
});
