/**
 * The decisions. `step` is a pure function of a run's record and one look at the world: no clock,
 * no network, no randomness, no memory of the last call.
 *
 * It settles attempts that are over, plans the next ones, then compares the plan with the world.
 * Effects come from that comparison alone, never from what just changed, so a daemon that died
 * half-way does the right thing on its next look: recovery is not a second code path.
 */
import { key } from "./layout.ts";
import { isAlive, type Look } from "./observation.ts";
import { type Plan, plan } from "./plan.ts";
import { type Attempt, isLiving, isOpen, type Run, wantsConsole } from "./run.ts";
import { type Facts, factsOf, instanceOf, settle, wantsVoid } from "./settle.ts";

/** Something to be done to the world. Doing one twice is harmless. */
export type Effect =
  | { readonly type: "launch"; readonly token: string }
  | { readonly type: "void"; readonly token: string; readonly index: number }
  | {
      readonly type: "stop";
      readonly token: string;
      readonly index: number;
      readonly reason: "cancelled" | "deadline";
    }
  | { readonly type: "terminate"; readonly instanceId: string }
  | {
      readonly type: "console";
      readonly token: string;
      readonly index: number;
      readonly instanceId: string;
      /** Where it is kept. */
      readonly key: string;
      /** When it is not waited for any longer. */
      readonly until: number;
    };

/** EC2 may take its time to have the last words of a machine. */
export const CONSOLE_MS = 60_000;

/** Its `run` is the same object when nothing changed. */
export type Step = Plan & { readonly effects: readonly Effect[] };

export function step(run: Run, look: Look): Step {
  const facts = factsOf(look);
  const planned = plan(settle(run, look, facts), look);
  return { ...planned, effects: compare(planned.run, look, facts) };
}

/** What separates the world from the plan. */
function compare(run: Run, look: Look, facts: Facts): Effect[] {
  return run.attempts
    .filter((attempt) => isLiving(attempt) || isAliveIn(facts, attempt) || wantsConsole(attempt))
    .flatMap((attempt) =>
      isOpen(attempt)
        ? effectsOfOpen(attempt, run, look, facts)
        : [...effectsOfClosed(attempt, facts), ...consoleOf(attempt, run, facts)],
    );
}

function effectsOfOpen(attempt: Attempt, run: Run, look: Look, facts: Facts): Effect[] {
  const { token, index } = attempt.launch;
  // The claim is taken before the attempt is closed, so the work is never begun after that.
  if (wantsVoid(attempt, run, look, facts)) return [{ type: "void", token, index }];
  if (!attempt.answer) return [{ type: "launch", token }];
  if (attempt.stop) return [{ type: "stop", token, index, reason: reasonFor(attempt.stop) }];
  return [];
}

/** To the runner, a budget that is spent is a cancel. */
const reasonFor = ({ reason }: NonNullable<Attempt["stop"]>): "cancelled" | "deadline" =>
  reason === "deadline" ? "deadline" : "cancelled";

/** Nothing wants its machine any more, whether it is listed yet or not. */
function effectsOfClosed(attempt: Attempt, facts: Facts): Effect[] {
  const instance = instanceOf(attempt, facts);
  if (instance && !isAlive(instance)) return [];
  const instanceId = instance?.id ?? attempt.answer?.instanceId;
  return instanceId === undefined ? [] : [{ type: "terminate", instanceId }];
}

/** Once its machine has nothing more to say. */
function consoleOf(attempt: Attempt, run: Run, facts: Facts): Effect[] {
  const { answer, goneAt, launch } = attempt;
  if (!answer || goneAt === undefined || !wantsConsole(attempt)) return [];
  if (isAliveIn(facts, attempt)) return [];
  const { instanceId } = answer;
  const place = key.console(run.id, attempt.job, attempt.number);
  return [{ type: "console", ...launch, instanceId, key: place, until: goneAt + CONSOLE_MS }];
}

function isAliveIn(facts: Facts, attempt: Attempt): boolean {
  const instance = instanceOf(attempt, facts);
  return instance !== undefined && isAlive(instance);
}
