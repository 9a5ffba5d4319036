/**
 * Rules of what the local cloud is to do wrong: what one may say, and the errors for what one may not.
 *
 * All but one of a kind's own fields are common: `id`, `times` (how often at most), `after` (how many occasions pass first),
 * `probability` (at each occasion) and `seed`. The n-th occasion of a rule has the same fate whenever seed and rule are the same.
 */
import { z } from "zod";
import { isOperation, listNearOperations, SERVICES } from "./operations.ts";
import { describeProblem } from "./problems.ts";
import { matchesWildcard } from "./wildcards.ts";

const DAY_MS = 86_400_000;
const milliseconds = z.int().min(0).max(DAY_MS);
/** `*` and `?` are wildcards. */
const pattern = z.string().min(1);
/** Every one must match; YAML gives numbers where no quotes are. */
const match = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
  .default({});

const common = {
  /** Given by the local cloud when it is left out. */
  id: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, "an id has letters, digits, dot, _ and - only")
    .optional(),
  probability: z.number().gt(0, "above 0").max(1, "at most 1").default(1),
  times: z.int().min(1).optional(),
  after: z.int().min(0).default(0),
  seed: z.int().min(0).default(1),
};

const call = {
  ...common,
  operation: z
    .string()
    .regex(
      /^[a-z0-9]+:[A-Za-z0-9*?]+$/,
      "an operation is a service and a name, with wildcards, such as s3:PutObject or ec2:*",
    )
    .refine((text) => SERVICES.includes(text.split(":")[0] ?? ""), {
      error: `the services are ${SERVICES.join(", ")}`,
      abort: true,
    })
    .refine(isOperation, {
      error: ({ input }) => describeUnknown(String(input)),
    }),
  match,
};

const describeUnknown = (operation: string): string =>
  `the local cloud has no operation "${operation}"; near it are ${listNearOperations(operation).join(", ")}`;

/** Of an error that a rule asks for by its code. */
const STATUSES: Readonly<Record<string, number>> = {
  AccessDenied: 403,
  AuthFailure: 401,
  ConditionalRequestConflict: 409,
  ExpiredToken: 400,
  InsufficientInstanceCapacity: 500,
  InternalError: 500,
  InternalFailure: 500,
  InternalServerError: 500,
  InvalidParameterValue: 400,
  NoSuchKey: 404,
  OperationAborted: 409,
  PreconditionFailed: 412,
  RequestLimitExceeded: 503,
  RequestTimeout: 400,
  ServiceUnavailable: 503,
  SlowDown: 503,
  ThrottlingException: 400,
  UnauthorizedOperation: 403,
  Unavailable: 503,
  Unsupported: 400,
  VcpuLimitExceeded: 400,
};

/**
 * They send the head of their answer before they are done, so that an error of theirs may come as the body of a 200.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
 */
const LATE_ERRORS: readonly string[] = [
  "s3:CompleteMultipartUpload",
  "s3:CopyObject",
  "s3:UploadPartCopy",
];
const STATUS_WORDS = "an HTTP status from 400 to 599, or 200 where S3 may answer so";
const isStatus = (status: number): boolean => status === 200 || (status >= 400 && status <= 599);

const errorRule = z
  .strictObject({
    fault: z.literal("error"),
    ...call,
    code: z.string().regex(/^[A-Za-z][A-Za-z0-9.]{0,63}$/, "a code has letters, digits and dots"),
    status: z.int().refine(isStatus, STATUS_WORDS).optional(),
    message: z.string().default("planted by a fault rule"),
  })
  .refine(({ code, status }) => status !== undefined || Object.hasOwn(STATUSES, code), {
    path: ["status"],
    error: "is needed for this code: an HTTP status from 400 to 599",
  })
  .refine(({ operation, status }) => status !== 200 || LATE_ERRORS.includes(operation), {
    path: ["status"],
    error: `200 with an error in its body is what ${LATE_ERRORS.join(", ")} alone may answer`,
  });

export const statusOf = ({ code, status }: RuleOf<"error">): number =>
  status ?? STATUSES[code] ?? 500;

const event = {
  ...common,
  source: z.enum(["s3", "ec2"]).optional(),
  match,
};

/** `match` has what an instance is launched with: see `instanceFields`. */
const instance = { ...common, match, afterMs: milliseconds.default(0) };

/** `match` may name the `instanceId`; of a frame also `from`: agent or client. */
const session = { ...common, match };

/** For an instance that EC2 ends. */
const reason = z
  .string()
  .regex(/^(Server|Client)\.[A-Za-z.]+$/, "a reason is one of EC2's, such as Server.InternalError")
  .default("Server.InternalError");

export const QUOTA_FAMILIES = ["standard", "g-vt", "p", "other"] as const;

const ruleSchema = z.discriminatedUnion("fault", [
  // Calls.
  errorRule,
  z.strictObject({ fault: z.literal("throttle"), ...call }),
  z.strictObject({ fault: z.literal("delay"), ...call, ms: milliseconds }),
  z.strictObject({ fault: z.literal("lost-reply"), ...call }),
  z.strictObject({ fault: z.literal("lost-request"), ...call }),
  // Launches.
  z.strictObject({
    fault: z.literal("no-capacity"),
    ...common,
    type: pattern.default("*"),
    zone: pattern.default("*"),
    room: z.int().min(0).default(0),
  }),
  z.strictObject({
    fault: z.literal("quota"),
    ...common,
    family: z.enum(QUOTA_FAMILIES),
    vcpus: z.int().min(0),
    releaseMs: milliseconds.default(0),
  }),
  // Events on their way to a queue.
  z.strictObject({ fault: z.literal("event-lost"), ...event }),
  z.strictObject({ fault: z.literal("event-late"), ...event, ms: milliseconds }),
  z.strictObject({ fault: z.literal("event-twice"), ...event, ms: milliseconds.default(0) }),
  z.strictObject({
    fault: z.literal("event-out-of-order"),
    ...event,
    ms: milliseconds.default(5_000),
  }),
  // Instances.
  z.strictObject({ fault: z.literal("launch-fails"), ...common, match, reason }),
  z.strictObject({ fault: z.literal("silent-boot"), ...common, match }),
  z.strictObject({ fault: z.literal("instance-dies"), ...instance, reason }),
  z.strictObject({ fault: z.literal("instance-hangs"), ...instance }),
  z.strictObject({ fault: z.literal("instance-reboots"), ...instance }),
  z.strictObject({
    fault: z.literal("network-loss"),
    ...instance,
    forMs: milliseconds.optional(),
  }),
  // Sessions.
  z.strictObject({ fault: z.literal("agent-absent"), ...session, forMs: milliseconds }),
  z.strictObject({ fault: z.literal("connection-closes"), ...session, afterMs: milliseconds }),
  z.strictObject({ fault: z.literal("idle-timeout"), ...session, afterMs: milliseconds }),
  z.strictObject({ fault: z.literal("session-pauses"), ...session, everyMs: milliseconds.min(10) }),
  z.strictObject({ fault: z.literal("frame-lost"), ...session }),
  z.strictObject({ fault: z.literal("frame-twice"), ...session }),
  z.strictObject({ fault: z.literal("frame-out-of-order"), ...session }),
]);

export type Rule = Readonly<z.infer<typeof ruleSchema>>;
export type FaultName = Rule["fault"];
export type RuleOf<Name extends FaultName> = Extract<Rule, { readonly fault: Name }>;
export type EventFault = "event-lost" | "event-late" | "event-twice" | "event-out-of-order";

/** In the order in which a call meets them. */
export const CALL_FAULTS = ["delay", "lost-request", "throttle", "error", "lost-reply"] as const;
export type CallFault = (typeof CALL_FAULTS)[number];

export const INSTANCE_FAULTS = [
  "launch-fails",
  "silent-boot",
  "instance-dies",
  "instance-hangs",
  "instance-reboots",
  "network-loss",
] as const;
export type InstanceFault = (typeof INSTANCE_FAULTS)[number];

export const FAULT_NAMES: readonly FaultName[] = ruleSchema.options.map(
  (option) => option.shape.fault.value,
);

/** Whether all that `wanted` names is there and matches. */
export const matchesFields = (
  wanted: Readonly<Record<string, string>>,
  fields: Readonly<Record<string, string | undefined>>,
): boolean =>
  Object.entries(wanted).every(([name, text]) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    return value !== undefined && matchesWildcard(value, text);
  });

export const RULES_MAX = 1_000;

const fileSchema = z.union([
  z.array(z.unknown()),
  z.strictObject({ seed: z.int().min(0).optional(), rules: z.array(z.unknown()) }),
]);

/** A list of rules, or `{seed, rules}` whose seed is for the rules that have none. Throws FaultRuleError with all that is wrong. */
export function parseRules(value: unknown): readonly Rule[] {
  const file = fileSchema.safeParse(value);
  if (!file.success) {
    throw new FaultRuleError([
      "rules are a list, or an object with the list `rules` and perhaps a `seed` for all of them",
    ]);
  }
  const { seed, rules } = Array.isArray(file.data)
    ? { seed: undefined, rules: file.data }
    : file.data;
  if (rules.length > RULES_MAX)
    throw new FaultRuleError([`there are more than ${RULES_MAX} rules`]);
  const problems: string[] = [];
  const parsed = rules.flatMap((each, index) => {
    const result = ruleSchema.safeParse(withSeed(each, seed));
    if (result.success) return [result.data];
    problems.push(...describe(each, index, result.error));
    return [];
  });
  const ids = parsed.flatMap(({ id }) => id ?? []);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) problems.push(`the id ${twice} is given twice`);
  if (problems.length > 0) throw new FaultRuleError(problems);
  return parsed;
}

/** Each problem names the rule by its number and fault, and the field. */
export class FaultRuleError extends Error {
  override readonly name = "FaultRuleError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

const withSeed = (rule: unknown, seed: number | undefined): unknown =>
  typeof rule === "object" && rule !== null && seed !== undefined ? { seed, ...rule } : rule;

function describe(rule: unknown, index: number, error: z.ZodError): readonly string[] {
  const fault = (rule as { readonly fault?: unknown } | null)?.fault;
  const place = `rule ${index + 1}${typeof fault === "string" ? ` (${fault})` : ""}`;
  return error.issues.map((issue) => {
    if (issue.code === "invalid_union" && issue.path[0] === "fault") {
      const given = fault === undefined ? "fault is missing" : `there is no fault "${fault}"`;
      return `${place}: ${given}; the faults are ${FAULT_NAMES.join(", ")}`;
    }
    if (issue.code === "unrecognized_keys") {
      return `${place}: it has no field ${issue.keys.join(", ")}`;
    }
    const path = issue.path.join(".");
    return `${place}: ${path === "" ? "" : `${path}: `}${describeProblem(issue)}`;
  });
}
