/** What one look at the world shows. `step` knows nothing else. */
import { z } from "zod";
import type { Capacity } from "./capacity.ts";
import type { Batches } from "./launches.ts";
import type { Limits, Room } from "./limits.ts";
import type { Catalog } from "./offers.ts";
import { type Attempt, artifactSetSchema, runnerPhasesSchema } from "./run.ts";

export type Look = {
  readonly at: number;
  /** Since when looks have followed each other without a gap: what was absent before that may have come and gone. */
  readonly watchedSince?: number;
  /** When EC2 was asked for the instances: what is absent was absent then. */
  readonly listedAt?: number;
  /** All instances with our tag that EC2 lists, dead or alive. */
  readonly instances: readonly Instance[];
  /** Those of this run, read after the instances. */
  readonly reports: readonly Report[];
  readonly cancel: CancelRequest | undefined;
  /** What RunInstances answered since the last look, by token. */
  readonly answers: ReadonlyMap<string, Answer>;
  /** What became of claims the daemon tried to take since the last look, by `orderKey`. */
  readonly claims: ReadonlyMap<string, "voided" | "claimed">;
  /** Undefined while it cannot be read: nothing new is planned then. */
  /** Since when nothing has come of machines that gave signs of life before, by `orderKey`. */
  readonly quietSince?: ReadonlyMap<string, number>;
  /** Console outputs that were kept, by `orderKey`. */
  readonly consoles?: ReadonlyMap<string, KeptConsole>;
  readonly catalog: Catalog | undefined;
  readonly capacity: Capacity;
  readonly limits: Limits;
  /** What all runs have cost today, US dollars; absent where no budget asks. */
  readonly todayUsd?: number;
  /** What the ceilings leave, after the runs looked at before this one. */
  readonly room: Room;
  /** Launches opened in this look by the runs before this one. */
  readonly batches: Batches;
};

export type InstanceState =
  | "pending"
  | "running"
  | "stopping"
  | "stopped"
  | "shutting-down"
  | "terminated";

export type Instance = {
  readonly id: string;
  /** From its tag `errand:launch`; empty when somebody removed the tag. */
  readonly token: string;
  /** AmiLaunchIndex. */
  readonly index: number;
  readonly state: InstanceState;
  readonly instanceType: string;
  readonly zone: string;
  /** By EC2's clock, milliseconds. */
  readonly launchedAt: number;
  /** StateReason, as "Server.InternalError: Internal error on launch"; empty when EC2 gave none. */
  readonly stateReason: string;
};

/** `stopped` counts as alive: its disk is paid for. */
export const isAlive = (instance: Instance): boolean => instance.state !== "terminated";

/** A definite answer to RunInstances. An ambiguous one is no answer. */
export type Answer =
  | {
      readonly type: "launched";
      readonly at: number;
      /** By launch index; may be empty after `already-launched`, until a look lists them. */
      readonly instanceIds: readonly string[];
    }
  | {
      readonly type: "refused";
      readonly at: number;
      readonly kind: "no-capacity" | "quota" | "refused";
      readonly code: string;
      readonly message: string;
      /** How many instances the launch asked for. */
      readonly size: number;
    };

export type KeptConsole = NonNullable<Attempt["console"]>;

export const cancelRequestSchema = z.object({ now: z.boolean(), at: z.number() });
export type CancelRequest = z.infer<typeof cancelRequestSchema>;

const reportBase = {
  format: z.literal(1),
  token: z.string(),
  index: z.number().int().nonnegative(),
  run: z.string(),
  job: z.string(),
  attempt: z.number().int().positive(),
  instanceId: z.string(),
  /** By the instance's clock: for people, never compared with ours. */
  at: z.number(),
};

/** What the runner writes to `inbox/reports/`, once each, in this order. docs/formats.md has examples. */
export const reportSchema = z.discriminatedUnion("stage", [
  z.object({ ...reportBase, stage: z.literal("started"), bootMs: z.number().nonnegative() }),
  z.object({
    ...reportBase,
    stage: z.literal("ran"),
    exitCode: z.number().int().optional(),
    signal: z.string().optional(),
  }),
  z.object({
    ...reportBase,
    stage: z.literal("finished"),
    outcome: z.enum(["succeeded", "failed", "timed-out", "cancelled"]),
    reason: z.string(),
    exitCode: z.number().int().optional(),
    signal: z.string().optional(),
    phases: runnerPhasesSchema,
    artifacts: z.array(artifactSetSchema),
    notes: z.array(z.string()),
    logLines: z.number().int().nonnegative(),
  }),
]);
export type Report = z.infer<typeof reportSchema>;

export const orderKey = (token: string, index: number): string => `${token}.${index}`;

/** The order of an attempt. */
export const orderOf = ({ launch }: Pick<Attempt, "launch">): string =>
  orderKey(launch.token, launch.index);
