/** Loads the provider modules that the configuration names. */
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type Config, loadConfig } from "../config.ts";
import { describeError, UserError } from "../errors.ts";
import { REGION } from "../local/ec2-world.ts";
import { readProviderModule } from "../providers/module.ts";
import type { Provider } from "../providers/provider.ts";
import { isBuiltIn } from "../workflow/compile.ts";
import type { ConnectOptions } from "./connect.ts";

/** Throws UserError with all that is wrong with them. */
export async function loadProviders(modules: Config["providers"]): Promise<readonly Provider[]> {
  const problems: string[] = [];
  const providers = new Map<string, Provider>();
  for (const each of modules) {
    try {
      const provider = readProviderModule(await load(each), each.module);
      const { name } = provider;
      if (isBuiltIn(name)) problems.push(`${each.module}: the provider "${name}" is built in`);
      else if (providers.has(name)) problems.push(`${each.module}: "${name}" is another module's`);
      providers.set(name, provider);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      problems.push([describeError(error), error.hint].filter(Boolean).join("; "));
    }
  }
  if (problems.length === 0) return [...providers.values()];
  const hint = "See providers: in the configuration, and docs/workflows.md.";
  throw new UserError(`loading providers: ${problems.join("\n")}`, hint);
}

/** Those of the configuration, for commands that may ask no cloud: where the bucket is does not matter here. */
export async function loadProvidersNearby(
  options: Pick<ConnectOptions, "config">,
): Promise<readonly Provider[]> {
  const { providers } = await loadConfig(
    { region: REGION, bucket: "not-asked" },
    { path: options.config },
  );
  return loadProviders(providers);
}

type Named = Config["providers"][number];

async function load(named: Named): Promise<unknown> {
  const file = find(named);
  try {
    return await import(pathToFileURL(file).href);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ERR_UNKNOWN_FILE_EXTENSION") {
      throw new UserError(
        `the provider module ${named.module} is TypeScript, which Node ${process.versions.node} does not run`,
        "compile it to .mjs, or use Node 22.18 or newer",
      );
    }
    throw new UserError(`the provider module ${named.module} cannot be loaded`, "", { cause });
  }
}

/** A path is relative to the configuration; anything else is a package, looked for beside it. */
function find({ module, directory }: Named): string {
  const require = createRequire(path.join(directory, "errand.yaml"));
  const isPath = /^\.{0,2}\//.test(module);
  try {
    return require.resolve(isPath ? path.resolve(directory, module) : module);
  } catch (cause) {
    const place = isPath
      ? path.resolve(directory, module)
      : `node_modules of ${directory}${/\.[cm]?[jt]s$/.test(module) ? ", for a path begins with ./" : ""}`;
    throw new UserError(`the provider module ${module} is not there`, `looked at ${place}`, {
      // Node's own words go on for lines about who required it.
      cause: new Error(String((cause as NodeJS.ErrnoException).code)),
    });
  }
}
