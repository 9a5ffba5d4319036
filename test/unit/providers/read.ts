/** Reading parameters in tests: a YAML text in, data and what a user is told out. */

import { type Report, renderProblem } from "../../../src/providers/problem.ts";
import type { Context, JobPart, Provider } from "../../../src/providers/provider.ts";
import type { Reader } from "../../../src/providers/read.ts";
import type { Value } from "../../../src/providers/value.ts";
import { parseYaml } from "../../../src/workflow/parse.ts";

type Read<T> = { readonly value: T | undefined; readonly told: readonly string[] };

/** Problems and warnings without their places. */
export function readWith<T>(source: string, read: (value: Value, report: Report) => T): Read<T> {
  const told: string[] = [];
  const report: Report = (_, message, hint = "") => {
    told.push(renderProblem({ file: "", line: 0, column: 0, path: "", message, hint }).slice(2));
    return undefined;
  };
  const value = parseYaml("f.yaml", source, report);
  return { value: value ? read(value, report) : undefined, told };
}

export const readAs = <T>(reader: Reader<T>, source: string): Read<T | undefined> =>
  readWith(source, (value, report) => reader.read(value, report));

/** The one job that the provider makes of these parameters. */
export function compileWith(
  provider: Provider,
  source: string,
): {
  readonly job: JobPart | undefined;
  readonly told: readonly string[];
  readonly warned: readonly string[];
} {
  const warned: string[] = [];
  const { value, told } = readWith(source, (map, report) => {
    if (map.type !== "map") throw new Error("parameters are a map");
    const context: Context = {
      place: map.place,
      report,
      warn: (_, message) => {
        warned.push(message);
        return undefined;
      },
      builtins: { "run.id": "20261123-211530-k3f9q2" },
      budget: { characters: 1_000_000 },
      limits: { maxDurationMs: 86_400_000, jobsMax: 1_000 },
    };
    return provider.compile(map, context);
  });
  return { job: value?.[0], told, warned };
}
