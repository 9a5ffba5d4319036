/** Property tests play the same cases each time, so that a failure is of the change at hand; FC_SEED plays others, PROPERTY_TIMES more. */
import { configureGlobal } from "fast-check";

configureGlobal({ seed: Number(process.env.FC_SEED ?? 20261123) });

/** How many cases are played where that many are in `npm test`. */
export const runs = (count: number): number => count * Number(process.env.PROPERTY_TIMES ?? 1);
