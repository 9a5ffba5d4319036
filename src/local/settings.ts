/**
 * What a local cloud can be set to: options of its start go before `settings.yaml` in its data directory, and that before the defaults.
 * What it is to do wrong is no setting but a fault: see `fault-rules.ts`.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { describeProblem } from "./problems.ts";
import { EGRESS_CHOICES, SANDBOX_CHOICES } from "./sandbox.ts";

const DAY_MS = 86_400_000;
const milliseconds = z.int().min(0).max(DAY_MS);

const settingsSchema = z.strictObject({
  /** From RunInstances to running. On AWS 16 to 18 s. */
  bootMs: milliseconds.default(150),
  /** From RunInstances until EC2 lists the instance and knows its id. On AWS mostly under a second, and sometimes many. */
  listingLagMs: milliseconds.default(0),
  /** Whether calls over AWS's rates are refused. */
  throttling: z.boolean().default(true),
  /** What isolates machines: the best there is, one kind or none. See `sandbox.ts`, also for the next two. */
  sandbox: z.enum(SANDBOX_CHOICES).default("auto"),
  egress: z.enum(EGRESS_CHOICES).default("any"),
  allowLoopback: z.array(z.int().min(1).max(65_535)).default([]),
});
export type Settings = Readonly<z.infer<typeof settingsSchema>>;
type Given = { readonly [Name in keyof Settings]?: Settings[Name] | undefined };

export const DEFAULT_SETTINGS: Settings = settingsSchema.parse({});

/** Those that are given, of options that hold other things, too. */
export function pickSettings(options: Given): Partial<Settings> {
  const names = Object.keys(settingsSchema.shape);
  return Object.fromEntries(
    Object.entries(options).filter(([name, value]) => names.includes(name) && value !== undefined),
  );
}

/** Throws Error that names what is wrong and where. */
export async function readSettings(directory: string, given: Given): Promise<Settings> {
  const path = join(directory, "settings.yaml");
  const chosen = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  );
  const parsed = settingsSchema.safeParse({ ...(await readIfThere(path)), ...chosen });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(describeIssue).join("; ");
  throw new Error(`the settings of the local cloud (${path}, and options): ${problems}`);
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code !== "unrecognized_keys") {
    return `${issue.path.join(".")}: ${describeProblem(issue)}`;
  }
  return `there is no setting ${issue.keys.join(", ")}, there are ${Object.keys(DEFAULT_SETTINGS).join(", ")}`;
}

async function readIfThere(path: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const value: unknown = parseYaml(path, text) ?? {};
  if (typeof value === "object" && !Array.isArray(value)) return { ...value };
  throw new Error(`${path} holds no settings: write one \`name: value\` a line`);
}

function parseYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new Error(`reading ${path}`, { cause });
  }
}
