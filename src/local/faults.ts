/**
 * The rules that are in force, and how often each has met its occasion, been chosen and really happened. They outlive the process:
 * `faults.json` in the data directory is written before a fault shows.
 *
 * There is no generator of random numbers with a state: the n-th occasion of a rule is decided by a hash of its seed, of the rule
 * itself and of n. The same rules and the same sequence of requests so have the same faults, whatever other rules there are.
 */
import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import {
  type FaultName,
  FaultRuleError,
  parseRules,
  RULES_MAX,
  type Rule,
  type RuleOf,
} from "./fault-rules.ts";

export type ActiveRule = Rule & { readonly id: string };

export type RuleStatus = ActiveRule & {
  /** Occasions that were such as the rule asks for. */
  readonly matched: number;
  /** How often it has happened. */
  readonly fired: number;
};

export type Faults = {
  list(): readonly RuleStatus[];
  /** All of them or none. Throws FaultRuleError. */
  add(rules: readonly Rule[]): readonly RuleStatus[];
  /** False when there is none of that id. */
  remove(id: string): boolean;
  /** How many there were. */
  clear(): number;
  has(id: string): boolean;
  /** Whether there is any rule of these faults. */
  hasAny(faults: readonly FaultName[]): boolean;
  /**
   * An occasion for the rules of one fault, in the order in which they were added: the first that fires, which is counted as
   * having happened unless `isLater`; then `happened` is for whoever makes it happen.
   */
  fire<Name extends FaultName>(
    fault: Name,
    isMatch: (rule: RuleOf<Name>) => boolean,
    isLater?: boolean,
  ): (RuleOf<Name> & { readonly id: string }) | undefined;
  happened(id: string): void;
  close(): void;
};

type State = { readonly rule: ActiveRule; matched: number; chosen: number; fired: number };

const fileSchema = z.strictObject({
  format: z.literal(1),
  /** Of the next rule that has no id of its own. */
  next: z.number(),
  rules: z.array(
    z.strictObject({
      rule: z.record(z.string(), z.unknown()),
      matched: z.number(),
      chosen: z.number(),
      fired: z.number(),
    }),
  ),
});

/** Occasions that passed by are written a little later than those that were taken. */
const LAZY_MS = 200;

/** Throws Error when the file at `path` is not understood. */
export function openFaults(path: string): Faults {
  const file = readFile(path);
  let next = file.next;
  let states: readonly State[] = file.states;
  let timer: NodeJS.Timeout | undefined;

  const write = (): void => {
    clearTimeout(timer);
    timer = undefined;
    writeFileSync(`${path}.new`, JSON.stringify({ format: 1, next, rules: states }), {
      mode: 0o600,
    });
    renameSync(`${path}.new`, path);
  };
  const writeLater = (): void => {
    timer ??= setTimeout(write, LAZY_MS).unref();
  };
  const named = (rule: Rule): ActiveRule => ({ ...rule, id: rule.id ?? `f${next++}` });

  return {
    list: () => states.map(toStatus),
    add: (rules) => {
      const taken = rules.find(({ id }) => states.some(({ rule }) => rule.id === id));
      if (states.length + rules.length > RULES_MAX) {
        throw new FaultRuleError([`there would be more than ${RULES_MAX} rules`]);
      }
      if (taken) throw new FaultRuleError([`there is a rule ${taken.id} already: remove it first`]);
      const added = rules.map((rule) => ({ rule: named(rule), matched: 0, chosen: 0, fired: 0 }));
      states = [...states, ...added];
      write();
      return added.map(toStatus);
    },
    remove: (id) => {
      const left = states.filter(({ rule }) => rule.id !== id);
      const isRemoved = left.length < states.length;
      states = left;
      if (isRemoved) write();
      return isRemoved;
    },
    clear: () => {
      const count = states.length;
      states = [];
      write();
      return count;
    },
    has: (id) => states.some(({ rule }) => rule.id === id),
    hasAny: (faults) => states.some(({ rule }) => faults.includes(rule.fault)),
    fire: (fault, isMatch, isLater = false) => {
      for (const state of states) {
        if (!isRuleOf(state.rule, fault) || !isMatch(state.rule)) continue;
        state.matched += 1;
        if (!isDue(state)) {
          writeLater();
          continue;
        }
        state.chosen += 1;
        if (!isLater) state.fired += 1;
        write();
        return state.rule;
      }
      return undefined;
    },
    happened: (id) => {
      const state = states.find(({ rule }) => rule.id === id);
      if (!state) return;
      state.fired += 1;
      write();
    },
    close: () => {
      if (timer !== undefined) write();
    },
  };
}

const isRuleOf = <Name extends FaultName>(
  rule: ActiveRule,
  fault: Name,
): rule is RuleOf<Name> & ActiveRule => rule.fault === fault;

const toStatus = ({ rule, matched, fired }: State): RuleStatus => ({ ...rule, matched, fired });

/** Asked once for each occasion, after it was counted. */
function isDue({ rule, matched, chosen }: State): boolean {
  if (matched <= rule.after || chosen >= (rule.times ?? Number.POSITIVE_INFINITY)) return false;
  return rule.probability === 1 || draw(rule, matched) < rule.probability;
}

/** From 0 to 1. What a rule is called and how many others came before it makes no difference. */
function draw({ id: _, ...rule }: ActiveRule, occasion: number): number {
  const text = `${JSON.stringify(rule)} ${occasion}`;
  return createHash("sha256").update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}

function readFile(path: string): { readonly next: number; readonly states: readonly State[] } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { next: 1, states: [] };
    throw error;
  }
  try {
    const { next, rules } = fileSchema.parse(JSON.parse(text));
    const parsed = parseRules(rules.map(({ rule }) => rule)).map((rule) => ({ id: "", ...rule }));
    return {
      next,
      states: rules.map(({ rule: _, ...counts }, at) => ({
        ...counts,
        rule: parsed[at] as ActiveRule,
      })),
    };
  } catch (cause) {
    throw new Error(`${path} is not understood: remove it, or put it back as it was`, { cause });
  }
}
