/** Property tests play the same cases each time, so that a failure is of the change at hand; FC_SEED plays others. */
import { configureGlobal } from "fast-check";

configureGlobal({ seed: Number(process.env.FC_SEED ?? 20261123) });
