/**
 * A provider for the operator to add: one job for each combination of values of several lists, such as
 * learning rates and seeds. A bundle's own provider cannot do that, since `each` goes over one list.
 */
import type { MapValue, ModulePart, ModuleProvider, ProviderKit } from "errand/providers";

type Axis = { readonly name: string; readonly values: readonly string[] };

export function createProvider(kit: ProviderKit): ModuleProvider {
  const parameters = kit.fields(
    {
      command: kit.required(kit.text("a command", "put it in quotes")),
      axes: kit.required(kit.anything),
      artifacts: kit.optional(kit.artifacts),
      resources: kit.optional(kit.anything),
    },
    { what: "a map of parameters" },
  );

  /** A name and a list of values each. */
  const readAxes = (map: MapValue): readonly Axis[] =>
    map.entries.map(({ key, value }) => ({
      name: key,
      values: value.type === "list" ? value.items.map((item) => String(kit.toPlain(item))) : [],
    }));

  return {
    name: "sweep",
    parameters: parameters.schema,
    compile: (given, context) => {
      const read = parameters.read(given, context.report);
      const resources = kit.readResources(read?.resources, { burstable: false }, context);
      if (!read || !resources) return undefined;
      const wanted = { what: "a map of names, each with a list of values" };
      if (read.axes.type !== "map") return kit.reject(read.axes, wanted, context.report);
      const axes = readAxes(read.axes);
      const empty = axes.find(({ values }) => values.length === 0);
      if (axes.length === 0 || empty) {
        return context.report(
          read.axes.place,
          `${empty?.name ?? "axes"} has no values`,
          "write each as rate: [1e-3, 1e-4]",
        );
      }
      return combine(axes).map((point, index): ModulePart => ({
        part: String(index + 1),
        task: { type: "commands", script: read.command },
        // Each value under its own name, and the number of the combination.
        environment: { ...point, POINT: String(index + 1) },
        artifacts: [...(read.artifacts ?? [])],
        resources,
      }));
    },
  };
}

/** All combinations, the last axis turning fastest. */
function combine(axes: readonly Axis[]): readonly Record<string, string>[] {
  return axes.reduce<readonly Record<string, string>[]>(
    (points, { name, values }) =>
      points.flatMap((point) => values.map((value) => ({ ...point, [name]: value }))),
    [{}],
  );
}
