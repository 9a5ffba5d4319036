/** Which files of `.dstack/` are read, and what they parse to. */
import { nearNames } from "../providers/near.ts";
import { type Place, quote, type Report } from "../providers/problem.ts";
import type { Value } from "../providers/value.ts";
import { parseYaml, yamlBudget } from "./parse.ts";

export type BundleFiles = {
  /** Undefined when absent, without content, or reported as broken. */
  readonly workflows: Value | undefined;
  readonly variables: Value | undefined;
  readonly run: Value | undefined;
  /** By the provider's name. */
  readonly providers: ReadonlyMap<string, Value>;
};

const STEMS = ["workflows", "variables", "run"];
const PROVIDER = /^\.dstack\/providers\/([^/]+)\.ya?ml$/;

/** The place of something that stands in no file. */
export const nowhere = (file: string, path = ""): Place => ({ file, line: 0, column: 0, path });

/** Parses what is there. A missing `workflows.yaml` is a problem, a file that nobody reads a warning. */
export function parseFiles(
  texts: ReadonlyMap<string, string>,
  report: Report,
  warn: Report,
): BundleFiles {
  warnOfStrangers(texts, warn);
  const budget = yamlBudget();
  const parse: Parse = (file, text) => parseYaml(file, text, report, budget);
  const one = (stem: string) => parseOne(texts, stem, { parse, report });
  return {
    workflows: one("workflows"),
    variables: one("variables"),
    run: one("run"),
    providers: parseProviders(texts, { parse, report }),
  };
}

type Parse = (file: string, text: string) => Value | null | undefined;
type Reading = { readonly parse: Parse; readonly report: Report };

function parseOne(
  texts: ReadonlyMap<string, string>,
  stem: string,
  { parse, report }: Reading,
): Value | undefined {
  const [file, other] = [`.dstack/${stem}.yaml`, `.dstack/${stem}.yml`].filter((each) =>
    texts.has(each),
  );
  if (file === undefined) {
    if (stem !== "workflows") return undefined;
    const hint = "put the workflows there, and send the folder that holds .dstack";
    return report(nowhere(".dstack/workflows.yaml"), "is not in the bundle", hint);
  }
  if (other !== undefined) {
    return report(nowhere(other), `stands beside ${file}`, "keep one of the two");
  }
  const value = parse(file, texts.get(file) ?? "");
  if (value === null && stem === "workflows") {
    report({ file, line: 1, column: 1, path: "" }, "is empty", "list workflows below workflows:");
  }
  return value ?? undefined;
}

function parseProviders(
  texts: ReadonlyMap<string, string>,
  { parse, report }: Reading,
): ReadonlyMap<string, Value> {
  const providers = new Map<string, Value>();
  for (const [file, text] of texts) {
    const name = PROVIDER.exec(file)?.[1];
    if (name === undefined) continue;
    const start = { file, line: 1, column: 1, path: "" };
    if (providers.has(name)) report(start, `declares ${quote(name)} again`, "keep one file");
    const value = parse(file, text);
    if (value === null) report(start, "is empty", "declare the provider's jobs below jobs:");
    providers.set(name, value ?? { type: "unknown", place: start });
  }
  return providers;
}

function warnOfStrangers(texts: ReadonlyMap<string, string>, warn: Report): void {
  const read = STEMS.flatMap((stem) => [`${stem}.yaml`, `${stem}.yml`]);
  for (const file of texts.keys()) {
    const name = /^\.dstack\/([^/]+\.ya?ml)$/.exec(file)?.[1];
    if (name === undefined || read.includes(name)) continue;
    const [near] = nearNames(name, read);
    const hint = near === undefined ? "" : `did you mean ${quote(near)}?`;
    warn(nowhere(file), "is not read by anything", hint);
  }
}
