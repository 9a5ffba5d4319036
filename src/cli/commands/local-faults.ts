/** `errand local faults …`: what the local cloud is to do wrong, and how often it has. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { nearestNames } from "../../core/near-names.ts";
import { describeError, UserError } from "../../errors.ts";
import {
  FAULT_NAMES,
  type FaultName,
  FaultRuleError,
  parseRules,
} from "../../local/fault-rules.ts";
import type { RuleStatus } from "../../local/faults.ts";
import { type ControlCall, callLocalCloud } from "../local-control.ts";
import { needLocalCloud } from "../local-note.ts";
import { didYouMean } from "../near-hints.ts";
import type { Output } from "../output.ts";
import { renderTable } from "../render-table.ts";
import { oneLine } from "../render-values.ts";

export type FaultOptions = { readonly data: string; readonly json?: boolean };

const PATH = "/_local/faults";

export async function listFaults(output: Output, options: FaultOptions): Promise<number> {
  const rules = await askRules(options, { method: "GET", path: PATH });
  if (options.json) output.json(rules);
  else if (rules.length === 0) output.line("no rules: nothing goes wrong but by itself");
  else render(output, rules);
  return 0;
}

/** `words` are NAME=VALUE, the value as in YAML; a name with dots is a field in a field. */
export async function addFault(
  output: Output,
  { fault, words }: { readonly fault: string; readonly words: readonly string[] },
  options: FaultOptions,
): Promise<number> {
  const near = nearestNames(fault, FAULT_NAMES);
  if (near.length > 0 && !near.includes(fault as FaultName)) {
    throw new UserError(`there is no fault "${fault}"`, didYouMean(near));
  }
  const rule: Record<string, unknown> = { fault };
  for (const word of words) setField(rule, word);
  await add(output, [rule], options);
  return 0;
}

export async function loadFaults(
  output: Output,
  file: string,
  options: FaultOptions & { readonly replace?: boolean },
): Promise<number> {
  const value = await readRules(file);
  check(value, file);
  if (options.replace) await ask(options, { method: "DELETE", path: PATH });
  await add(output, value, options);
  return 0;
}

export async function removeFaults(
  output: Output,
  ids: readonly string[],
  options: FaultOptions,
): Promise<number> {
  for (const id of ids) {
    await ask(options, { method: "DELETE", path: `${PATH}/${encodeURIComponent(id)}` });
  }
  tellRemoved(output, ids.length, options);
  return 0;
}

export async function clearFaults(output: Output, options: FaultOptions): Promise<number> {
  const { removed } = (await ask(options, { method: "DELETE", path: PATH })) as {
    readonly removed: number;
  };
  tellRemoved(output, removed, options);
  return 0;
}

const ask = async (options: FaultOptions, call: ControlCall): Promise<unknown> =>
  callLocalCloud(await needLocalCloud(options.data), call);

async function askRules(options: FaultOptions, call: ControlCall): Promise<readonly RuleStatus[]> {
  return ((await ask(options, call)) as { readonly rules: readonly RuleStatus[] }).rules;
}

async function add(output: Output, value: unknown, options: FaultOptions): Promise<void> {
  check(value);
  const rules = await askRules(options, { method: "POST", path: PATH, body: value });
  if (options.json) output.json(rules);
  else for (const { id, fault } of rules) output.line(`${id}  ${fault}`);
}

function tellRemoved(output: Output, removed: number, { json }: FaultOptions): void {
  if (json) output.json({ removed });
  else output.line(`${removed} removed`);
}

/** The local cloud checks them again; here it is known where they come from. */
function check(value: unknown, file?: string): void {
  try {
    parseRules(value);
  } catch (error) {
    if (!(error instanceof FaultRuleError)) throw error;
    const place = file === undefined ? "" : `${file}: `;
    const problems = error.problems.map((problem) =>
      file === undefined ? problem.replace(/^rule 1( \((.*?)\))?/, "the fault $2") : problem,
    );
    throw new UserError(problems.map((problem) => `${place}${problem}`).join("\n"), HINT);
  }
}

const HINT = "The faults and their fields are in docs/local-cloud.md.";

async function readRules(file: string): Promise<unknown> {
  try {
    return parse(await readFile(file, "utf8"));
  } catch (error) {
    // Of YAML's errors the first line has the place, and the rest draws it.
    const [said = ""] = describeError(error).split("\n");
    throw new UserError(`reading ${file}: ${said.replace(/:$/, "")}`);
  }
}

function setField(rule: Record<string, unknown>, word: string): void {
  const at = word.indexOf("=");
  if (at < 1) throw new UserError(`"${word}" is no field`, "Write NAME=VALUE, as in times=3.");
  const [name, text] = [word.slice(0, at), word.slice(at + 1)];
  // `match.tag:Name` and its like hold the dots of AWS's names in their last part.
  const [outer = "", inner] = name.split(/\.(.*)/s);
  if (inner === undefined) rule[outer] = parseValue(text);
  else rule[outer] = { ...(rule[outer] as object | undefined), [inner]: text };
}

/** Numbers and true and false; whatever else YAML might see in it (`*` is an alias there) is a text. */
const parseValue = (text: string): unknown => {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
};

function render(output: Output, rules: readonly RuleStatus[]): void {
  const { palette } = output;
  const rows = rules.map(({ id, fault, matched, fired, ...rest }) => [
    id,
    fault,
    String(matched),
    String(fired),
    palette.faint(oneLine(describeRest(rest))),
  ]);
  const columns = [
    { title: "id" },
    { title: "fault" },
    { title: "matched", align: "right" },
    { title: "fired", align: "right" },
    { title: "rule" },
  ] as const;
  for (const line of renderTable(columns, rows, palette.faint)) output.line(line);
}

/** As one would write them for `add`. */
function describeRest(rest: Readonly<Record<string, unknown>>): string {
  const { probability, after, match, ...others } = rest;
  const shown = {
    ...others,
    ...(probability === 1 ? {} : { probability }),
    ...(after === 0 ? {} : { after }),
    ...Object.fromEntries(
      Object.entries(match ?? {}).map(([name, value]) => [`match.${name}`, value]),
    ),
  };
  return Object.entries(shown)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}
