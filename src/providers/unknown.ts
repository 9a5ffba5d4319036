/** Stands for a provider that nobody knows: what nearly all providers read alike is checked all the same. */
import { environment } from "./environment.ts";
import { artifacts, innerPath } from "./paths.ts";
import type { Provider } from "./provider.ts";
import { fields, optional } from "./read.ts";
import { readResources } from "./resources.ts";
import { findEntry } from "./value.ts";

const KEYS = ["environment", "working_dir", "artifacts"];
const parameters = fields(
  {
    environment: optional(environment),
    working_dir: optional(innerPath({ root: "the bundle", allowsRoot: true })),
    artifacts: optional(artifacts),
  },
  { what: "a map of parameters" },
);

export const unknownProvider: Provider = {
  name: "",
  parameters: {},
  compile: (map, context) => {
    const entries = map.entries.filter(({ key }) => KEYS.includes(key));
    parameters.read({ ...map, entries }, context.report);
    readResources(findEntry(map, "resources")?.value, { burstable: false }, context);
    return undefined;
  },
};
